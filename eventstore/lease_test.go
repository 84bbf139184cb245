package eventstore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// process is a store on a shared log, as another process would have.
func process(t *testing.T, log *memory.Log) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(log.Open(nil), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// running runs a subscription in the background.
func running(ctx context.Context, store *eventstore.Store, sub eventstore.Subscription) <-chan error {
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx, sub) }()
	return done
}

func TestOneProcessAtATimeHandlesANamesEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		first, second := process(t, log), process(t, log)
		fill(t, first, 3)
		var byFirst, bySecond atomic.Int64
		count := func(n *atomic.Int64) eventstore.Subscription {
			return eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
				n.Add(1)
				return nil
			}}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, first, count(&byFirst))
		synctest.Wait()
		ctx2, stop2 := context.WithCancel(t.Context())
		done2 := running(ctx2, second, count(&bySecond))
		<-time.After(time.Minute) // many leases long
		require.EqualValues(t, 3, byFirst.Load())
		require.Zero(t, bySecond.Load(), "the owner renews its lease")
		stop()
		require.NoError(t, <-done)
		fill(t, first, 2)
		<-time.After(2 * time.Second) // a clean end releases the lease: nobody waits for its end
		require.EqualValues(t, 2, bySecond.Load())
		stop2()
		require.NoError(t, <-done2)
	})
}

func TestAKilledOwnerIsFollowedWithinItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		store := process(t, log)
		fill(t, store, 3)
		killed, err := log.Open(nil).Records().Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{
			Name: "billing", New: eventstore.Lease{Name: "billing", Epoch: 1, Owner: "a process that was killed", TTL: 15 * time.Second},
		})
		require.NoError(t, err)
		require.True(t, killed.Swapped)
		start := time.Now()
		require.Equal(t, []uint64{1, 2, 3}, runUntil(t, store, eventstore.Subscription{Name: "billing"}, 3))
		require.GreaterOrEqual(t, time.Since(start), 15*time.Second, "nobody knows that it was killed before its lease is over")
		require.LessOrEqual(t, time.Since(start), 17*time.Second)
	})
}

func TestAPausedOwnerCannotSaveAndWaitsInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		first, second := process(t, log), process(t, log)
		events := fill(t, first, 2)
		// The first owner's checkpoints stop answering: its process is paused.
		spy := newSpy()
		spy.Checkpoints = log.Open(nil).Records().Checkpoints
		var paused atomic.Bool
		pause := func(context.Context) error {
			if paused.Load() {
				return unavailable()
			}
			return nil
		}
		spy.swap = func(eventstore.SwapLeaseRequest) error { return pause(t.Context()) }
		spy.save = func(eventstore.Checkpoint) error { return pause(t.Context()) }
		told := make(chan struct{})
		var again atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, first, eventstore.Subscription{
			Name: "billing", Checkpoints: spy,
			Handler: func(ctx context.Context, _ eventstore.RecordedEvent) error {
				if again.Add(1) > 1 {
					return nil
				}
				paused.Store(true)
				<-ctx.Done() // the lease's end is told to the handler
				close(told)
				return ctx.Err()
			},
		})
		synctest.Wait()
		ctx2, stop2 := context.WithCancel(t.Context())
		handled := make(chan eventstore.Position, 2)
		done2 := running(ctx2, second, eventstore.Subscription{Name: "billing", Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
			select {
			case <-told:
			default:
				t.Error("two owners at once")
			}
			handled <- e.Position
			return nil
		}})
		require.Equal(t, events[0].Position, <-handled)
		require.Equal(t, events[1].Position, <-handled)
		paused.Store(false)
		<-time.After(time.Minute)
		require.EqualValues(t, 1, again.Load(), "it waits for the lease again")
		err := spy.Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: "billing", Epoch: 1, Place: events[1].Place()}})
		require.ErrorIs(t, err, eventstore.ErrLeaseLost, "its epoch is fenced")
		stop2()
		require.NoError(t, <-done2)
		fill(t, second, 1)
		<-time.After(5 * time.Second)
		require.EqualValues(t, 2, again.Load(), "it takes over, after the other's checkpoint")
		stop()
		require.NoError(t, <-done)
	})
}

func TestARenewalWhoseAnswerIsLostDoesNotLoseTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := &lossySwaps{Checkpoints: memory.New().Records().Checkpoints}
		ctx, stop := context.WithCancel(t.Context())
		var ended atomic.Bool
		done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, Handler: func(ctx context.Context, _ eventstore.RecordedEvent) error {
			<-ctx.Done()
			ended.Store(true)
			return ctx.Err()
		}})
		<-time.After(5 * time.Minute)
		require.False(t, ended.Load())
		require.Positive(t, spy.lost.Load())
		stop()
		require.NoError(t, <-done)
	})
}

// lossySwaps stores every lease and loses every other answer.
type lossySwaps struct {
	eventstore.Checkpoints
	calls, lost atomic.Int64
}

func (l *lossySwaps) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	result, err := l.Checkpoints.SwapLease(ctx, req)
	if l.calls.Add(1)%2 == 1 {
		l.lost.Add(1)
		return eventstore.SwapLeaseResult{}, unavailable()
	}
	return result, err
}

func TestTheSameNameTwiceInOneStoreIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		sub := eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }}
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, sub)
		synctest.Wait()
		require.ErrorIs(t, store.Run(t.Context(), sub), eventstore.ErrAlreadyRunning)
		stop()
		require.NoError(t, <-done)
		sub.UntilCaughtUp = true
		require.NoError(t, store.Run(t.Context(), sub), "the name is free again")
	})
}

func TestACheckpointThatIsDeletedOrResetWhileItsSubscriptionRunsStays(t *testing.T) {
	for name, test := range map[string]struct {
		reset func(*eventstore.Store, []eventstore.RecordedEvent) error
		want  []uint64
	}{
		"deleted": {
			func(s *eventstore.Store, _ []eventstore.RecordedEvent) error {
				return s.DeleteCheckpoint(t.Context(), "billing")
			},
			[]uint64{1, 2, 3, 1, 2, 3},
		},
		"reset to the first event": {
			func(s *eventstore.Store, events []eventstore.RecordedEvent) error {
				return s.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing", Place: events[0].Place()})
			},
			[]uint64{1, 2, 3, 2, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				events := fill(t, store, 3)
				var versions []uint64
				ctx, stop := context.WithCancel(t.Context())
				done := running(ctx, store, eventstore.Subscription{Name: "billing", Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
					versions = append(versions, e.Version)
					return nil
				}})
				<-time.After(2 * time.Second)
				require.NoError(t, test.reset(store, events))
				<-time.After(time.Minute)
				stop()
				require.NoError(t, <-done)
				require.Equal(t, test.want, versions)
			})
		})
	}
}
