package decider_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/decider"
)

func TestDecisionsOnAHotStreamDoNotMeet(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 1}, nil)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 50 {
				res, err := w.here.Transact(t.Context(), stream, pay(1))
				if err != nil || res.Attempts != 1 {
					t.Errorf("%d attempts, %v", res.Attempts, err)
					return
				}
			}
		})
	}
	workers.Wait()
	state, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, Account{400, 400}, state)
	require.Zero(t, decider.Turns(w.here))
}

func TestADecisionWithinADecisionIsNoDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := accounts(t, newStore(t, memory.New(), nil), nil)
		began := time.Now()
		depth := 0
		var nested decision
		nested = func(Account) ([]Event, error) {
			if depth++; depth < 3 {
				_, err := d.Transact(t.Context(), stream, nested)
				return nil, err
			}
			return []Event{Paid{1}}, nil
		}
		transact(t, d, nested)
		require.Equal(t, 200*time.Millisecond, time.Since(began), "each waits for its turn, and then goes on without")
		require.Zero(t, decider.Turns(d))
	})
}

func TestAWaitForATurnLeavesMostOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := accounts(t, newStore(t, memory.New(), nil), nil)
		open := make(chan struct{})
		go func() {
			_, _ = d.Transact(context.WithoutCancel(t.Context()), stream, func(Account) ([]Event, error) {
				<-open // a slow decision
				return nil, nil
			})
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := d.Transact(ctx, stream, pay(1))
		require.NoError(t, err)
		require.Equal(t, 15*time.Millisecond, time.Since(began), "a quarter")
		close(open)
		synctest.Wait()
		require.Zero(t, decider.Turns(d))
	})
}

func TestAPauseHeedsItsContextAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, decider.Wait(ctx, decider.Retry{Pause: 1 << 60, MaxPause: 1 << 60}), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestTurnsAreGivenInTheirOrderAndByStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := accounts(t, newStore(t, memory.New(), nil), nil)
		open := make(chan struct{})
		var mu sync.Mutex
		var order []int64
		pays := func(cents int64, wait <-chan struct{}) {
			go func() {
				_, err := d.Transact(t.Context(), stream, func(Account) ([]Event, error) {
					mu.Lock()
					order = append(order, cents)
					mu.Unlock()
					if wait != nil {
						<-wait
					}
					return []Event{Paid{cents}}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		pays(1, open)
		pays(2, nil)
		pays(3, nil)
		res, err := d.Transact(t.Context(), "account-2", pay(1)) // nobody's turn there
		require.NoError(t, err)
		require.Equal(t, 1, res.Attempts)
		require.Equal(t, []int64{1}, order)
		close(open)
		synctest.Wait()
		require.Equal(t, []int64{1, 2, 3}, order)
		require.Zero(t, decider.Turns(d))
	})
}

func TestWhoGivesUpWaitingLosesNobodysTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := accounts(t, newStore(t, memory.New(), nil), nil)
		open := make(chan struct{})
		ended := make(chan error, 2)
		go func() {
			_, err := d.Transact(t.Context(), stream, func(Account) ([]Event, error) {
				<-open
				return nil, nil
			})
			ended <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := d.Transact(ctx, stream, pay(1))
			ended <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled, "a wait heeds its context")
		close(open)
		require.NoError(t, <-ended)
		require.Zero(t, decider.Turns(d))
	})
}
