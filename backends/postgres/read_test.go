package postgres_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A server that has planned a read often enough would plan it for any values.
func TestARareCategoryIsFoundByItsIndexHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	const common, reads = 30_000, 20
	url := server.Database(t)
	pool := openPool(t, url)
	store := newStore(t, openBackend(t, pool, nil), &eventstore.Options{BackendLimits: true})
	for range common / 10_000 {
		events := make([]eventstore.Event, 10_000)
		for i := range events {
			events[i] = event("Placed", "{}")
		}
		_, err := store.Append(t.Context(), "common-1", eventstore.Any(), events...)
		require.NoError(t, err)
	}
	_, err := store.Append(t.Context(), "rare-1", eventstore.Any(), event("Placed", "{}"))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "analyze switchyard.events")
	require.NoError(t, err)

	scanned := func(index string) (scans, rows int64) { return indexUse(t, url, index) }
	byCategory, _ := scanned("events_category")
	_, byPosition := scanned("events_position")
	for _, backward := range []bool{false, true} {
		for range reads {
			found := 0
			for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: eventstore.Filter{Categories: []string{"rare"}}, Backward: backward}) {
				require.NoError(t, err)
				found++
			}
			require.Equal(t, 1, found)
		}
	}
	pool.Reset() // sessions hand in their statistics when they end
	require.Eventually(t, func() bool {
		scans, _ := scanned("events_category")
		return scans >= byCategory+2*reads
	}, soon, 50*time.Millisecond, "the index of categories is used for each read")
	_, rows := scanned("events_position")
	require.Less(t, rows-byPosition, int64(common), "events looked at by position")
}

// Where most streams have one event, the server plans for streams of one event.
func TestAnAppendToALongStreamDoesNotReadTheWholeOfIt(t *testing.T) {
	t.Parallel()
	const short, long, appends = 5_000, 2_000, 20
	url := server.Database(t)
	pool := openPool(t, url)
	store := newStore(t, openBackend(t, pool, nil), &eventstore.Options{BackendLimits: true})
	for i := range short / 100 {
		parts := make([]eventstore.StreamAppend, 100)
		for j := range parts {
			parts[j] = part(fmt.Sprintf("short-%d", 100*i+j), eventstore.NoStream(), event("Placed", "{}"))
		}
		_, err := store.AppendStreams(t.Context(), parts...)
		require.NoError(t, err)
	}
	_, err := pool.Exec(t.Context(), "analyze switchyard.events")
	require.NoError(t, err)
	events := make([]eventstore.Event, long)
	for i := range events {
		events[i] = event("Placed", "{}")
	}
	_, err = store.Append(t.Context(), "long-1", eventstore.NoStream(), events...)
	require.NoError(t, err)

	pool.Reset() // plans are a session's, and its statistics are handed in when it ends
	scans, rows := int64(0), int64(0)
	settled := func() bool {
		before := scans
		scans, rows = indexUse(t, url, "events_stream_version")
		return scans == before && scans > 0
	}
	require.Eventually(t, settled, soon, 100*time.Millisecond)
	before, read := scans, rows
	for range appends {
		_, err := store.Append(t.Context(), "long-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
		_, err = store.Append(t.Context(), "long-1", eventstore.Any(), event("Placed", "{}"), event("Placed", "{}"))
		require.NoError(t, err)
	}
	pool.Reset()
	require.Eventually(t, func() bool {
		scans, rows = indexUse(t, url, "events_stream_version")
		return scans >= before+2*appends
	}, soon, 100*time.Millisecond)
	require.Less(t, rows-read, int64(20*appends), "entries of the index that were read for %d appends", 2*appends)
}

// indexUse tells how often an index was used, and how many of its entries were read,
// by the sessions that have ended.
func indexUse(t *testing.T, url, index string) (scans, entries int64) {
	t.Helper()
	admin := openPool(t, url)
	defer admin.Close() // statistics are those of the session's beginning
	require.NoError(t, admin.QueryRow(t.Context(),
		`select idx_scan, idx_tup_read from pg_stat_user_indexes where schemaname = 'switchyard' and indexrelname = $1`, index).Scan(&scans, &entries))
	return scans, entries
}

// The windows of filtered reads hold 100,000 positions. Rows can be moved by hand, so that
// windows end at events, between them and in large holes.
func TestAFilteredReadGoesOnPastItsWindowsAndTheirHoles(t *testing.T) {
	for name, positions := range map[string][]int64{
		"events at borders and between holes":    {1, 2, 99_999, 100_000, 100_001, 100_002, 199_999, 200_000, 200_001, 300_001, 550_000, 550_001},
		"the last event below a backward window": {1, 100_001},
		"the last event of a forward window":     {50_000, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, backend, pool := openStore(t)
			for i := range positions {
				_, err := store.Append(t.Context(), fmt.Sprintf("order-%d", i%3), eventstore.Any(), event([]string{"Placed", "Paid"}[i/2%2], "{}"))
				require.NoError(t, err)
			}
			_, err := pool.Exec(t.Context(), "alter table switchyard.events disable trigger immutable")
			require.NoError(t, err)
			for i, position := range slices.Backward(positions) {
				_, err := pool.Exec(t.Context(), "update switchyard.events set global_position = $1 where global_position = $2", position, i+1)
				require.NoError(t, err)
			}
			var all []eventstore.RecordedEvent
			for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
				require.NoError(t, err)
				all = append(all, e)
			}
			require.Len(t, all, len(positions))
			for _, filter := range []eventstore.Filter{
				{Types: []string{"Paid"}}, {Types: []string{"Absent"}}, {Categories: []string{"order"}}, {StreamPrefixes: []string{"order-1"}, Types: []string{"Placed"}},
			} {
				for _, size := range []int{1, 2, 1000} {
					readsBetweenBounds(t, backend, all, filter, size)
				}
			}
		})
	}
}

