package esdb_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// holdFirst makes the server hold the first write to a stream until release, and
// counts the writes.
func holdFirst(srv *esdbtest.Server, stream string, after esdbtest.Hook) (writes *atomic.Int64, held, release chan struct{}) {
	writes, held, release = new(atomic.Int64), make(chan struct{}), make(chan struct{})
	srv.SetHooks(esdbtest.Hooks{
		BeforeCommit: func(ctx context.Context, call esdbtest.Call) error {
			if call.Stream == stream && writes.Add(1) == 1 {
				close(held)
				return esdbtest.Stall(release)(ctx, call)
			}
			return nil
		},
		AfterCommit: after,
	})
	return writes, held, release
}

func TestAppendsThatWaitForOneStreamTravelTogetherEachWithItsOwnAnswer(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL(), nil)
	old := happened()
	old.ID = uuid.New()
	original, err := store.Append(t.Context(), "s", eventstore.NoStream(), old)
	require.NoError(t, err)

	writes, held, release := holdFirst(srv, "s", nil)
	const appends = 40
	results, errs := make([]eventstore.AppendResult, appends), make([]error, appends)
	var working sync.WaitGroup
	appending := func(i int) {
		expected, events := eventstore.Any(), []eventstore.Event{happened(), happened()}
		switch i {
		case 13: // it loses, and its neighbours do not
			expected = eventstore.Exactly(1)
		case 27: // it is there already
			events = []eventstore.Event{old}
		}
		results[i], errs[i] = store.Append(t.Context(), "s", expected, events...)
	}
	working.Go(func() { appending(0) })
	<-held
	for i := range appends - 1 {
		working.Go(func() { appending(i + 1) })
	}
	pause(t.Context(), 100*time.Millisecond) // they line up
	close(release)
	working.Wait()
	require.LessOrEqual(t, writes.Load(), int64(appends/4), "writes for %d appends", appends)

	stored := read(t, store, "s")
	require.Len(t, stored, 1+2*(appends-2))
	answered := map[uint64]bool{1: true}
	for i, result := range results {
		switch i {
		case 13:
			require.ErrorIs(t, errs[i], eventstore.ErrConflict)
			continue
		case 27:
			original.Duplicate = true
			require.Equal(t, original, result)
			continue
		}
		require.NoError(t, errs[i])
		require.Equal(t, result.Events[0].Version+1, result.Version)
		require.Equal(t, stored[result.Version-1].Position, result.Position)
		require.False(t, answered[result.Version], "version %d was given twice", result.Version)
		answered[result.Events[0].Version], answered[result.Version] = true, true
	}
	require.Len(t, answered, len(stored))
}

// The answer to appends that travelled together is lost after they were stored:
// each is unknown, is made again and finds itself.
func TestAppendsThatTravelledTogetherAreSettledEachOnItsOwn(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL(), nil)
	_, err := store.Append(t.Context(), "s", eventstore.NoStream(), happened())
	require.NoError(t, err)
	var answers atomic.Int64
	_, held, release := holdFirst(srv, "s", func(context.Context, esdbtest.Call) error {
		if answers.Add(1) == 2 {
			return status.Error(codes.Unavailable, "lost")
		}
		return nil
	})
	const appends = 20
	var working sync.WaitGroup
	var duplicates atomic.Int64
	appending := func() {
		result, err := store.Append(t.Context(), "s", eventstore.Any(), happened())
		if err != nil {
			t.Errorf("append: %v", err)
		}
		if result.Duplicate {
			duplicates.Add(1)
		}
	}
	working.Go(appending)
	<-held
	for range appends - 1 {
		working.Go(appending)
	}
	pause(t.Context(), 100*time.Millisecond) // they line up
	close(release)
	working.Wait()
	require.Greater(t, duplicates.Load(), int64(1), "the lost answer was of one append")
	require.Len(t, read(t, store, "s"), 1+appends)
}
