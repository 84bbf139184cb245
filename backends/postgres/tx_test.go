package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestRowsAndEventsAreStoredTogetherOrNotAtAll(t *testing.T) {
	store, backend, pool := openStore(t)
	_, err := pool.Exec(t.Context(), `create table orders (id int)`)
	require.NoError(t, err)
	changed := errors.New("the caller changed its mind")
	for _, test := range []struct {
		name string
		end  error
		want int
	}{{"rolled back", changed, 0}, {"committed", nil, 1}} {
		t.Run(test.name, func(t *testing.T) {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), `insert into orders values (1)`); err != nil {
					return err
				}
				_, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.NoStream(), event("Placed", "{}"))
				require.NoError(t, err)
				return test.end
			})
			require.Equal(t, test.end, err)
			var rows int
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from orders`).Scan(&rows))
			version, err := store.StreamVersion(t.Context(), "order-1")
			require.NoError(t, err)
			require.Equal(t, test.want, rows)
			require.EqualValues(t, test.want, version)
		})
	}
}

func TestAppendTxJudgesAsAppendDoes(t *testing.T) {
	store, backend, pool := openStore(t)
	first := event("Placed", "{}")
	first.ID = uuid.New()
	original, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), first)
	require.NoError(t, err)
	other := event("Paid", "{}")
	other.ID = first.ID
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.NoStream(), event("Placed", "{}"))
		var conflict *eventstore.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.EqualValues(t, 1, conflict.Actual)
		_, err = backend.AppendTx(t.Context(), tx, "order-1", eventstore.Any(), other)
		require.ErrorIs(t, err, eventstore.ErrEventIDReused)
		_, err = backend.AppendTx(t.Context(), tx, "", eventstore.Any(), other)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		// After verdicts the transaction can go on.
		again, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.NoStream(), first)
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		require.Equal(t, original.Position, again.Position)
		// Several appends see one another.
		_, err = backend.AppendTx(t.Context(), tx, "order-1", eventstore.Exactly(1), event("Paid", "{}"))
		require.NoError(t, err)
		result, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.Exactly(2), event("Sent", "{}"))
		require.NoError(t, err)
		require.EqualValues(t, 3, result.Version)
		return nil
	})
	require.NoError(t, err)
	version, err := store.StreamVersion(t.Context(), "order-1")
	require.NoError(t, err)
	require.EqualValues(t, 3, version)
}

func TestAppendTxOnATransactionThatIsOverIsAnErrorAtOnce(t *testing.T) {
	_, backend, pool := openStore(t)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = backend.AppendTx(t.Context(), tx, "order-1", eventstore.Any(), event("Placed", "{}"))
	require.ErrorIs(t, err, pgx.ErrTxClosed)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}

// project runs a projection until it has counted n events.
func project(t *testing.T, backend *postgres.Backend, p postgres.Projection, until func() bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- backend.Project(ctx, p) }()
	require.Eventually(t, until, soon, 2*time.Millisecond)
	cancel()
	return <-done
}

func TestAProjectionCountsEachEventOnceAcrossFailuresAndPanics(t *testing.T) {
	store, backend, pool := openStore(t)
	_, err := pool.Exec(t.Context(), `create table counted (version int)`)
	require.NoError(t, err)
	const events = 25
	for range events {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
		_, err = store.Append(t.Context(), "other-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
	}
	failures := map[uint64]int{3: 2, 11: 1, 25: 1}
	p := postgres.Projection{
		Name: "count", Filter: eventstore.Filter{Categories: []string{"order"}},
		Retry: eventstore.HandlerRetry{Pause: time.Millisecond},
		Handler: func(ctx context.Context, tx pgx.Tx, e eventstore.RecordedEvent) error {
			_, err := tx.Exec(ctx, `insert into counted values ($1)`, e.Version)
			if failures[e.Version]--; failures[e.Version] >= 0 {
				if e.Version == 11 {
					panic("eleven")
				}
				return errors.New("not now")
			}
			return err
		},
	}
	counted := func() (n, distinct int) {
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*), count(distinct version) from counted`).Scan(&n, &distinct))
		return n, distinct
	}
	require.NoError(t, project(t, backend, p, func() bool { n, _ := counted(); return n >= events }))
	n, distinct := counted()
	require.Equal(t, events, n)
	require.Equal(t, events, distinct)
	checkpoint, ok, err := store.LoadCheckpoint(t.Context(), "count")
	require.NoError(t, err)
	require.True(t, ok)
	require.False(t, checkpoint.Place.Position.Before(eventstore.NewPosition(49, 0)), "it passed over what follows the last one, or not yet")
}

