package projection_test

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
)

// payments is a read model in PostgreSQL. The statements of a batch's events are sent at
// once, and take one round trip.
func payments(target *pgxdb.Target) eventstore.Subscription {
	paid := codec.Must(codec.New[Paid](nil, codec.Of[Paid]("Paid")))
	return projection.NewBatched(target, "paid-v1", paid, func(ctx context.Context, tx pgx.Tx, events []codec.Decoded[Paid]) error {
		var batch pgx.Batch
		for _, e := range events {
			batch.Queue(`INSERT INTO paid_v1 VALUES ($1, $2) ON CONFLICT (customer) DO UPDATE SET cents = paid_v1.cents + excluded.cents`, e.Recorded.Stream, e.Value.Cents)
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}

func ExampleNewBatched_pgx() {
	run := func(ctx context.Context, store *eventstore.Store, pool *pgxpool.Pool) error {
		target, err := pgxdb.Open(ctx, pool)
		if err != nil {
			return err
		}
		return store.Run(ctx, payments(target))
	}
	_ = run // a test runs payments
}
