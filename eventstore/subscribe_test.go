package eventstore_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestASubscriptionResumesAfterALostBackendWithoutGapOrRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		// Each connection is lost after two messages.
		backend.subscribe = func(ctx context.Context, _ int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return func(yield func(eventstore.Message, error) bool) {
				left := 2
				for m, err := range backend.Backend.Subscribe(ctx, req) {
					if left--; left < 0 {
						yield(eventstore.Message{}, unavailable())
						return
					}
					if !yield(m, err) {
						return
					}
				}
			}
		}
		store := backend.open(t, nil)
		for range 9 {
			_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
			require.NoError(t, err)
		}
		var versions []uint64
		for m, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			require.NoError(t, err)
			if m.Kind == eventstore.MessageCaughtUp {
				break
			}
			versions = append(versions, m.Event.Version)
		}
		require.Equal(t, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}, versions)
	})
}

func TestASubscriptionGivesUpOnABackendThatStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.subscribe = func(context.Context, int, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return func(yield func(eventstore.Message, error) bool) { yield(eventstore.Message{}, unavailable()) }
		}
		store := backend.open(t, &eventstore.Options{RetryFor: 5 * time.Second})
		for _, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
		}
		require.Greater(t, backend.calls.Load(), int64(5))
	})
}

func TestABackendThatEndsASubscriptionSilentlyIsAnError(t *testing.T) {
	backend := newScripted()
	backend.subscribe = func(context.Context, int, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(func(eventstore.Message, error) bool) {}
	}
	for _, err := range backend.open(t, nil).Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
		require.ErrorContains(t, err, "without a reason")
	}
}

func TestClosingTheStoreEndsSubscriptionsWithErrClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		time.AfterFunc(time.Second, func() { _ = store.Close() })
		var last error
		for _, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			last = err
		}
		require.ErrorIs(t, last, eventstore.ErrClosed)
	})
}

func TestCancellingASubscriptionEndsItWithTheContextsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errBroken) })
		var last error
		for _, err := range newScripted().open(t, nil).Subscribe(ctx, eventstore.SubscribeOptions{}) {
			last = err
		}
		require.ErrorIs(t, last, context.Canceled)
	})
}

func TestFollowDeliversWithinThePollIntervalWhenEveryHintIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		polling, err := eventstore.New(memorytest.Polling(log, 3*time.Second), nil)
		require.NoError(t, err)
		writer, err := eventstore.New(log.Open(nil), nil)
		require.NoError(t, err)
		var written time.Time
		for m, err := range polling.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			require.NoError(t, err)
			if m.Kind == eventstore.MessageEvent {
				require.LessOrEqual(t, time.Since(written), 3*time.Second)
				break
			}
			time.AfterFunc(time.Second, func() {
				written = time.Now()
				_, _ = writer.Append(context.Background(), "order-1", eventstore.Any(), event("A"))
			})
		}
		require.False(t, written.IsZero())
	})
}

func TestReadsTryAgainWhileTheBackendIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		store := backend.open(t, &eventstore.Options{PageSize: 2})
		for range 5 {
			_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
			require.NoError(t, err)
		}
		failures := 0
		backend.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			if failures++; failures%3 != 0 {
				return eventstore.Page{}, unavailable()
			}
			return backend.Backend.ReadAll(ctx, req)
		}
		for _, backward := range []bool{false, true} {
			all := collect(t, store.ReadAll(t.Context(), eventstore.ReadAllOptions{Backward: backward}))
			require.Len(t, all, 5)
		}
	})
}

func TestAnIteratorIsForOneUse(t *testing.T) {
	store := newScripted().open(t, nil)
	seq := store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})
	require.Empty(t, collect(t, seq))
	for _, err := range seq {
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, "one use")
	}
}

func TestIteratorsDoNothingUntilTheyAreUsed(t *testing.T) {
	backend := newScripted()
	store := backend.open(t, nil)
	store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})
	store.ReadAll(t.Context(), eventstore.ReadAllOptions{})
	store.Subscribe(t.Context(), eventstore.SubscribeOptions{})
	require.Zero(t, backend.calls.Load())
}
