package projection_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
)

// BenchmarkReadModel applies stored events, each by an upsert: how fast a read model is
// built anew. Batched sends the upserts of a batch at once, or adds them up in one.
//
//	go test ./projection -run '^$' -bench ReadModel -benchtime 20000x
func BenchmarkReadModel(b *testing.B) {
	for _, way := range []struct {
		name  string
		kinds []string
		sub   func(target) eventstore.Subscription
	}{
		{"", append(slices.Clone(kinds), inWAL), func(to target) eventstore.Subscription {
			return projection.New(to, "m", deposits(), count("balances"))
		}},
		{", batched", []string{inSQL, inPgx}, func(to target) eventstore.Subscription {
			return projection.NewBatched(to, "m", deposits(), countAll("balances"))
		}},
	} {
		for _, kind := range way.kinds {
			b.Run(kind+way.name, func(b *testing.B) {
				d := newDatabase(b, kind)
				store, target := newStore(b), d.open(b)
				d.balances(b, "balances")
				for i := range b.N {
					deposit(b, store, i%100, 1)
				}
				sub := way.sub(target)
				sub.UntilCaughtUp = true
				b.ResetTimer()
				require.NoError(b, store.Run(b.Context(), sub))
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				require.Equal(b, b.N, d.number(b, `SELECT sum(events) FROM balances`))
			})
		}
	}
}

// BenchmarkWaitFor measures from the append's answer to the return of WaitFor: in the
// process that runs the read model, and through a target of another process.
//
//	go test ./projection -run '^$' -bench WaitFor -benchtime 500x
func BenchmarkWaitFor(b *testing.B) {
	for _, kind := range append(slices.Clone(kinds), inWAL) {
		for _, where := range []string{"in one process", "across processes"} {
			b.Run(kind+"/"+where, func(b *testing.B) {
				d := newDatabase(b, kind)
				store, target := newStore(b), d.open(b)
				d.balances(b, "balances")
				asked := target
				if where != "in one process" {
					asked = d.open(b) // which nobody wakes
				}
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				go func() { done <- store.Run(ctx, projection.New(target, "m", deposits(), count("balances"))) }()
				require.NoError(b, projection.WaitFor(ctx, asked, "m", deposit(b, store, 0, 1)))
				waits := make([]time.Duration, 0, b.N)
				for i := range b.N {
					position := deposit(b, store, i%100, 1)
					began := time.Now()
					require.NoError(b, projection.WaitFor(ctx, asked, "m", position))
					waits = append(waits, time.Since(began))
				}
				cancel()
				require.NoError(b, <-done)
				slices.Sort(waits)
				b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}

// BenchmarkHandWritten is what BenchmarkReadModel is held against: the same upserts in
// transactions of 256, with no checkpoint.
func BenchmarkHandWritten(b *testing.B) {
	for _, kind := range []string{inWAL, inSQL} {
		b.Run(kind, func(b *testing.B) {
			d := newDatabase(b, kind)
			add := count("balances")
			d.byHand(b, func(tx transaction, events []codec.Decoded[deposited]) error {
				for _, e := range events {
					if err := add(b.Context(), tx, e.Value, e.Recorded); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	for _, kind := range []string{inSQL, inPgx} {
		b.Run(kind+", batched", func(b *testing.B) {
			d := newDatabase(b, kind)
			addAll := countAll("balances")
			d.byHand(b, func(tx transaction, events []codec.Decoded[deposited]) error { return addAll(b.Context(), tx, events) })
		})
	}
}

func (d *database) byHand(b *testing.B, apply func(transaction, []codec.Decoded[deposited]) error) {
	d.balances(b, "balances")
	begin := func() transaction {
		tx, err := d.db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		return eraseSQL(tx)
	}
	if d.kind == inPgx {
		pool, err := pgxpool.New(b.Context(), d.url)
		require.NoError(b, err)
		b.Cleanup(pool.Close)
		begin = func() transaction {
			tx, err := pool.Begin(b.Context())
			require.NoError(b, err)
			return erasePgx(tx)
		}
	}
	b.ResetTimer()
	for done := 0; done < b.N; {
		var events []codec.Decoded[deposited]
		for range min(256, b.N-done) {
			at := eventstore.RecordedEvent{Stream: fmt.Sprintf("account-%d", done%100)}
			events = append(events, codec.Decoded[deposited]{Value: deposited{Cents: 1}, Recorded: at})
			done++
		}
		tx := begin()
		require.NoError(b, apply(tx, events))
		require.NoError(b, tx.commit(b.Context()))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
