package marten_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A group fails in which one append was written, after its number was taken, and another was
// not, which has none: tombstones are for numbers.
func TestAGroupThatFailsBuriesNumbersOnly(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	_, err := pool.Exec(t.Context(), `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
		create trigger refuse before insert on mt_events for each row when (new.type = 'refused') execute function refuse()`)
	require.NoError(t, err)
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	holder, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer holder.Rollback(t.Context()) //nolint:errcheck // after a commit it does nothing
	require.NoError(t, marten.Lock(t.Context(), holder, "public"))
	var working sync.WaitGroup
	waiting := func(n int) {
		require.Eventually(t, func() bool {
			var waits int
			err := pool.QueryRow(t.Context(), `select count(*) from pg_locks where not granted and locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`).Scan(&waits)
			return err == nil && waits == n
		}, 10*time.Second, 5*time.Millisecond)
	}
	for n, stream := range []string{"order-2", "order-3"} { // as many groups as may be under way
		working.Go(func() { _, _ = store.Append(t.Context(), stream, anyVersion, event("happened", `{}`)) })
		waiting(n + 1)
	}
	var refused, conflict error
	working.Go(func() { _, refused = store.Append(t.Context(), "order-4", anyVersion, event("refused", `{}`)) })
	working.Go(func() {
		_, conflict = store.Append(t.Context(), "order-1", eventstore.NoStream(), event("happened", `{}`))
	})
	<-time.After(200 * time.Millisecond) // they queue, which nothing shows; if they do not, they go alone, and nothing fails
	require.NoError(t, holder.Commit(t.Context()))
	working.Wait()
	require.ErrorContains(t, refused, "not this one")
	require.ErrorIs(t, conflict, eventstore.ErrConflict)
	var lowest int64
	require.NoError(t, pool.QueryRow(t.Context(), `select min(seq_id) from mt_events`).Scan(&lowest))
	require.EqualValues(t, 1, lowest)
	require.NoError(t, sound(t.Context(), pool))
}
