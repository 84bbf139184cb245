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
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestDecisionsOnAHotStreamDoNotMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where nobody waits too long because the machine is slow
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
	})
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

// hold takes the turn on a stream until release is closed.
func hold(t *testing.T, d *decider.Decider[Account, Event], name string, release <-chan struct{}) {
	t.Helper()
	go func() {
		_, _ = d.Transact(t.Context(), name, func(Account) ([]Event, error) {
			<-release
			return nil, nil
		})
	}()
	synctest.Wait()
}

// overtaken has others pay before the next n appends, into the first stream of each.
func (w *world) overtaken(t *testing.T, n int) {
	t.Helper()
	var mu sync.Mutex
	w.spy.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		mu.Lock()
		n--
		overtakes := n >= 0
		mu.Unlock()
		if overtakes {
			w.give(t, req.Parts[0].Stream, 1)
		}
		return w.spy.Backend.Append(ctx, req)
	}
}

func TestADecisionOnSeveralStreamsThatWasOvertakenWaitsForItsTurns(t *testing.T) {
	for name, c := range map[string]struct {
		held  []string
		after time.Duration // the turns are free
		waits time.Duration
	}{
		"one is taken":                      {[]string{"account-b"}, time.Hour, 100 * time.Millisecond},
		"both are taken, and it waits once": {[]string{"account-a", "account-b"}, time.Hour, 100 * time.Millisecond},
		"they become free":                  {[]string{"account-a", "account-b"}, 30 * time.Millisecond, 30 * time.Millisecond},
		"none is taken":                     {nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, decider.Options{}, nil)
				release := make(chan struct{})
				for _, stream := range c.held {
					hold(t, w.here, stream, release)
				}
				timer := time.AfterFunc(c.after, func() { close(release) })
				w.overtaken(t, 1)
				began := time.Now()
				var at []time.Duration
				_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: decider.Retry{Pause: 1}}, func(tx *decider.Tx) error {
					at = append(at, time.Since(began))
					p, err := in(w.here, tx)
					if err == nil {
						p.b.Add(Paid{1})
					}
					return err
				})
				require.NoError(t, err)
				require.Equal(t, []time.Duration{0, c.waits}, at, "the first attempt waits for nobody")
				if timer.Stop() {
					close(release)
				}
				synctest.Wait()
				require.Zero(t, decider.Turns(w.here))
			})
		})
	}
}

func TestDecisionsThatLoadStreamsInAnyOrderDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, decider.Options{}, nil)
		release := make(chan struct{})
		hold(t, w.here, "account-a", release)
		hold(t, w.here, "account-b", release)
		w.overtaken(t, 2)
		began := time.Now()
		var workers sync.WaitGroup
		for _, order := range [][]string{{"account-a", "account-b"}, {"account-b", "account-a"}} {
			workers.Go(func() {
				_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: decider.Retry{Pause: 1}}, func(tx *decider.Tx) error {
					for _, name := range order {
						s, err := w.here.In(tx, name)
						if err != nil {
							return err
						}
						s.Add(Paid{1})
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // both wait for the first turn, in whatever order they load
		close(release)
		workers.Wait()
		require.Zero(t, time.Since(began))
		require.Zero(t, decider.Turns(w.here))
	})
}

func TestADecisionOnSeveralStreamsThatPanicsLeavesItsTurns(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.overtaken(t, 1)
	require.PanicsWithValue(t, "test", func() {
		_, _ = decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: quick}, func(tx *decider.Tx) error {
			p, err := in(w.here, tx)
			require.NoError(t, err)
			if decider.Turns(w.here) == 2 {
				panic("test")
			}
			p.a.Add(Paid{1})
			return nil
		})
	})
	require.Zero(t, decider.Turns(w.here))
}