// readsBetweenBounds reads pages after and before each event, and holds them against all.
func readsBetweenBounds(t *testing.T, backend eventstore.Backend, all []eventstore.RecordedEvent, filter eventstore.Filter, size int) {
	t.Helper()
	places := map[eventstore.Place]bool{{}: true}
	for _, e := range all {
		places[e.Place()] = true
	}
	matches := func(events []eventstore.RecordedEvent) (found []eventstore.RecordedEvent) {
		for _, e := range events {
			if filter.Match(e.Stream, e.Type) {
				found = append(found, e)
			}
		}
		return found
	}
	for i := range len(all) + 1 { // after, and before, the i-th event
		what := fmt.Sprintf("%+v in pages of %d, bound %d of %d", filter, size, i, len(all))
		req := eventstore.ReadAllRequest{Filter: filter, PageSize: eventstore.PageSize{MaxEvents: size, MaxBytes: math.MaxInt}}
		if i > 0 {
			req.After = all[i-1].Place()
		}
		var got []eventstore.RecordedEvent
		for end := false; !end; {
			page, err := backend.ReadAll(t.Context(), req)
			require.NoError(t, err)
			require.True(t, places[page.Next], "%s: Next %s is no event's", what, page.Next)
			require.True(t, page.End || req.After.Position.Before(page.Next.Position), "%s: Next %s", what, page.Next)
			got, req.After, end = append(got, page.Events...), page.Next, page.End
		}
		require.Equal(t, matches(all[i:]), got, what)
		require.Equal(t, all[len(all)-1].Place(), req.After, what)

		for _, low := range []int{0, i / 2} {
			req = eventstore.ReadAllRequest{Filter: filter, PageSize: req.PageSize, Backward: true}
			if low > 0 {
				req.After = all[low-1].Place()
			}
			if i < len(all) {
				req.Before = all[i].Position
			}
			got = nil
			for pages, end := 0, false; !end; pages++ {
				require.LessOrEqual(t, pages, len(all)+1, "%s, backward: it does not end", what)
				page, err := backend.ReadAll(t.Context(), req)
				require.NoError(t, err)
				got, end = append(got, page.Events...), page.End || !req.After.Position.Before(page.Next.Position)
				require.True(t, end || req.Before.IsZero() || page.Next.Position.Before(req.Before), "%s, backward: Next %s", what, page.Next)
				req.Before = page.Next.Position
			}
			slices.Reverse(got)
			require.Equal(t, matches(all[low:i]), got, "%s, backward", what)
		}
	}
}
