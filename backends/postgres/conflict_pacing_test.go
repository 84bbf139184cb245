package postgres

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// racers answers losers of one stream and notes when each was answered.
type racers struct {
	pacer    conflictPacer
	began    time.Time
	answered chan time.Duration
}

func newRacers() *racers {
	return &racers{began: time.Now(), answered: make(chan time.Duration, 100)}
}

func (r *racers) lose(ctx context.Context, expected eventstore.ExpectedVersion) {
	err := error(&eventstore.ConflictError{Stream: "hot-1", Expected: expected, Actual: 9})
	go func() {
		r.pacer.answered(ctx, context.Background(), nil, err)
		r.answered <- time.Since(r.began)
	}()
	synctest.Wait()
}

func (r *racers) win(ctx context.Context) {
	r.pacer.answered(ctx, context.Background(), []eventstore.StreamAppend{{Stream: "hot-1"}}, nil)
	synctest.Wait()
}

func TestWhoLosesAloneIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRacers()
		for range 3 {
			r.lose(t.Context(), eventstore.Exactly(1))
			require.Len(t, r.answered, 1)
			<-r.answered
			r.win(t.Context())
		}
		<-time.After(2 * coolAfter) // of the bubble's clock
		synctest.Wait()
		require.Empty(t, r.pacer.streams, "what has cooled is forgotten")
	})
}

func TestOfManyLosersOneIsAnsweredForEachAppendThatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRacers()
		for range 6 {
			r.lose(t.Context(), eventstore.Exactly(1))
		}
		for answered := 1; answered <= 6; answered++ {
			require.Len(t, r.answered, answered)
			r.win(t.Context())
		}
		require.Len(t, r.answered, 6)
	})
}

func TestAWinnerIsAnsweredWhenTheLoserWhoseTurnItIsHasCome(t *testing.T) {
	const comesAfter = winnerHeldFor / 2
	next := func(stream string, e eventstore.ExpectedVersion) []eventstore.StreamAppend {
		return []eventstore.StreamAppend{{Stream: stream, Expected: e}}
	}
	for name, test := range map[string]struct {
		losers int
		comes  []eventstore.StreamAppend
		held   time.Duration
	}{
		"the loser comes":                     {2, next("hot-1", eventstore.Exactly(9)), comesAfter},
		"the loser does not come":             {2, nil, winnerHeldFor},
		"an append to another stream comes":   {2, next("other-1", eventstore.Exactly(9)), winnerHeldFor},
		"an append that races for nothing":    {2, next("hot-1", eventstore.Any()), winnerHeldFor},
		"the only loser was answered already": {1, nil, 0},
		"nobody lost":                         {0, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRacers()
				for range test.losers {
					r.lose(t.Context(), eventstore.Exactly(1))
				}
				go func() {
					<-time.After(comesAfter)
					r.pacer.arrived(test.comes)
				}()
				r.win(t.Context())
				require.Equal(t, test.held, time.Since(r.began))
				<-time.After(time.Second)
			})
		})
	}
}

func TestALoserIsHeldForABoundedTimeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRacers()
		for range 4 {
			r.lose(t.Context(), eventstore.Exactly(1))
		}
		<-time.After(time.Second)
		synctest.Wait()
		require.Equal(t, time.Duration(0), <-r.answered)
		for range 3 {
			require.Equal(t, heldFor, <-r.answered)
		}
		require.Empty(t, r.pacer.streams)
	})
}

func TestALoserWhoseCallerLeavesOrWhoseHandleClosesIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRacers()
		r.lose(t.Context(), eventstore.Exactly(1))
		ctx, cancel := context.WithCancel(t.Context())
		r.lose(ctx, eventstore.Exactly(1))
		r.lose(t.Context(), eventstore.Exactly(1))
		require.Len(t, r.answered, 1)
		cancel()
		synctest.Wait()
		require.Len(t, r.answered, 2)
		r.win(t.Context())
		require.Len(t, r.answered, 3, "who left takes nobody's turn")
		closed, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.pacer.answered(t.Context(), closed, nil, &eventstore.ConflictError{Stream: "hot-1", Expected: eventstore.Exactly(1)})
		}()
		synctest.Wait()
		end()
		<-done
		require.Equal(t, winnerHeldFor, time.Since(r.began), "the winner alone was held")
	})
}

func TestOtherVerdictsAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRacers()
		for range 5 {
			r.lose(t.Context(), eventstore.NoStream())
		}
		r.pacer.answered(t.Context(), context.Background(), nil, errors.New("another error"))
		require.Len(t, r.answered, 5)
		require.Empty(t, r.pacer.streams)
	})
}

func TestAStreamIsForgottenAlsoWhereALoserLeavesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p conflictPacer
		require.Nil(t, p.lost("hot-1"))
		turn := p.lost("hot-1")
		<-time.After(3 * coolAfter)
		p.leave("hot-1", turn)
		<-time.After(2 * coolAfter)
		synctest.Wait()
		require.Empty(t, p.streams)
	})
}
