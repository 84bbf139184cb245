package eventstore_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// swaps are checkpoints whose answers to lease requests a test can replace.
type swaps struct {
	eventstore.Checkpoints
	mu    sync.Mutex
	calls int
	swap  func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error)
}

func newSwaps() *swaps { return &swaps{Checkpoints: memory.New().Records().Checkpoints} }

func (s *swaps) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	s.mu.Lock()
	s.calls++
	call := s.calls
	s.mu.Unlock()
	if s.swap != nil {
		return s.swap(ctx, call, req)
	}
	return s.Checkpoints.SwapLease(ctx, req)
}

// stored returns the lease that is stored: the swap fails, for no lease is like it.
func (s *swaps) stored(t *testing.T) eventstore.Lease {
	t.Helper()
	result, err := s.Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "billing", Old: eventstore.Lease{Owner: "nobody"}})
	require.NoError(t, err)
	require.False(t, result.Swapped)
	return result.Lease
}

// untilTold is a handler that works until its context ends, and notes when that was.
func untilTold(told chan<- time.Time) func(context.Context, eventstore.RecordedEvent) error {
	return func(ctx context.Context, _ eventstore.RecordedEvent) error {
		<-ctx.Done()
		select {
		case told <- time.Now():
		default: // only the first time is asked for
		}
		return ctx.Err()
	}
}

func TestAnOwnerIsWaitedForAsLongAsItsOwnLeaseSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := newSwaps()
		_, err := spy.Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{
			Name: "billing", New: eventstore.Lease{Name: "billing", Epoch: 1, Owner: "a process with other settings", TTL: time.Minute},
		})
		require.NoError(t, err)
		start := time.Now()
		runUntil(t, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, LeaseTTL: 5 * time.Second}, 1)
		require.GreaterOrEqual(t, time.Since(start), time.Minute, "that process counts on its own minute")
		require.LessOrEqual(t, time.Since(start), time.Minute+2*time.Second)
	})
}

func TestALeaseWhoseGrantWasNotHeardOfIsFoundAndNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := newSwaps()
		spy.swap = func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
			result, err := spy.Checkpoints.SwapLease(ctx, req)
			if call == 1 {
				return eventstore.SwapLeaseResult{}, unavailable()
			}
			return result, err
		}
		start := time.Now()
		runUntil(t, store, eventstore.Subscription{Name: "billing", Checkpoints: spy}, 1)
		require.Less(t, time.Since(start), time.Second)
	})
}

// Whoever waits may take the lease LeaseTTL after the owner last asked for it.
func TestAnOwnerIsToldBeforeItsLeaseCanBeTaken(t *testing.T) {
	const ttl = 15 * time.Second
	type swapFunc = func(context.Context, int, eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error)
	for name, test := range map[string]struct {
		swap  func(*swaps) swapFunc
		after time.Duration // when its last renewal was asked for
	}{
		"its renewals are not answered": {func(s *swaps) swapFunc {
			return func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				if call > 1 {
					<-ctx.Done()
					return eventstore.SwapLeaseResult{}, ctx.Err()
				}
				return s.Checkpoints.SwapLease(ctx, req)
			}
		}, 0},
		"its lease was granted late": {func(s *swaps) swapFunc {
			return func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				if call > 1 {
					return eventstore.SwapLeaseResult{}, unavailable()
				}
				result, err := s.Checkpoints.SwapLease(ctx, req)
				<-time.After(12 * time.Second)
				return result, err
			}
		}, 0},
		"its renewal was answered late": {func(s *swaps) swapFunc {
			return func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				if call > 2 {
					return eventstore.SwapLeaseResult{}, unavailable()
				}
				result, err := s.Checkpoints.SwapLease(ctx, req)
				if call == 2 {
					<-time.After(9 * time.Second)
				}
				return result, err
			}
		}, ttl / 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				spy := newSwaps()
				spy.swap = test.swap(spy)
				told := make(chan time.Time, 1)
				ctx, stop := context.WithCancel(t.Context())
				start := time.Now()
				done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, LeaseTTL: ttl, Handler: untilTold(told)})
				select {
				case at := <-told:
					require.LessOrEqual(t, at.Sub(start), test.after+ttl)
				case <-time.After(time.Hour):
					t.Error("the handler works on without a lease")
				}
				<-time.After(time.Minute)
				select {
				case err := <-done:
					t.Errorf("an owner that lost its lease waits for it, and returned %v", err)
				default:
					stop()
					require.NoError(t, <-done)
				}
				stop()
			})
		})
	}
}

