package eventstore_test

import (
	"context"
	"iter"
	"slices"
	"sync"
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

// losing is a backend whose connections each bring one message, and are lost a time later;
// for the first few it does not answer at all. It notes when each connection was made.
func losing(t *testing.T, refusals int, after, retryFor time.Duration) (store *eventstore.Store, connected func() []time.Duration) {
	t.Helper()
	backend := newScripted()
	began := time.Now()
	var mu sync.Mutex
	var at []time.Duration
	backend.subscribe = func(ctx context.Context, _ int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(yield func(eventstore.Message, error) bool) {
			mu.Lock()
			at = append(at, time.Since(began))
			refused := len(at) <= refusals
			mu.Unlock()
			if !refused {
				for m, err := range backend.Backend.Subscribe(ctx, req) {
					if !yield(m, err) {
						return
					}
					break
				}
				<-time.After(after)
			}
			yield(eventstore.Message{}, unavailable())
		}
	}
	store = backend.open(t, &eventstore.Options{RetryFor: retryFor})
	fill(t, store, 20)
	return store, func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(at)
	}
}

func TestEachMessageRenewsTheTimeAndThePausesOfASubscriptionsRetries(t *testing.T) {
	const after = 3 * time.Second
	for name, refusals := range map[string]int{"from the start": 0, "after an outage": 8} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, connected := losing(t, refusals, after, 5*time.Second)
				delivered := 0
				for m, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
					require.NoError(t, err, "after %d events", delivered)
					if m.Kind == eventstore.MessageEvent {
						if delivered++; delivered == 20 {
							break
						}
					}
				}
				at := connected()
				require.Len(t, at, refusals+20)
				for i := refusals + 1; i < len(at); i++ {
					require.LessOrEqual(t, at[i]-at[i-1], after+2*firstPause, "connection %d: it brought a message before, so the pause is the first one", i)
				}
				if refusals > 1 {
					require.Greater(t, at[refusals]-at[refusals-1], 500*time.Millisecond, "without messages the pauses grow")
				}
			})
		})
	}
}

func TestEachMessageRenewsThePausesOfADurableSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after, refusals = 3 * time.Second, 15
		store, connected := losing(t, refusals, after, -1) // each loss is Run's own to wait out
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		handled := 0
		require.NoError(t, store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
			if handled++; handled == 20 {
				stop()
			}
			return nil
		}}))
		at := connected()
		require.Greater(t, at[refusals]-at[refusals-1], 500*time.Millisecond, "without messages the pauses grow")
		for i := refusals + 1; i < len(at); i++ {
			require.LessOrEqual(t, at[i]-at[i-1], after+2*firstPause, "connection %d", i)
		}
	})
}

// firstPause is that of a retry, which is spread by a quarter.
const firstPause = 10 * time.Millisecond

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
