package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// fill appends n events to one stream.
func fill(t *testing.T, store *eventstore.Store, n int) []eventstore.RecordedEvent {
	t.Helper()
	for range n {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.NoError(t, err)
	}
	return collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{}))
}

// runUntil runs a subscription until the handler has seen n events.
func runUntil(t *testing.T, store *eventstore.Store, sub eventstore.Subscription, n int) []uint64 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var versions []uint64
	handler := sub.Handler
	sub.Handler = func(ctx context.Context, e eventstore.RecordedEvent) error {
		if handler != nil {
			if err := handler(ctx, e); err != nil {
				return err
			}
		}
		versions = append(versions, e.Version)
		if len(versions) == n {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, store.Run(ctx, sub), context.Canceled)
	return versions
}

func TestRunGoesOnWhereItsCheckpointLeftOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 5)
		sub := eventstore.Subscription{Name: "billing"}
		require.Equal(t, []uint64{1, 2}, runUntil(t, store, sub, 2))
		require.Equal(t, []uint64{3, 4, 5}, runUntil(t, store, sub, 3))
		require.Equal(t, []uint64{1}, runUntil(t, store, eventstore.Subscription{Name: "another"}, 1))
	})
}

func TestAnIdleSubscriptionIsCheckpointedWithinItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		last := fill(t, store, 3)[2]
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }})
		}()
		<-time.After(1100 * time.Millisecond) // of the bubble's clock: no time passes
		checkpoint, ok, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, last.Position, checkpoint.Position)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

func TestAFailingHandlerIsTriedAgainAndThenStopsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 3)
		attempts := 0
		err := store.Run(t.Context(), eventstore.Subscription{
			Name:  "billing",
			Retry: eventstore.HandlerRetry{Attempts: 3},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version != 2 {
					return nil
				}
				attempts++
				return errBroken
			},
		})
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, 3, attempts)
		require.Equal(t, events[1].ID, failure.EventID)
		require.ErrorContains(t, err, events[1].ID.String())
		checkpoint, _, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.Equal(t, events[0].Position, checkpoint.Position, "the checkpoint does not pass the failed event")
	})
}

func TestAPanicIsReportedWithTheEventsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		id := fill(t, store, 1)[0].ID
		err := store.Run(t.Context(), eventstore.Subscription{
			Name:    "billing",
			Handler: func(context.Context, eventstore.RecordedEvent) error { panic("nil map") },
		})
		var panicked *eventstore.PanicError
		require.ErrorAs(t, err, &panicked)
		require.Equal(t, "nil map", panicked.Value)
		require.Contains(t, string(panicked.Stack), "run_test.go")
		require.ErrorContains(t, err, id.String())
	})
}

func TestAParkedEventIsLinkedOnceAndTheRunGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 3)
		sub := eventstore.Subscription{
			Name:       "billing",
			ParkStream: "parked-billing",
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version == 2 {
					return errors.New("attempt at " + time.Now().String())
				}
				return nil
			},
		}
		require.Equal(t, []uint64{1, 3}, runUntil(t, store, sub, 2))
		require.NoError(t, store.DeleteCheckpoint(t.Context(), "billing"))
		<-time.After(time.Second) // another error text
		require.Equal(t, []uint64{1, 3}, runUntil(t, store, sub, 2))

		links := collect(t, store.ReadStream(t.Context(), "parked-billing", eventstore.ReadOptions{}))
		require.Len(t, links, 1, "parking twice stores one link")
		require.Equal(t, eventstore.ParkedType, links[0].Type)
		var parked eventstore.Parked
		require.NoError(t, json.Unmarshal(links[0].Data, &parked))
		require.Equal(t, events[1].ID, parked.EventID)
		require.Equal(t, events[1].Position, parked.Position)
		require.Equal(t, uint64(2), parked.Version)
	})
}

// spyCheckpoints notes what is saved.
type spyCheckpoints struct {
	mu    sync.Mutex
	saved []eventstore.Checkpoint
	err   error
}

func (s *spyCheckpoints) Load(context.Context, string) (eventstore.Checkpoint, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.saved) == 0 {
		return eventstore.Checkpoint{}, false, nil
	}
	return s.saved[len(s.saved)-1], true, nil
}

func (s *spyCheckpoints) Save(_ context.Context, c eventstore.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = append(s.saved, c)
	return s.err
}

func (s *spyCheckpoints) Delete(context.Context, string) error { return nil }

func TestACheckpointOfAnotherStoreOrAheadOfTheHeadIsRefusedBeforeAnyEvent(t *testing.T) {
	store := newScripted().open(t, nil)
	head := fill(t, store, 2)[1].Position
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, head, info.Head)
	for _, test := range []struct {
		checkpoint eventstore.Checkpoint
		want       error
	}{
		{eventstore.Checkpoint{Name: "billing", Store: uuid.New(), Position: head}, eventstore.ErrForeignCheckpoint},
		{eventstore.Checkpoint{Name: "billing", Store: info.ID, Position: eventstore.NewPosition(99, 0)}, eventstore.ErrCheckpointAhead},
	} {
		err := store.Run(t.Context(), eventstore.Subscription{
			Name:        "billing",
			Checkpoints: &spyCheckpoints{saved: []eventstore.Checkpoint{test.checkpoint}},
			Handler: func(context.Context, eventstore.RecordedEvent) error {
				t.Error("no event may be handled")
				return nil
			},
		})
		require.ErrorIs(t, err, test.want)
		require.ErrorIs(t, store.SaveCheckpoint(t.Context(), test.checkpoint), test.want)
	}
}

func TestARunWhoseCheckpointCannotBeSavedStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		err := store.Run(t.Context(), eventstore.Subscription{
			Name:        "billing",
			Checkpoints: &spyCheckpoints{err: errBroken},
			Handler:     func(context.Context, eventstore.RecordedEvent) error { return nil },
		})
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "save checkpoint")
	})
}

func TestAFilteredSubscriptionMakesProgressWhenNothingMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		last := fill(t, store, 3)[2]
		spy := &spyCheckpoints{}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := store.Run(ctx, eventstore.Subscription{
			Name:        "invoices",
			Filter:      eventstore.Filter{Category: "invoice"},
			Checkpoints: spy,
			Handler:     func(context.Context, eventstore.RecordedEvent) error { return errBroken },
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotEmpty(t, spy.saved)
		require.Equal(t, last.Position, spy.saved[0].Position)
	})
}

func TestASubscriptionsBadInputIsRefusedByField(t *testing.T) {
	store := newScripted().open(t, nil)
	handler := func(context.Context, eventstore.RecordedEvent) error { return nil }
	for field, sub := range map[string]eventstore.Subscription{
		"invalid name":         {Handler: handler},
		"invalid handler":      {Name: "billing"},
		"invalid subscription": {Name: "billing", Handler: handler, CheckpointEvery: -1},
		"invalid park stream":  {Name: "billing", Handler: handler, ParkStream: "$parked"},
		"filter category":      {Name: "billing", Handler: handler, Filter: eventstore.Filter{Category: "a-b"}},
	} {
		err := store.Run(t.Context(), sub)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
}
