package marten_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// fill adds streams of ten events each.
func fill(t *testing.T, pool *pgxpool.Pool, events int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `with s as (insert into mt_streams (id, version) select 'filled-' || gen_random_uuid(), 10 from generate_series(1, $1::int / 10) g returning id)
		insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type, is_archived)
		select nextval('mt_events_sequence'), gen_random_uuid(), s.id, v, $2::jsonb, 'order_placed', now(), '', false from s, generate_series(1, 10) v`, events, payload)
	require.NoError(t, err)
}

// scans is how many rows were read by going through the tables from one end to the other.
// The scans themselves do not count: to make an index on an empty table is one.
func scans(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables where relname in ('mt_events', 'mt_streams')`).Scan(&n))
	return n
}

// A statement that looks for keys may be planned as a scan, where it does not say what it
// wants, or where its plan was made when the tables were small: nothing is wrong then, and
// everything gets slower as the store grows.
func TestNothingScansTheTables(t *testing.T) {
	rawURL := server.Database(t)
	outside := connect(t, rawURL)
	require.NoError(t, marten.Create(t.Context(), outside, "", marten.Creation{}))
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		t.Run(string(mode), func(t *testing.T) {
			pool, err := pgxpool.New(t.Context(), rawURL)
			require.NoError(t, err)
			defer pool.Close()
			backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: mode, Grace: map[marten.AppendMode]time.Duration{marten.Rich: 50 * time.Millisecond}[mode]})
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			appends := func() {
				var working sync.WaitGroup
				for i := range 8 {
					working.Go(func() {
						for n := range 20 {
							own := fmt.Sprintf("own-%s-%d", mode, i)
							repeated := event("happened", `{}`)
							for _, at := range []string{"new-" + uuid.NewString(), own, own, "shared-1"} {
								_, err := store.Append(t.Context(), at, eventstore.Any(), repeated)
								assert.NoError(t, err, "%d", n)
							}
						}
					})
				}
				working.Wait()
			}
			fill(t, outside, 10)
			_, err = outside.Exec(t.Context(), `vacuum analyze mt_events, mt_streams`) // for which a scan is the best plan
			require.NoError(t, err)
			appends() // which has the plans made
			for _, conn := range pool.AcquireAllIdle(t.Context()) {
				// A session tells its counts once in a while: what they are so far is no part of the rest.
				_, err := conn.Exec(t.Context(), `select pg_stat_force_next_flush()`)
				conn.Release()
				require.NoError(t, err)
			}
			fill(t, outside, 40_000) // without an analysis, after which plans are made anew
			before := scans(t, outside)
			appends()
			n := 0
			for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
				require.NoError(t, err)
				n++
			}
			require.Greater(t, n, 40_000)
			for _, err := range store.ReadStream(t.Context(), "own-"+string(mode)+"-1", eventstore.ReadOptions{}) {
				require.NoError(t, err)
			}
			require.NoError(t, store.Close())
			pool.Close() // a session that ends tells its counts
			var sessions, after int
			require.Eventually(t, func() bool {
				err := outside.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'`).Scan(&sessions)
				return err == nil && sessions == int(outside.Stat().TotalConns())
			}, 10*time.Second, 5*time.Millisecond)
			after = scans(t, outside)
			require.Equal(t, before, after)
		})
	}
}

// What a handle costs to open, and what a read holds, does not depend on the store's size.
func TestStartAndMemoryDoNotDependOnTheSizeOfTheStore(t *testing.T) {
	type cost struct {
		start time.Duration
		heap  uint64
	}
	measure := func(events int) cost {
		pool := newTables(t, marten.Creation{})
		fill(t, pool, events)
		_, err := pool.Exec(t.Context(), `vacuum analyze mt_events, mt_streams`)
		require.NoError(t, err)
		least := cost{start: time.Hour}
		for range 5 {
			began := time.Now()
			backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
				require.NoError(t, err)
				if message.Kind == eventstore.MessageEvent {
					break
				}
			}
			least.start = min(least.start, time.Since(began))
			require.NoError(t, store.Close())
		}
		store := openStore(t, pool, &marten.Options{Append: marten.Quick})
		n := 0
		for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(t, err)
			if n++; n%5000 == 0 {
				var stats runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&stats)
				least.heap = max(least.heap, stats.HeapAlloc)
			}
		}
		require.Equal(t, events, n)
		return least
	}
	small, large := measure(10_000), measure(300_000)
	t.Logf("start %v and %v, heap %d and %d KiB", small.start, large.start, small.heap>>10, large.heap>>10)
	require.Less(t, large.start, 3*small.start+50*time.Millisecond, "a busy machine takes its time")
	require.Less(t, large.heap, small.heap+8<<20, "a page more, and what the collector leaves")
}
