package projection_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// answers are a target's to Load, by number from 0.
type answers struct {
	eventstore.Checkpoints
	load func(n int) (eventstore.LoadCheckpointResult, error)
	at   []time.Duration // when it was asked, from the first time on
	from time.Time
}

func (a *answers) Load(context.Context, eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if a.from.IsZero() {
		a.from = time.Now()
	}
	a.at = append(a.at, time.Since(a.from))
	return a.load(len(a.at) - 1)
}

func found(position uint64) eventstore.LoadCheckpointResult {
	return eventstore.LoadCheckpointResult{Checkpoint: at(uuid.UUID{1}, position, 0), Found: true}
}

func milliseconds(n ...int) (all []time.Duration) {
	for _, n := range n {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	return all
}

func TestWaitForAsksOneTwoFourUpToFiftyMillisecondsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &answers{load: func(n int) (eventstore.LoadCheckpointResult, error) {
			switch {
			case n < 3:
				return eventstore.LoadCheckpointResult{}, nil // there is no checkpoint yet
			case n < 5:
				return eventstore.LoadCheckpointResult{}, fmt.Errorf("%w: away", eventstore.ErrUnavailable)
			case n < 9:
				return found(6), nil
			}
			return found(7), nil
		}}
		require.NoError(t, projection.WaitFor(t.Context(), target, "m", eventstore.NewPosition(7, 0)))
		require.Equal(t, milliseconds(0, 1, 3, 7, 15, 31, 63, 113, 163, 213), target.at)
	})
}

func TestWaitForReturnsAtOnceWhereTheModelIsFarEnough(t *testing.T) {
	for name, position := range map[string]uint64{"at it": 7, "beyond it": 6, "before the first event": 0} {
		t.Run(name, func(t *testing.T) {
			target := &answers{load: func(int) (eventstore.LoadCheckpointResult, error) { return found(7), nil }}
			require.NoError(t, projection.WaitFor(t.Context(), target, "m", eventstore.NewPosition(position, 0)))
			require.Len(t, target.at, 1)
		})
	}
}

func TestWaitForSaysHowFarBehindTheModelIs(t *testing.T) {
	away := fmt.Errorf("%w: no route", eventstore.ErrUnavailable)
	for name, test := range map[string]struct {
		load error
		want string
	}{
		"it is behind":               {nil, `wait for read model "m": read model is behind: it is at 5, and 9 was awaited: context deadline exceeded`},
		"its target does not answer": {away, `its target did not answer: backend unavailable: no route`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				target := &answers{load: func(int) (eventstore.LoadCheckpointResult, error) { return found(5), test.load }}
				err := projection.WaitFor(ctx, target, "m", eventstore.NewPosition(9, 0))
				require.ErrorIs(t, err, projection.ErrBehind)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, test.want)
			})
		})
	}
}

func TestWaitForReturnsWhatNoWaitingCures(t *testing.T) {
	broken := errors.New("permission denied")
	target := &answers{load: func(int) (eventstore.LoadCheckpointResult, error) { return eventstore.LoadCheckpointResult{}, broken }}
	err := projection.WaitFor(t.Context(), target, "m", eventstore.NewPosition(9, 0))
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, projection.ErrBehind)
	require.Len(t, target.at, 1)
	require.ErrorContains(t, projection.WaitFor(t.Context(), nil, "m", eventstore.Position{}), "invalid target: it is nil; give the target of the read model")
}

// notifying is asked only at the beginning, and after it has said that it moved.
type notifying struct {
	answers
	moved chan struct{}
}

func (n *notifying) Moved(string) <-chan struct{} { return n.moved }

func TestWaitForIsWokenByAnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &notifying{moved: make(chan struct{})}
		target.load = func(n int) (eventstore.LoadCheckpointResult, error) { return found(uint64(n)), nil }
		go func() {
			timer := time.NewTimer(1500 * time.Microsecond)
			<-timer.C
			close(target.moved)
		}()
		require.NoError(t, projection.WaitFor(t.Context(), target, "m", eventstore.NewPosition(2, 0)))
		require.Equal(t, []time.Duration{0, time.Millisecond, 1500 * time.Microsecond}, target.at)
	})
}

func TestATargetTellsWhenItHasMoved(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		tells := func(moved <-chan struct{}) bool {
			select {
			case <-moved:
				return true
			default:
				return false
			}
		}
		moved, other := target.Moved("m"), target.Moved("other")
		require.NoError(t, target.Update(t.Context(), at(store, 1, 0), insertRow))
		require.True(t, tells(moved), "by an update")
		moved = target.Moved("m")
		require.False(t, tells(moved), "once each time")
		require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: at(store, 2, 0)}))
		require.True(t, tells(moved), "by a save, of what the filter passed over")
		require.False(t, tells(other))
	})
}

// Two thousand who wait for one name leave the owner its connections.
func TestManyWaitersDoNotHoldUpTheOwner(t *testing.T) {
	in(t, []string{inSQLite, inWAL, inPgx, inSQL}, func(t *testing.T, d *database) {
		d.balances(t, "balances")
		store, target := newStore(t), d.open(t)
		run(t, store, projection.New(target, "m", deposits(), count("balances")))
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range 2000 {
			waiting.Go(func() { _ = projection.WaitFor(ctx, target, "m", eventstore.NewPosition(1<<40, 0)) })
		}
		defer waiting.Wait()
		defer cancel()
		began := time.Now()
		for range 20 {
			limited, end := context.WithTimeout(t.Context(), soon)
			require.NoError(t, projection.WaitFor(limited, target, "m", deposit(t, store, 1, 1)))
			end()
		}
		t.Logf("20 events beside 2,000 waiters: %s", time.Since(began))
		stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "m"})
		require.NoError(t, err)
		require.EqualValues(t, 1, stored.Checkpoint.Epoch, "it kept its lease")
	})
}

func TestWaitersOfOneNameShareAConnection(t *testing.T) {
	db := newDatabase(t, inSQL).openDB(t)
	opened, err := sqldb.Open(t.Context(), db, sqldb.PostgreSQL)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 200 {
		waiting.Go(func() { _ = projection.WaitFor(ctx, opened, "m", eventstore.NewPosition(1, 0)) })
	}
	defer waiting.Wait()
	defer cancel()
	for range 100 {
		require.LessOrEqual(t, db.Stats().OpenConnections, 2)
		pauseFor(t.Context(), 5*time.Millisecond)
	}
}
