package decider_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestWithACacheNothingIsReadInTheSteadyState(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 8}, nil)
	for round := range 20 {
		if round == 1 {
			w.spy.since()
		}
		for i := range 8 {
			cmd := decider.Command{Stream: fmt.Sprintf("account-%d", i)}
			if round%2 == 0 {
				cmd.ID = uuid.New()
			}
			do(t, w.here, cmd, pay(1))
		}
	}
	reads, appends := w.spy.counted()
	require.Empty(t, reads)
	require.Len(t, appends, 19*8)
}

func TestTheCacheKeepsWhatWasUsedLast(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 2}, nil)
	readsOf := func(name string) int {
		w.spy.since()
		do(t, w.here, decider.Command{Stream: name}, pay(1))
		reads, _ := w.spy.counted()
		return len(reads)
	}
	require.Equal(t, 1, readsOf("a"))
	require.Equal(t, 1, readsOf("b"))
	require.Zero(t, readsOf("a"))
	require.Equal(t, 1, readsOf("c"), "it takes the place of b")
	require.Zero(t, readsOf("a"))
	require.Equal(t, 1, readsOf("b"))
	require.Equal(t, 1, readsOf("c"))
}

func TestARefusalIsTrueNow(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.here, pay(1)) // in the cache
	transact(t, w.others, pay(9))
	res := transact(t, w.here, withdraw(10)) // the cached state refuses it
	require.Equal(t, Account{0, 3}, res.State)
	require.Equal(t, 2, res.Attempts)

	transact(t, w.others, pay(5))
	w.spy.since()
	res = transact(t, w.here, payUpTo(5)) // on the cached state something is missing
	require.Equal(t, Account{5, 4}, res.State)
	require.Empty(t, res.Events)

	transact(t, w.others, withdraw(5))
	_, err := w.here.Transact(t.Context(), stream, withdraw(1))
	require.Equal(t, errPoor, err)
	transact(t, w.others, pay(1))
	res = transact(t, w.here, payUpTo(1)) // nothing is missing, and that is true
	require.Equal(t, Account{1, 6}, res.State)
}

func TestAStateThatIsNotStoredIsNotRemembered(t *testing.T) {
	for _, failure := range []error{eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrSealed} {
		w := newWorld(t, decider.Options{CacheSize: 10}, nil)
		transact(t, w.here, pay(1))
		w.spy.nextAppend(func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) { return nil, failure })
		_, err := w.here.Transact(t.Context(), stream, pay(100))
		require.ErrorIs(t, err, failure)
		res := transact(t, w.here, payUpTo(2)) // which has nothing to do where 100 were paid
		require.Equal(t, Account{2, 2}, res.State)
		require.Len(t, res.Events, 1)
		require.Empty(t, w.log.String())
	}
}

func TestTheCacheDoesNotGoBack(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.others, pay(1))
	transact(t, w.here, func(Account) ([]Event, error) {
		transact(t, w.others, pay(1))
		load(t, w.here, stream)
		return nil, nil // on the state before
	})
	w.spy.since()
	require.Equal(t, Account{3, 3}, transact(t, w.here, pay(1)).State)
	reads, appends := w.spy.counted()
	require.Empty(t, reads)
	require.Len(t, appends, 1)
}

func TestAConflictOnACachedStateIsNotWaitedFor(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10, Retry: decider.Retry{Pause: 1 << 60, MaxPause: 1 << 60}}, nil)
	transact(t, w.here, pay(1))
	transact(t, w.others, pay(1))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a pause would outlast it
	defer cancel()
	res, err := w.here.Transact(ctx, stream, pay(1))
	require.NoError(t, err)
	require.Equal(t, Account{3, 3}, res.State)
	require.Equal(t, 2, res.Attempts)
}

func TestARefusalReadsWhatIsNewAndTheLastEventThatIsRemembered(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.others, pay(1, 1, 1))
	for range 2 {
		w.spy.since()
		_, err := w.here.Transact(t.Context(), stream, withdraw(10))
		require.Equal(t, errPoor, err)
	}
	reads, _ := w.spy.counted()
	require.Len(t, reads, 1)
	require.Equal(t, uint64(2), reads[0].After)
}

func TestWhatLoadReadsIsInTheCache(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.others, pay(1))
	_, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	w.spy.since()
	transact(t, w.here, pay(1))
	reads, _ := w.spy.counted()
	require.Empty(t, reads)
	transact(t, w.others, pay(1))
	state, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, Account{3, 3}, state, "as it is now")
}

func TestAnAppendOfSeveralEventsIsRememberedByItsLast(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.here, pay(1, 2, 3))
	require.Equal(t, Account{6, 3}, load(t, w.here, stream))
	require.Empty(t, w.log.String(), "no event is missed")
}
