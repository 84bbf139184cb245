package decider_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAnOldStateInTheCacheCostsNoAttempt(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10, Retry: decider.Retry{Attempts: 1}}, nil)
	transact(t, w.here, pay(1))
	for range 3 {
		transact(t, w.others, pay(1))
		res := transact(t, w.here, pay(1))
		require.Equal(t, 2, res.Attempts, "both decisions are told of")
	}
	transact(t, w.others, pay(1)) // the cache is old, and then somebody is faster too
	calls := 0
	_, err := w.here.Transact(t.Context(), stream, func(Account) ([]Event, error) {
		if calls++; calls == 2 {
			transact(t, w.others, pay(1))
		}
		return []Event{Paid{1}}, nil
	})
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Equal(t, 2, calls, "the one on a state that was read counts")
}

func TestADecisionOnAnOldStateIsNotAmongTheAttempts(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10, Retry: decider.Retry{Attempts: 2, Pause: 1}}, nil)
	transact(t, w.here, pay(1))
	transact(t, w.others, pay(1)) // the cache is old
	w.always(t)
	calls := 0
	_, err := w.here.Transact(t.Context(), stream, func(Account) ([]Event, error) {
		calls++
		return []Event{Paid{1}}, nil
	})
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Equal(t, 3, calls, "one on the old state, and two that count")
}

func TestALostRaceLeavesAStateThatWasRead(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10, Retry: decider.Retry{Attempts: 1}}, nil)
	_, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	w.before(t, pay(1))
	_, err = w.here.Transact(t.Context(), stream, pay(1))
	require.ErrorIs(t, err, eventstore.ErrConflict)
	w.spy.since()
	require.Equal(t, 1, transact(t, w.here, pay(1)).Attempts)
	reads, _ := w.spy.counted()
	require.Empty(t, reads)
}

func TestWhatCannotBeAppendedOnAnOldStateIsDecidedAgain(t *testing.T) {
	type unknown struct{ Paid }
	for name, impossible := range map[string][]Event{
		"too many events":                 make([]Event, 65),
		"an event that the codec refuses": {unknown{}},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range impossible {
				if impossible[i] == nil {
					impossible[i] = Paid{1}
				}
			}
			w := newWorld(t, decider.Options{CacheSize: 10}, nil)
			transact(t, w.here, pay(1))
			decide := func(a Account) ([]Event, error) {
				if a.Events == 1 {
					return impossible, nil
				}
				return []Event{Paid{1}}, nil
			}
			_, err := w.here.Transact(t.Context(), stream, decide)
			require.ErrorIs(t, err, eventstore.ErrInvalid, "on the newest state it is the answer")
			transact(t, w.others, pay(1))
			require.Equal(t, Account{3, 3}, transact(t, w.here, decide).State)
		})
	}
}

func TestAPauseAboveTheLongestIsCutToIt(t *testing.T) {
	require.Equal(t, time.Millisecond, decider.LongestPause(decider.Retry{Pause: time.Hour, MaxPause: time.Millisecond}, 1))
	require.Equal(t, time.Millisecond, decider.LongestPause(decider.Retry{Pause: time.Hour, MaxPause: time.Millisecond}, 3))
}
