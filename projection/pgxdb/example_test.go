package pgxdb_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
)

// Paid is the event of this example.
type Paid struct {
	Cents int64 `json:"cents"`
}

func ExampleOpen() {
	run := func(ctx context.Context, store *eventstore.Store, pool *pgxpool.Pool) error {
		target, err := pgxdb.Open(ctx, pool)
		if err != nil {
			return err
		}
		events := codec.Must(codec.New[Paid](nil, codec.Of[Paid]("Paid")))
		return store.Run(ctx, projection.New(target, "paid-v1", events, func(ctx context.Context, tx pgx.Tx, e Paid, at eventstore.RecordedEvent) error {
			_, err := tx.Exec(ctx, `INSERT INTO paid_v1 VALUES ($1, $2) ON CONFLICT (customer) DO UPDATE SET cents = paid_v1.cents + excluded.cents`, at.Stream, e.Cents)
			return err
		}))
	}
	_ = run
	_, err := pgxdb.Open(context.Background(), nil)
	fmt.Println(err)
	// Output: invalid pool: it is nil; give an open pool
}

func ExampleTarget_Swap() {
	goOver := func(ctx context.Context, target *pgxdb.Target) error {
		return target.Swap(ctx, "paid-v1", "paid-v2", func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `DROP VIEW IF EXISTS paid; CREATE VIEW paid AS SELECT * FROM paid_v2`)
			return err
		})
	}
	_ = goOver
}

func ExampleTarget_Update() {
	count := func(ctx context.Context, target *pgxdb.Target, batch eventstore.Batch) error {
		return target.Update(ctx, batch.Checkpoint, func(ctx context.Context, tx pgx.Tx, after eventstore.Position) error {
			for _, event := range batch.Events {
				if !after.Before(event.Position) {
					continue // it is in the table already
				}
				if _, err := tx.Exec(ctx, `INSERT INTO ids VALUES ($1)`, event.ID); err != nil {
					return err
				}
			}
			return nil
		})
	}
	_ = count
}

func ExampleTarget_Moved() {
	wait := func(target *pgxdb.Target) { <-target.Moved("paid-v1") }
	_ = wait
}
