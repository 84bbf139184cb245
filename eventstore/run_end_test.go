package eventstore_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestWhatTheLastSaveOfACancelledRunMeets(t *testing.T) {
	for name, test := range map[string]struct{ met, want error }{
		"another owner is a clean stop, as the lease has passed on": {&eventstore.LeaseLostError{Name: "billing", Epoch: 1, Stored: 2}, nil},
		"an absent database is a clean stop, as events come again":  {unavailable(), nil},
		"what no waiting will cure is told":                         {errBroken, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 2)
				spy := newSpy()
				spy.save = func(eventstore.Checkpoint) error { return test.met }
				ctx, stop := context.WithCancel(t.Context())
				err := store.Run(ctx, eventstore.Subscription{
					Name: "billing", Checkpoints: spy,
					Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
						if e.Version == 2 {
							stop()
						}
						return nil
					},
				})
				require.NotEmpty(t, spy.saved)
				if test.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, test.want)
				}
			})
		})
	}
}

func TestAFailureThatCloseMeetsIsToldBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		spy := newSpy()
		spy.save = func(eventstore.Checkpoint) error {
			<-time.After(500 * time.Millisecond) // the handler has failed, and Run is about to end
			return nil
		}
		done := running(t.Context(), store, eventstore.Subscription{
			Name: "billing", Checkpoints: spy, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version == 2 {
					return errBroken
				}
				return nil
			},
		})
		<-time.After(100 * time.Millisecond)
		require.NoError(t, store.Close())
		err := <-done
		require.ErrorIs(t, err, eventstore.ErrClosed)
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, uint64(2), failure.Version)
	})
}

// With no retries in Subscribe each loss reaches Run itself.
func TestARunWhoseBackendIsLostAgainAndAgainHandlesEachEventOnceAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.subscribe = func(ctx context.Context, _ int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return func(yield func(eventstore.Message, error) bool) {
				first := true
				for m, err := range backend.Backend.Subscribe(ctx, req) {
					if !first {
						yield(eventstore.Message{}, unavailable())
						return
					}
					first = false
					if !yield(m, err) {
						return
					}
				}
			}
		}
		store := backend.open(t, &eventstore.Options{RetryFor: -1})
		fill(t, store, 100)
		start := time.Now()
		versions := runUntil(t, store, eventstore.Subscription{Name: "billing"}, 100)
		for i, version := range versions {
			require.Equal(t, uint64(i+1), version)
		}
		require.Less(t, time.Since(start), 10*time.Second, "a message ends the growth of the pauses")
	})
}

func TestCloseWaitsForAllDurableSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		const subscriptions = 3
		var done []<-chan error
		var spies []*spyCheckpoints
		for i := range subscriptions {
			spy := newSpy()
			spy.save = func(eventstore.Checkpoint) error {
				<-time.After(time.Duration(i+1) * 100 * time.Millisecond)
				return nil
			}
			spies = append(spies, spy)
			done = append(done, running(t.Context(), store, eventstore.Subscription{
				Name: string(rune('a' + i)), Checkpoints: spy, CheckpointInterval: time.Hour,
				Handler: func(context.Context, eventstore.RecordedEvent) error { return nil },
			}))
		}
		<-time.After(time.Second)
		start := time.Now()
		require.NoError(t, store.Close())
		require.Equal(t, subscriptions*100*time.Millisecond, time.Since(start), "the slowest save")
		for i, ended := range done {
			require.ErrorIs(t, <-ended, eventstore.ErrClosed)
			loaded, err := spies[i].Load(t.Context(), eventstore.LoadCheckpointRequest{Name: string(rune('a' + i))})
			require.NoError(t, err)
			require.True(t, loaded.Found)
		}
	})
}

func TestRunReturnsAfterTheBackendsSubscriptionHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		subscribed := false
		backend.subscribe = func(ctx context.Context, _ int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return func(yield func(eventstore.Message, error) bool) {
				subscribed = true
				backend.Backend.Subscribe(ctx, req)(yield)
				<-time.After(time.Second) // to close a connection takes time
				subscribed = false
			}
		}
		store := backend.open(t, nil)
		fill(t, store, 1)
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{Name: "billing", UntilCaughtUp: true, Handler: takesAMoment}))
		require.False(t, subscribed)
	})
}

func TestARunWhoseContextIsDoneAlreadyEndsCleanly(t *testing.T) {
	store := newScripted().open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: takesAMoment}))
}

func TestAFailureIsToldBesideALeaseThatCanBeRenewedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		spy := newSpy()
		refused := errors.New("permission denied")
		spy.save = func(eventstore.Checkpoint) error { // the handler has failed, and the rights were taken away
			<-time.After(3 * time.Second)
			return refused
		}
		spy.swap = func(req eventstore.SwapLeaseRequest) error {
			if req.New.Renewals > 0 {
				return refused
			}
			return nil
		}
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Checkpoints: spy, LeaseTTL: 3 * time.Second, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version == 2 {
					return errBroken
				}
				return nil
			},
		})
		require.ErrorIs(t, err, refused)
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, uint64(2), failure.Version)
	})
}

// impatient are checkpoints whose database gives up a call by a deadline of its own.
type impatient struct {
	eventstore.Checkpoints
	loads, swaps int
}

func (c *impatient) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if c.loads++; c.loads < 3 {
		return eventstore.LoadCheckpointResult{}, context.DeadlineExceeded
	}
	return c.Checkpoints.Load(ctx, req)
}

func (c *impatient) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if c.swaps++; c.swaps < 3 {
		return eventstore.SwapLeaseResult{}, context.DeadlineExceeded
	}
	return c.Checkpoints.SwapLease(ctx, req)
}

func TestADeadlineOfTheCheckpointsOwnEndsNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		keeper := &impatient{Checkpoints: newSpy().Checkpoints}
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{Name: "billing", Checkpoints: keeper, UntilCaughtUp: true, Handler: takesAMoment}))
		require.GreaterOrEqual(t, keeper.loads, 3)
		require.GreaterOrEqual(t, keeper.swaps, 3)
	})
}
