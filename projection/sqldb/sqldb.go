package sqldb

import (
	"context"
	"database/sql"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection/internal/target"
)

// Dialect is the SQL of a database.
type Dialect int

// The dialects that read models can be kept in.
const (
	// SQLite is version 3.24 or later.
	SQLite Dialect = iota + 1
	// PostgreSQL is version 13 or later.
	PostgreSQL
)

func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return "no dialect"
}

// Target keeps read models in a database. It is safe for concurrent use.
type Target struct {
	// Checkpoints and leases are in the table switchyard_checkpoints.
	eventstore.Checkpoints
	target *target.Target[*sql.Tx]
}

// Open returns the read models' target in a database, and makes the table
// switchyard_checkpoints where there is none. The caller closes db, after the read
// models have ended.
//
// In PostgreSQL each read model that works uses a connection, and one more is kept free,
// over which leases are renewed: where db is limited to fewer connections, read models
// take turns. In SQLite one transaction at a time writes, so read models in one file wait
// for each other: set a busy timeout in the driver's URL, and the journal mode WAL, in
// which readers and the writer do not wait. A lease is renewed in memory while its own
// update has the file.
//
// SQLite itself ends a transaction at some errors: INSERT OR ROLLBACK, a full disk, a
// statement that is cut short. A function that passes over them would go on without a
// transaction. With the drivers modernc.org/sqlite and mattn/go-sqlite3 its further
// statements fail then, by a commit hook that the target sets for the update, in place
// of one that the application has set. With another driver they are committed each by
// itself, and again with each attempt: there return every error.
//
// Errors: ErrInvalid for a dialect that is not the database's, a limit of one
// connection to PostgreSQL, or a database in memory that each connection has for itself;
// ErrUnavailable; the context's; the database's, for instance
// where the table is there and is not this package's.
func Open(ctx context.Context, db *sql.DB, dialect Dialect) (*Target, error) {
	d, err := check(ctx, db, dialect)
	if err != nil {
		return nil, err
	}
	shared, err := target.Open(ctx, newDatabase(db, dialect), d, db.Stats().MaxOpenConnections)
	if err != nil {
		return nil, err
	}
	if dialect == SQLite {
		if err := oneDatabase(ctx, db); err != nil {
			return nil, err
		}
	}
	return &Target{Checkpoints: shared, target: shared}, nil
}

// Update calls f in a transaction and saves the checkpoint to in the same one. f is
// given the stored position, zero where there is none, and passes over events up to it.
// Where the stored checkpoint is at or beyond to, Update does nothing. Its errors are
// those of projection.Target; projection.New calls it.
func (t *Target) Update(ctx context.Context, to eventstore.Checkpoint, f func(ctx context.Context, tx *sql.Tx, after eventstore.Position) error) error {
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
func (t *Target) Swap(ctx context.Context, from, to string, swap func(ctx context.Context, tx *sql.Tx) error) error {
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
