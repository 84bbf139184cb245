package eventstore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// places are the positions of what a spy's checkpoints were asked to save.
func (s *spyCheckpoints) places() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at []uint64
	for _, checkpoint := range s.saved {
		at = append(at, positionOf(checkpoint.Place))
	}
	return at
}

func takesAMoment(context.Context, eventstore.RecordedEvent) error {
	<-time.After(time.Millisecond)
	return nil
}

func TestACheckpointIsSavedAfterSoManyEventsAndNoSooner(t *testing.T) {
	for name, concurrency := range map[string]int{"one by one": 1, "side by side": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 8)
				spy := newSpy()
				ctx, stop := context.WithCancel(t.Context())
				done := running(ctx, store, eventstore.Subscription{
					Name: "billing", Checkpoints: spy, Concurrency: concurrency,
					CheckpointEvery: 3, CheckpointInterval: 24 * time.Hour, Handler: takesAMoment,
				})
				<-time.After(time.Hour)
				require.Equal(t, []uint64{3, 6}, spy.places(), "the signal after the eighth is no event")
				fill(t, store, 1)
				<-time.After(time.Hour)
				require.Equal(t, []uint64{3, 6, 9}, spy.places())
				stop()
				require.NoError(t, <-done)
			})
		})
	}
}

func TestACheckpointIsSavedAfterEachBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 5)
		spy := newSpy()
		var batches []uint64
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "report", Checkpoints: spy, CheckpointInterval: 24 * time.Hour,
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				<-time.After(time.Millisecond)
				batches = append(batches, positionOf(b.Checkpoint.Place))
				return nil
			},
		})
		for n := range 3 {
			<-time.After(time.Hour)
			require.Greater(t, len(batches), n)
			require.Equal(t, batches, spy.places())
			fill(t, store, 5)
		}
		stop()
		require.NoError(t, <-done)
	})
}

func TestABatchOfOneEventIsSavedToo(t *testing.T) {
	for name, fails := range map[string]bool{"a batch of one": false, "the events of a batch that failed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				spy := newSpy()
				ctx, stop := context.WithCancel(t.Context())
				done := running(ctx, store, eventstore.Subscription{
					Name: "report", Checkpoints: spy, CheckpointInterval: 24 * time.Hour,
					HandleBatch: func(_ context.Context, b eventstore.Batch) error {
						<-time.After(time.Millisecond)
						if fails && len(b.Events) > 1 {
							return errBroken
						}
						return nil
					},
				})
				<-time.After(time.Hour)
				require.Equal(t, []uint64{1}, spy.places())
				want := []uint64{1, 2}
				if fails {
					fill(t, store, 4)
					want = []uint64{1, 2, 3, 4, 5}
				} else {
					fill(t, store, 1)
				}
				<-time.After(time.Hour)
				require.Equal(t, want, spy.places())
				stop()
				require.NoError(t, <-done)
			})
		})
	}
}

func TestWhatABatchesFilterPassesOverIsSavedAtTheIntervalAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		spy := newSpy()
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "report", Checkpoints: spy, CheckpointInterval: time.Hour, Filter: eventstore.Filter{Categories: []string{"invoice"}},
			HandleBatch: func(context.Context, eventstore.Batch) error { return errBroken },
		})
		for range 3 {
			<-time.After(time.Minute)
			fill(t, store, 1)
		}
		<-time.After(time.Minute)
		require.Empty(t, spy.places())
		<-time.After(time.Hour)
		require.Equal(t, []uint64{3}, spy.places())
		stop()
		require.NoError(t, <-done)
	})
}

func TestAnIdleSubscriptionSavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		spy := newSpy()
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, Handler: takesAMoment})
		<-time.After(time.Hour)
		stop()
		require.NoError(t, <-done)
		require.Equal(t, []uint64{3}, spy.places())
	})
}

func TestWhatIsHandledDuringASaveIsSavedAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		spy := newSpy()
		spy.save = func(eventstore.Checkpoint) error {
			<-time.After(time.Second)
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "billing", Checkpoints: spy, CheckpointEvery: 1, CheckpointInterval: 10 * time.Second, Handler: takesAMoment,
		})
		<-time.After(time.Minute)
		require.Equal(t, []uint64{1, 3}, spy.places())
		stop()
		require.NoError(t, <-done)
	})
}

func TestACheckpointWhoseOutcomeIsUnknownIsSavedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		spy := newSpy()
		saves, swaps := 0, 0
		spy.save = func(eventstore.Checkpoint) error {
			if saves++; saves == 1 {
				return eventstore.ErrUnknownOutcome
			}
			return nil
		}
		spy.swap = func(eventstore.SwapLeaseRequest) error {
			if swaps++; swaps == 1 {
				return eventstore.ErrUnknownOutcome
			}
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{Name: "billing", Checkpoints: spy, Handler: takesAMoment})
		<-time.After(time.Minute)
		require.Equal(t, []uint64{3, 3}, spy.places())
		stop()
		require.NoError(t, <-done)
	})
}

func TestARunThatCannotSaveAtTheHeadDoesNotSayThatItDid(t *testing.T) {
	for name, test := range map[string]struct{ met, want error }{
		"its caller stops waiting":          {unavailable(), eventstore.ErrUnavailable},
		"what keeps checkpoints was closed": {eventstore.ErrClosed, eventstore.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				spy := newSpy()
				spy.save = func(eventstore.Checkpoint) error { return test.met }
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				err := store.Run(ctx, eventstore.Subscription{Name: "billing", Checkpoints: spy, UntilCaughtUp: true, Handler: takesAMoment})
				require.ErrorIs(t, err, test.want)
				require.LessOrEqual(t, time.Since(start), 10*time.Second)
			})
		})
	}
}

func TestASaveThatNoWaitingCuresEndsTheRunAlsoWhereTheNextOneWouldGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := newSpy()
		saves := 0
		spy.save = func(eventstore.Checkpoint) error {
			if saves++; saves == 1 {
				return errBroken
			}
			return nil
		}
		err := store.Run(t.Context(), eventstore.Subscription{Name: "billing", Checkpoints: spy, Handler: takesAMoment})
		require.ErrorIs(t, err, errBroken)
	})
}

// overtaken are checkpoints whose lease another process takes before the first load.
type overtaken struct {
	*spyCheckpoints
	done bool
}

func (o *overtaken) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if !o.done {
		o.done = true
		if err := o.Delete(ctx, eventstore.DeleteCheckpointRequest(req)); err != nil { // which raises the epoch
			return eventstore.LoadCheckpointResult{}, err
		}
	}
	return o.spyCheckpoints.Load(ctx, req)
}

func TestAnOwnerSavesUnderItsOwnEpochAndNotTheStoredOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		spy := &overtaken{spyCheckpoints: &spyCheckpoints{Checkpoints: memory.New().Records().Checkpoints}}
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{Name: "billing", Checkpoints: spy, UntilCaughtUp: true, Handler: takesAMoment}))
		var epochs []uint64
		for _, checkpoint := range spy.saved {
			epochs = append(epochs, checkpoint.Epoch)
		}
		require.Equal(t, []uint64{1, 3}, epochs, "the first is refused, and the next owner's is epoch 3")
	})
}
