package pgxdb

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection/internal/target"
)

// Target keeps read models in a database of PostgreSQL. It is safe for concurrent use.
type Target struct {
	// Checkpoints and leases are in the table switchyard_checkpoints.
	eventstore.Checkpoints
	target *target.Target[pgx.Tx]
}

// Open returns the read models' target in a database of PostgreSQL 13 or later, and
// makes the table switchyard_checkpoints where there is none, in the first schema of
// the search_path. The caller closes the pool, after the read models have ended. Each
// read model that works uses a connection, and one more is kept free, over which leases
// are renewed: where there are more read models than that, they take turns.
//
// Errors: ErrInvalid for a pool of one connection; ErrUnavailable; the context's; the
// server's, for instance where the table is there and is not this package's.
func Open(ctx context.Context, pool *pgxpool.Pool) (*Target, error) {
	if pool == nil {
		return nil, &eventstore.InvalidError{Field: "pool", Reason: "it is nil; give an open pool"}
	}
	most := int(pool.Config().MaxConns)
	if most < 2 {
		return nil, &eventstore.InvalidError{Field: "pool", Reason: fmt.Sprintf("it is limited to %d connection, and a read model needs one to work and one to renew its lease; raise MaxConns", most)}
	}
	shared, err := target.Open(ctx, &database{querier: querier{pool}, pool: pool}, target.PostgreSQL(), most)
	if err != nil {
		return nil, err
	}
	return &Target{Checkpoints: shared, target: shared}, nil
}

// Update calls f in a transaction and saves the checkpoint to in the same one. f is
// given the stored position, zero where there is none, and passes over events up to it.
// Where the stored checkpoint is at or beyond to, Update does nothing. Its errors are
// those of projection.Target; projection.New calls it.
func (t *Target) Update(ctx context.Context, to eventstore.Checkpoint, f func(ctx context.Context, tx pgx.Tx, after eventstore.Position) error) error {
	return t.target.Update(ctx, to, f)
}

// Swap lets readers go over from one read model to another one that runs beside it: it
// waits until to is as far as from, holds from still while to handles what came
// meanwhile, and calls swap, say DROP VIEW and CREATE VIEW, in one transaction that has
// seen both. No reader sees the model go back. A hold lasts 2 s at most, and up to 16 s
// where that was too short. from runs on until its owner stops it; it may run in another
// process.
//
// swap is called again where a transaction fails for a reason that passes, or where it
// is not known whether it was committed; it must bear that, as DROP VIEW IF EXISTS does.
// It must not commit or roll back.
//
// Three limits. A reader whose transaction keeps one snapshot (REPEATABLE READ) from
// before to was level finds to's tables as they were then, and so the model gone back:
// let such readers begin anew. Swap does not know which model readers use: after a swap
// from A to B the next one is from B, and one from A again could go back behind B. And
// both have to run within 2 s of the call, or to have run before.
//
// Errors: ErrInvalid, also where nobody ever ran from or to; ErrForeignCheckpoint where
// the two follow different stores; projection.ErrBehind with the context's error where
// that ended before to was level; swap's own.
func (t *Target) Swap(ctx context.Context, from, to string, swap func(ctx context.Context, tx pgx.Tx) error) error {
	return t.target.Swap(ctx, from, to, swap)
}

// Moved returns a channel that is closed when this process next saves a checkpoint of
// the name. projection.WaitFor waits for it.
func (t *Target) Moved(name string) <-chan struct{} { return t.target.Moved(name) }

// Reached returns the checkpoint of a name, as Load does, by a query that all share who
// ask at the time. projection.WaitFor asks it.
func (t *Target) Reached(ctx context.Context, name string) (eventstore.LoadCheckpointResult, error) {
	return t.target.Reached(ctx, name)
}
