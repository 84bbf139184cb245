package sqlite_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// pages reads all pages of a request, and holds each Next against the contract: it
// is the place of an event, further on in the direction of the read.
func pages(t *testing.T, backend eventstore.Backend, req eventstore.ReadAllRequest, known map[eventstore.Place]bool) []eventstore.RecordedEvent {
	t.Helper()
	var all []eventstore.RecordedEvent
	for {
		page, err := backend.ReadAll(t.Context(), req)
		require.NoError(t, err)
		all = append(all, page.Events...)
		if page.End {
			return all
		}
		require.True(t, known[page.Next], "Next %s is an event's place", page.Next)
		if req.Backward {
			require.True(t, req.Before.IsZero() || page.Next.Position.Before(req.Before))
			req.Before = page.Next.Position
		} else {
			require.True(t, req.After.Position.Before(page.Next.Position))
			req.After = page.Next
		}
	}
}

func TestFiltersWithManyValuesGiveWhatMatches(t *testing.T) {
	backend, err := sqlite.Open(t.Context(), file(t), nil)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	var categories []string
	for i := range 12 {
		categories = append(categories, fmt.Sprintf("cat%d", i))
	}
	categories = append(categories, "it's", "100%", "_", "1", "Café", "Cafe\u0301", `"`, `\`)
	for round := range 20 {
		for i, category := range categories {
			_, err := store.Append(t.Context(), fmt.Sprintf("%s-%d", category, (round*7+i)%3), eventstore.Any(), eventstore.Event{
				Type: fmt.Sprintf("T%d", (round+i)%5), Data: []byte("1"),
			})
			require.NoError(t, err)
		}
	}
	all := collect(t, store)
	known := make(map[eventstore.Place]bool)
	for _, event := range all {
		known[event.Place()] = true
	}
	for _, filter := range []eventstore.Filter{
		{Categories: []string{"cat1", "cat2"}},
		{Categories: []string{"cat2", "cat1", "cat2"}}, // each event once
		{Categories: []string{"cat1", "absent"}},
		{Categories: categories[4:12]},
		{Categories: categories[:9]},
		{Categories: categories},
		{Categories: []string{"it's", "100%", "_", "1", "Café", `"`, `\`}},
		{StreamPrefixes: []string{"cat1", "cat11", "it's", "100%", "_", "Caf", `"`, `\`}},
		{StreamPrefixes: []string{"cat0-1", "cat0-2", "é"}},
		{Types: []string{"T1", "T4", "T9"}},
		{Categories: []string{"cat1", "cat2", "1"}, Types: []string{"T1", "T2"}},
		{Categories: []string{"cat1", "cat2"}, StreamPrefixes: []string{"cat1-0", "cat2-1", "cat3"}, Types: []string{"T1", "T2", "T3"}},
	} {
		var want []eventstore.RecordedEvent
		for _, event := range all {
			if filter.Match(event.Stream, event.Type) {
				want = append(want, event)
			}
		}
		for _, size := range []int{1, 7, 1000} {
			req := eventstore.ReadAllRequest{Filter: filter, PageSize: eventstore.PageSize{MaxEvents: size, MaxBytes: math.MaxInt}}
			require.Equal(t, want, pages(t, backend, req, known), "%+v in pages of %d", filter, size)
			req.Backward = true
			got := pages(t, backend, req, known)
			slices.Reverse(got)
			require.Equal(t, want, got, "%+v backward in pages of %d", filter, size)
		}
	}
}

// Nobody deletes events. Where somebody did nevertheless, a filtered read is not
// stuck in a hole that is larger than what one page looks at.
func TestAFilteredReadPassesALargeHole(t *testing.T) {
	path := file(t)
	backend, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	db := raw(t, path)
	for n := range 4 {
		_, err := store.Append(t.Context(), "s-1", eventstore.Exactly(uint64(n)), event(n))
		require.NoError(t, err)
		execute(t, db, "UPDATE sqlite_sequence SET seq = seq + 10000 WHERE name = 'events'")
	}
	all := collect(t, store)
	known := make(map[eventstore.Place]bool)
	for _, event := range all {
		known[event.Place()] = true
	}
	for _, filter := range []eventstore.Filter{{Types: []string{"Tested"}}, {StreamPrefixes: []string{"s-"}}} {
		req := eventstore.ReadAllRequest{Filter: filter, PageSize: eventstore.PageSize{MaxEvents: 100, MaxBytes: math.MaxInt}}
		require.Equal(t, all, pages(t, backend, req, known))
		req.Backward = true
		got := pages(t, backend, req, known)
		slices.Reverse(got)
		require.Equal(t, all, got)
	}
}

func TestBoundsOfAnotherKindOfStoreLieBetweenPositions(t *testing.T) {
	store := open(t, file(t), nil)
	for n := range 3 {
		_, err := store.Append(t.Context(), "s-1", eventstore.Exactly(uint64(n)), event(n))
		require.NoError(t, err)
	}
	for _, test := range []struct {
		bound         eventstore.Position
		before, after int
	}{
		{eventstore.NewPosition(2, 0), 1, 1},
		{eventstore.NewPosition(2, 7), 2, 1},
		{eventstore.NewPosition(math.MaxUint64, 0), 3, 0},
		{eventstore.NewPosition(math.MaxUint64, math.MaxUint64), 3, 0},
	} {
		count := func(opts eventstore.ReadAllOptions) (n int) {
			for _, err := range store.ReadAll(t.Context(), opts) {
				require.NoError(t, err)
				n++
			}
			return n
		}
		require.Equal(t, test.before, count(eventstore.ReadAllOptions{Before: test.bound}), "before %s", test.bound)
		require.Equal(t, test.after, count(eventstore.ReadAllOptions{After: test.bound}), "after %s", test.bound)
	}
}

// The file may be a read model's, which keeps its progress in another store.
func TestCheckpointsOfAnotherStoreAreKeptExactly(t *testing.T) {
	backend, err := sqlite.Open(t.Context(), file(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	checkpoints := backend.Records().Checkpoints
	want := eventstore.Checkpoint{Name: "billing", Store: uuid.New(), Place: eventstore.Place{
		Position: eventstore.NewPosition(math.MaxUint64-1, math.MaxUint64), Stream: "s-1", Version: math.MaxInt64, ID: uuid.New(),
	}}
	require.NoError(t, checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: want}))
	earlier := want
	earlier.Place.Position = eventstore.NewPosition(math.MaxUint64-1, math.MaxUint64-1)
	require.NoError(t, checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: earlier}))
	got, err := checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "billing"})
	require.NoError(t, err)
	require.Equal(t, eventstore.LoadCheckpointResult{Checkpoint: want, Found: true}, got)
}
