package sqlite_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A rare match lies beyond what one page looks at, in both directions.
func TestAFilteredReadGoesOnPastWhatOnePageLooksAt(t *testing.T) {
	const between = 9000 // more than two pages look at
	backend, err := sqlite.Open(t.Context(), file(t), nil)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	rare := func(n int) eventstore.StreamAppend {
		return eventstore.StreamAppend{Stream: fmt.Sprintf("rare-%d", n), Expected: eventstore.NoStream(), Events: []eventstore.Event{{Type: "Rare", Data: []byte("1")}}}
	}
	common := eventstore.StreamAppend{Stream: "common-1", Expected: eventstore.Any()}
	for range between {
		common.Events = append(common.Events, eventstore.Event{Type: "Common", Data: []byte("1")})
	}
	_, err = store.AppendStreams(t.Context(), rare(1), common, rare(2))
	require.NoError(t, err)
	_, err = store.Append(t.Context(), "common-1", eventstore.Any(), common.Events[0])
	require.NoError(t, err)

	for _, filter := range []eventstore.Filter{
		{Types: []string{"Rare"}}, {StreamPrefixes: []string{"rare"}}, {Categories: []string{"rare"}}, {Categories: []string{"rare"}, Types: []string{"Rare"}},
	} {
		for _, backward := range []bool{false, true} {
			var streams []string
			for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: filter, Backward: backward}) {
				require.NoError(t, err)
				streams = append(streams, event.Stream)
			}
			want := []string{"rare-1", "rare-2"}
			if backward {
				want = []string{"rare-2", "rare-1"}
			}
			require.Equal(t, want, streams, "%+v backward=%t", filter, backward)
		}
	}
}

func TestMoreReadsThanReadersTakeTurns(t *testing.T) {
	store := open(t, file(t), &sqlite.Options{Readers: 1})
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
	var readers sync.WaitGroup
	for range 16 {
		readers.Go(func() {
			for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
				if err != nil {
					t.Error(err)
				}
				// A read inside a read: none holds a reader while its loop works.
				if version, err := store.StreamVersion(t.Context(), event.Stream); err != nil || version != 1 {
					t.Errorf("version %d, %v", version, err)
				}
			}
		})
	}
	readers.Wait()
}

// An ID met again makes a group of appends start over, one by one.
func TestAGroupInWhichAnIDIsMetAgainGivesEachItsVerdict(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	first, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), numbered("s-1", 1))
	require.NoError(t, err)
	release := holdLock(t, path)
	type answer struct {
		n      int
		result eventstore.AppendResult
		err    error
	}
	const others = 20
	answers := make(chan answer)
	appendOne := func(n int, stream string, events ...eventstore.Event) {
		result, err := store.Append(t.Context(), stream, eventstore.Any(), events...)
		answers <- answer{n, result, err}
	}
	for n := range others {
		go appendOne(n, fmt.Sprintf("other-%d", n), event(n), event(n))
	}
	altered := numbered("s-1", 1)
	altered.Data = []byte("2")
	go appendOne(100, "s-1", numbered("s-1", 1)) // a repetition
	go appendOne(101, "s-1", altered)            // an ID with other content
	go appendOne(102, "s-1", numbered("s-1", 2)) // a new event
	twins := make(chan eventstore.AppendResult, 12)
	for range cap(twins) { // a new event that many have
		go appendOne(103, "twin-1", numbered("twin-1", 1))
	}
	release()
	for range others + 3 + cap(twins) {
		got := <-answers
		switch got.n {
		case 100:
			require.NoError(t, got.err)
			require.True(t, got.result.Duplicate)
			require.Equal(t, first.Position, got.result.Position)
		case 101:
			require.ErrorIs(t, got.err, eventstore.ErrEventIDReused)
		case 102:
			require.NoError(t, got.err)
			require.Equal(t, uint64(2), got.result.Version)
		case 103:
			require.NoError(t, got.err)
			twins <- got.result
		default:
			require.NoError(t, got.err)
			require.Equal(t, uint64(2), got.result.Version)
		}
	}
	one, written := <-twins, 0
	twins <- one
	for range cap(twins) {
		other := <-twins
		require.Equal(t, one.Position, other.Position)
		if !other.Duplicate {
			written++
		}
	}
	require.Equal(t, 1, written)
	all := collect(t, store)
	require.Len(t, all, 3+2*others)
	// The positions that appends were told are those that readers see.
	for _, event := range all {
		if event.Stream == "s-1" && event.Version == 1 {
			require.Equal(t, first.Position, event.Position)
		}
	}
}