// As in a process that was paused and wakes, where who would tell the owner has not had
// its turn yet.
func TestAnOwnerThatNobodyTellsBeginsNoEventAfterItsLease(t *testing.T) {
	const ttl = 15 * time.Second
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 60)
		spy := newSwaps()
		spy.swap = func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
			if call == 2 {
				<-time.After(10 * ttl) // it does not heed its context
			}
			return spy.Checkpoints.SwapLease(ctx, req)
		}
		start := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		var last time.Duration
		handler := func(context.Context, eventstore.RecordedEvent) error {
			if began := time.Since(start); began < 2*ttl {
				last = began
			}
			<-time.After(time.Second)
			return nil
		}
		done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, LeaseTTL: ttl, Handler: handler})
		<-time.After(20 * ttl)
		require.Less(t, last, ttl)
		require.GreaterOrEqual(t, last, ttl-2*time.Second, "and handles events until then")
		stop()
		require.NoError(t, <-done)
	})
}

func TestAnOwnerWhoseLeaseWasEndedByOthersIsToldAtItsNextRenewal(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *swaps){
		"its checkpoint was deleted": func(t *testing.T, s *swaps) {
			t.Helper()
			require.NoError(t, s.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "billing"}))
		},
		"its lease was released by hand": func(t *testing.T, s *swaps) {
			t.Helper()
			old := s.stored(t)
			free := old
			free.Owner = ""
			free.Renewals++
			result, err := s.Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "billing", Old: old, New: free})
			require.NoError(t, err)
			require.True(t, result.Swapped)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				spy := newSwaps()
				told := make(chan time.Time, 1)
				ctx, stop := context.WithCancel(t.Context())
				done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, LeaseTTL: 15 * time.Second, Handler: untilTold(told)})
				<-time.After(time.Second)
				end(t, spy)
				start := time.Now()
				select {
				case at := <-told:
					require.LessOrEqual(t, at.Sub(start), 5*time.Second)
				case <-time.After(time.Hour):
					t.Error("the handler works on without a lease")
				}
				stop()
				require.NoError(t, <-done)
			})
		})
	}
}

func TestALeaseOutlivesCheckpointsThatAreAwayForLessThanItsLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := newSwaps()
		start := time.Now()
		spy.swap = func(ctx context.Context, _ int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
			if since := time.Since(start); since > time.Second && since < 14*time.Second {
				return eventstore.SwapLeaseResult{}, unavailable()
			}
			return spy.Checkpoints.SwapLease(ctx, req)
		}
		told := make(chan time.Time, 1)
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, LeaseTTL: 15 * time.Second, Handler: untilTold(told)})
		<-time.After(time.Minute)
		require.Empty(t, told)
		stop()
		require.NoError(t, <-done)
	})
}

func TestALeaseIsReleasedAfterTheRenewalThatWasUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := newSwaps()
		spy.swap = func(ctx context.Context, call int, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
			result, err := spy.Checkpoints.SwapLease(context.WithoutCancel(ctx), req)
			if call == 2 {
				<-time.After(2 * time.Second) // it is stored, and answered later
			}
			return result, err
		}
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, LeaseTTL: 15 * time.Second, Handler: untilTold(make(chan time.Time, 1))})
		<-time.After(6 * time.Second)
		stop()
		require.NoError(t, <-done)
		lease := spy.stored(t)
		require.Empty(t, lease.Owner, "%+v", lease)
	})
}
