package eventstore_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestABatchesCheckpointIsWhatRunSavesAlsoBehindEventsThatAreNotSelected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.subscribe = func(ctx context.Context, _ int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return func(yield func(eventstore.Message, error) bool) {
				for m, err := range backend.Backend.Subscribe(ctx, req) {
					if !yield(m, err) {
						return
					}
					if m.Event.Version == 1 { // all others come while it is handled, and so are one batch
						<-time.After(time.Microsecond)
					}
				}
			}
		}
		store := backend.open(t, nil)
		fill(t, store, 20)
		for range 5 {
			_, err := store.Append(t.Context(), "cart-1", eventstore.Any(), event("A"))
			require.NoError(t, err)
		}
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		var last eventstore.Batch
		sub := eventstore.Subscription{
			Name: "report", UntilCaughtUp: true, Filter: eventstore.Filter{Categories: []string{"order"}},
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				<-time.After(time.Millisecond)
				last = b
				return nil
			},
		}
		require.NoError(t, store.Run(t.Context(), sub))
		require.Len(t, last.Events, 19)
		require.Equal(t, info.Head, last.Checkpoint.Place)
		checkpoint, _, err := store.LoadCheckpoint(t.Context(), "report")
		require.NoError(t, err)
		require.Equal(t, last.Checkpoint, checkpoint)

		last = eventstore.Batch{}
		require.NoError(t, store.Run(t.Context(), sub), "there is nothing more to handle")
		require.Empty(t, last)
	})
}

func TestABatchOfOneHandsOverItsPlaceAndIsTriedAsOftenAsAnyEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		first := fill(t, store, 1)[0]
		calls := 0
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "report", Retry: eventstore.HandlerRetry{Attempts: 3},
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				calls++
				require.Len(t, b.Events, 1)
				require.Equal(t, first.Place(), b.Checkpoint.Place)
				require.Equal(t, "report", b.Checkpoint.Name)
				return errBroken
			},
		})
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, 3, failure.Attempts)
		require.Equal(t, 3, calls)
	})
}

func TestThePausesBetweenAttemptsGrowToTheLongestAndNoFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		start := time.Now()
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Retry: eventstore.HandlerRetry{Attempts: 12, Pause: time.Second, MaxPause: 4 * time.Second},
			Handler: func(context.Context, eventstore.RecordedEvent) error { return errBroken },
		})
		require.ErrorIs(t, err, errBroken)
		pauses := 1 + 2 + 9*4 // seconds, give or take a quarter
		require.InDelta(t, pauses, time.Since(start).Seconds(), float64(pauses)/4)
	})
}

func TestAHandlersLostLeaseAndASealAreNotTheEventsFailure(t *testing.T) {
	for name, test := range map[string]struct {
		met, want error
		calls     int
	}{
		"a lost lease is taken anew": {fmt.Errorf("commit: %w", &eventstore.LeaseLostError{Name: "billing", Epoch: 1, Stored: 2}), nil, 2},
		"a seal ends the run":        {&eventstore.SealedError{Reason: "moved"}, eventstore.ErrSealed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				calls := 0
				err := store.Run(t.Context(), eventstore.Subscription{
					Name: "billing", UntilCaughtUp: true, ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 1},
					Handler: func(context.Context, eventstore.RecordedEvent) error {
						if calls++; calls == 1 {
							return test.met
						}
						return nil
					},
				})
				if test.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, test.want)
				}
				require.Equal(t, test.calls, calls)
				require.Empty(t, collect(t, store.ReadStream(t.Context(), "parked", eventstore.ReadOptions{})), "nothing is parked")
			})
		})
	}
}

func TestOnlyWhatIsUnavailableIsTheWorldsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		calls := 0
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", UntilCaughtUp: true, ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 3},
			Handler: func(context.Context, eventstore.RecordedEvent) error {
				calls++
				return fmt.Errorf("the payment: %w", eventstore.ErrUnknownOutcome)
			},
		}))
		require.Equal(t, 3, calls)
		require.Len(t, collect(t, store.ReadStream(t.Context(), "parked", eventstore.ReadOptions{})), 1)
	})
}

func TestARunThatIsCancelledWhileItParksEndsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		store := backend.open(t, nil)
		fill(t, store, 1)
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return nil, eventstore.ErrUnknownOutcome
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, store.Run(ctx, eventstore.Subscription{
			Name: "billing", ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(context.Context, eventstore.RecordedEvent) error { return errBroken },
		}))
	})
}

func TestNothingOfAStreamIsHandledAfterItsEventThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 20)
		var versions []uint64 // one stream, so one partition
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Concurrency: 4, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				<-time.After(time.Millisecond)
				versions = append(versions, e.Version)
				if e.Version == 5 {
					return errBroken
				}
				return nil
			},
		})
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, uint64(5), failure.Version)
		require.Equal(t, []uint64{1, 2, 3, 4, 5}, versions)
		checkpoint, _, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.Equal(t, uint64(4), checkpoint.Place.Version)
	})
}

func TestAFailureIsNotHiddenByThePartitionsThatItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		for i := range 32 {
			_, err := store.Append(t.Context(), fmt.Sprintf("order-%d", i), eventstore.Any(), event("A"))
			require.NoError(t, err)
		}
		var calls atomic.Int64
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Concurrency: 8, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(ctx context.Context, _ eventstore.RecordedEvent) error {
				if calls.Add(1) == 1 {
					<-time.After(time.Second) // the other partitions are at work
					return errBroken
				}
				<-ctx.Done()
				return ctx.Err()
			},
		})
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.ErrorIs(t, err, errBroken)
	})
}

func TestParkedLinksAreNotHandledAlsoSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		var mu sync.Mutex
		var handled []string
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "billing", Concurrency: 4, ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				mu.Lock()
				defer mu.Unlock()
				handled = append(handled, e.Type)
				return errBroken
			},
		})
		<-time.After(time.Minute)
		stop()
		require.NoError(t, <-done)
		require.Equal(t, []string{"A", "A", "A"}, handled)
	})
}
