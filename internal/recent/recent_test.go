package recent_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/recent"
)

func event(n int, data int) eventstore.RecordedEvent {
	return eventstore.RecordedEvent{
		Event:  eventstore.Event{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)), Type: fmt.Sprintf("T%d", n%2), Data: make([]byte, data)},
		Stream: "s", Version: uint64(n), Position: eventstore.NewPosition(uint64(10*n), 0),
	}
}

func events(from, to int) (all []eventstore.RecordedEvent) {
	for n := from; n <= to; n++ {
		all = append(all, event(n, 1))
	}
	return all
}

func after(place eventstore.Place, most int) eventstore.ReadAllRequest {
	return eventstore.ReadAllRequest{After: place, PageSize: eventstore.PageSize{MaxEvents: most, MaxBytes: 1 << 20}}
}

func TestALogAnswersWhatFollowsAPlace(t *testing.T) {
	var log recent.Log
	_, ok := log.Page(after(eventstore.Place{}, 10))
	require.False(t, ok, "it knows nothing")
	require.False(t, log.Add(event(3, 1)))
	log.Begin(event(2, 1).Place())
	require.True(t, log.Add(events(3, 5)...))
	require.True(t, log.Add(events(4, 6)...), "one of these is new")
	require.False(t, log.Add(events(5, 6)...), "and of these none")

	page, ok := log.Page(after(event(2, 1).Place(), 10))
	require.True(t, ok)
	require.Equal(t, eventstore.Page{Events: events(3, 6), End: true, Next: event(6, 1).Place()}, page)
	page, ok = log.Page(after(event(4, 1).Place(), 1))
	require.True(t, ok)
	require.Equal(t, eventstore.Page{Events: events(5, 5), Next: event(5, 1).Place()}, page)
	page, ok = log.Page(after(event(6, 1).Place(), 1))
	require.True(t, ok, "there is nothing new")
	require.Equal(t, eventstore.Page{End: true, Next: event(6, 1).Place()}, page)
	filtered := after(event(2, 1).Place(), 1)
	filtered.Filter.Types = []string{"T1"}
	page, ok = log.Page(filtered)
	require.True(t, ok)
	require.Equal(t, eventstore.Page{Events: events(3, 3), Next: event(3, 1).Place()}, page)
	filtered.Filter.Types = []string{"none"}
	page, ok = log.Page(filtered)
	require.True(t, ok)
	require.Equal(t, eventstore.Page{End: true, Next: event(6, 1).Place()}, page, "all was considered")

	for name, place := range map[string]eventstore.Place{
		"before what it has":         event(1, 1).Place(),
		"beyond what it has":         event(7, 1).Place(),
		"another event at the place": {Position: event(4, 1).Position, Stream: "t", Version: 1, ID: uuid.New()},
		"another event at the start": {Position: event(2, 1).Position, Stream: "t", Version: 1, ID: uuid.New()},
	} {
		_, ok := log.Page(after(place, 10))
		require.False(t, ok, name)
	}
}

func TestALogIsBounded(t *testing.T) {
	for name, size := range map[string]int{"events": 1, "bytes": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			var log recent.Log
			log.Begin(eventstore.Place{})
			const count = 3 * recent.MaxEvents
			for n := 1; n <= count; n++ {
				log.Add(event(n, size))
			}
			_, ok := log.Page(after(event(count-recent.MaxEvents-1, size).Place(), 10))
			require.False(t, ok, "it was dropped")
			kept := 0
			for n := count; n > 0; n-- {
				if _, ok := log.Page(after(event(n, size).Place(), 1)); !ok {
					break
				}
				kept++
			}
			require.Less(t, (kept-1)*size, recent.MaxBytes)
			require.LessOrEqual(t, kept-1, recent.MaxEvents)
			require.Greater(t, kept, 50)
		})
	}
	var log recent.Log
	log.Begin(eventstore.Place{})
	require.True(t, log.Add(event(1, 2*recent.MaxBytes)))
	page, ok := log.Page(after(event(1, 0).Place(), 1))
	require.True(t, ok)
	require.True(t, page.End)
	_, ok = log.Page(after(eventstore.Place{}, 1))
	require.False(t, ok, "an event that is larger than all it may hold is not held")
}

func TestWhatALogGivesIsTheReceivers(t *testing.T) {
	var log recent.Log
	log.Begin(eventstore.Place{})
	original := event(1, 1)
	original.Metadata = map[string]string{"k": "v"}
	log.Add(original)
	for range 2 {
		page, ok := log.Page(after(eventstore.Place{}, 1))
		require.True(t, ok)
		require.Equal(t, "v", page.Events[0].Metadata["k"])
		require.Zero(t, page.Events[0].Data[0])
		page.Events[0].Data[0], page.Events[0].Metadata["k"] = 1, "changed"
	}
}
