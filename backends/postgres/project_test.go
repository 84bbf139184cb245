package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// An attempt whose answer was lost may still be under way when Run makes the next one.
func TestAnAttemptThatIsCommittedBesideTheNextOneCountsOnce(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	pool, others := openPool(t, url), openPool(t, url)
	backend := openBackend(t, pool, nil)
	store := newStore(t, backend, nil)
	_, err := pool.Exec(t.Context(), `create table counted (version int)`)
	require.NoError(t, err)
	_, err = store.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)

	earlier, err := others.Begin(t.Context())
	require.NoError(t, err)
	committed := make(chan error, 1)
	calls := 0
	err = backend.Project(t.Context(), postgres.Projection{
		Name: "count", UntilCaughtUp: true,
		Handler: func(ctx context.Context, tx pgx.Tx, e eventstore.RecordedEvent) error {
			calls++
			if calls == 1 {
				if err := attempt(ctx, earlier, store, e); err != nil {
					return err
				}
				go func() { committed <- commitOnceWaitedFor(t.Context(), others, earlier) }()
			}
			_, err := tx.Exec(ctx, `insert into counted values ($1)`, e.Version)
			return err
		},
	})
	require.NoError(t, err)
	require.NoError(t, <-committed)
	var counted int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from counted`).Scan(&counted))
	require.Equal(t, 1, counted)
	require.Equal(t, 1, calls, "the next attempt passes over what is committed")
}

// attempt does in a transaction what a projection's attempt with an event does.
func attempt(ctx context.Context, tx pgx.Tx, store *eventstore.Store, e eventstore.RecordedEvent) error {
	info, err := store.Info(ctx)
	if err != nil {
		return err
	}
	high, _ := e.Position.Words()
	_, counting := tx.Exec(ctx, `insert into counted values ($1)`, e.Version)
	_, saving := tx.Exec(ctx, `update switchyard.checkpoints set store_id = $1, position_high = $2, position_low = 0, stream_id = $3, version = $4, event_id = $5
		where name = 'count'`, info.ID, int64(high), e.Stream, int64(e.Version), e.ID)
	return errors.Join(counting, saving)
}

// commitOnceWaitedFor commits when another transaction waits for this one.
func commitOnceWaitedFor(ctx context.Context, others *pgxpool.Pool, tx pgx.Tx) error {
	pid := int32(tx.Conn().PgConn().PID())
	for deadline := time.Now().Add(soon); ; {
		var waits bool
		err := others.QueryRow(ctx, `select exists (select from pg_stat_activity where $1 = any(pg_blocking_pids(pid)))`, pid).Scan(&waits)
		switch {
		case err != nil:
			return errors.Join(err, tx.Rollback(ctx))
		case waits:
			return tx.Commit(ctx)
		case time.Now().After(deadline):
			return errors.Join(errors.New("nobody waits for the earlier attempt"), tx.Rollback(ctx))
		}
	}
}