func TestAnEventThatFailsForGoodStopsItsProjectionBeforeIt(t *testing.T) {
	store, backend, _ := openStore(t)
	for range 5 {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
	}
	err := backend.Project(t.Context(), postgres.Projection{
		Name: "stuck", Retry: eventstore.HandlerRetry{Attempts: 3, Pause: time.Millisecond},
		Handler: func(_ context.Context, _ pgx.Tx, e eventstore.RecordedEvent) error {
			if e.Version == 4 {
				panic("four")
			}
			return nil
		},
	})
	var failure *eventstore.HandlerError
	require.ErrorAs(t, err, &failure)
	require.EqualValues(t, 4, failure.Version)
	require.Equal(t, 3, failure.Attempts)
	var panicked *eventstore.PanicError
	require.ErrorAs(t, err, &panicked)
	checkpoint, ok, err := store.LoadCheckpoint(t.Context(), "stuck")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, eventstore.NewPosition(3, 0), checkpoint.Place.Position)
}

func TestAHandlerThatEndsTheTransactionItselfStopsItsProjection(t *testing.T) {
	store, backend, _ := openStore(t)
	_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
	require.NoError(t, err)
	err = backend.Project(t.Context(), postgres.Projection{
		Name:    "wrong",
		Handler: func(ctx context.Context, tx pgx.Tx, _ eventstore.RecordedEvent) error { return tx.Rollback(ctx) },
	})
	require.ErrorIs(t, err, pgx.ErrTxClosed)
}

func TestAProjectionRefusesAForeignCheckpointAndBadInput(t *testing.T) {
	_, backend, _ := openStore(t)
	handler := func(context.Context, pgx.Tx, eventstore.RecordedEvent) error { return nil }
	require.NoError(t, saveAt(t, backend, "foreign", uuid.New(), 1))
	require.ErrorIs(t, backend.Project(t.Context(), postgres.Projection{Name: "foreign", Handler: handler}), eventstore.ErrForeignCheckpoint)
	require.NoError(t, saveAt(t, backend, "ahead", backend.ID(), 9))
	require.ErrorIs(t, backend.Project(t.Context(), postgres.Projection{Name: "ahead", Handler: handler}), eventstore.ErrCheckpointAhead)
	require.ErrorIs(t, backend.Project(t.Context(), postgres.Projection{Name: "", Handler: handler}), eventstore.ErrInvalid)
	require.ErrorIs(t, backend.Project(t.Context(), postgres.Projection{Name: "x"}), eventstore.ErrInvalid)
	require.ErrorIs(t, backend.Project(t.Context(), postgres.Projection{Name: "x", Handler: handler, Filter: eventstore.Filter{Categories: []string{"a-b"}}}), eventstore.ErrInvalid)
}

// A lock that somebody holds in the handler's own tables is not the event's fault.
func TestATransientErrorOfTheDatabaseInAHandlerDoesNotCount(t *testing.T) {
	store, backend, _ := openStore(t)
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	for name, code := range map[string]string{"lock": "55P03", "deadlock": "40P01", "serialisation": "40001", "time limit": "57014"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			calls := 0
			err := backend.Project(ctx, postgres.Projection{
				Name: name, Retry: eventstore.HandlerRetry{Attempts: 1}, ParkStream: "parked",
				Handler: func(ctx context.Context, tx pgx.Tx, _ eventstore.RecordedEvent) error {
					if calls++; calls <= 3 {
						_, err := tx.Exec(ctx, "do $$ begin raise exception 'held' using errcode = '"+code+"'; end $$")
						return err
					}
					cancel()
					return nil
				},
			})
			require.NoError(t, err)
			require.Equal(t, 4, calls)
			parked, err := store.StreamVersion(t.Context(), "parked")
			require.NoError(t, err)
			require.Zero(t, parked)
		})
	}
}

// saveAt saves a checkpoint without holding it against the store.
func saveAt(t *testing.T, backend *postgres.Backend, name string, store uuid.UUID, at uint64) error {
	t.Helper()
	return backend.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
		Name: name, Store: store, Place: eventstore.Place{Position: eventstore.NewPosition(at, 0), Stream: "s", Version: at, ID: uuid.New()},
	}})
}

// Such a transaction may see the store as it was before it had the lock, and give an
// event a version that another one has.
func TestAnAppendInATransactionWithAnOlderSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	store, backend, pool := openStore(t)
	for level, events := range map[pgx.TxIsoLevel][]eventstore.Event{
		pgx.RepeatableRead: {event("Placed", "{}")},
		pgx.Serializable:   {event("Placed", "{}"), event("Paid", "{}")},
	} {
		tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
		require.NoError(t, err)
		_, err = backend.AppendTx(t.Context(), tx, "order-1", eventstore.Any(), events...)
		require.ErrorContains(t, err, "use read committed", level)
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
		require.NotErrorIs(t, err, eventstore.ErrConflict)
		require.NoError(t, tx.Rollback(t.Context()))
	}
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	require.True(t, info.Head.IsZero())
}
