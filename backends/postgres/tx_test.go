package postgres_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

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
