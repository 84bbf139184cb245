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

	"github.com/switchyard-dev/switchyard/backends/memory"
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
	require.NoError(t, store.Run(ctx, sub))
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

// A name is a place, not a filter.
func TestAnotherFilterUnderTheSameNameGoesOnFromTheSameCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		_, err := store.Append(t.Context(), "cart-1", eventstore.Any(), event("A"))
		require.NoError(t, err)
		fill(t, store, 2)
		_, err = store.Append(t.Context(), "cart-1", eventstore.Any(), event("A"))
		require.NoError(t, err)
		category := func(name string) eventstore.Subscription {
			return eventstore.Subscription{Name: "billing", Filter: eventstore.Filter{Categories: []string{name}}}
		}
		require.Equal(t, []uint64{1, 2}, runUntil(t, store, category("order"), 2))
		require.Equal(t, []uint64{2}, runUntil(t, store, category("cart"), 1), "the first one is before the checkpoint")
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
		require.Equal(t, last.Place(), checkpoint.Place)
		cancel()
		require.NoError(t, <-done)
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
		require.Equal(t, events[0].Place(), checkpoint.Place, "the checkpoint does not pass the failed event")
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

// spyCheckpoints are a memory backend's, with notes of what is saved.
type spyCheckpoints struct {
	eventstore.Checkpoints
	mu    sync.Mutex
	saved []eventstore.Checkpoint
	save  func(eventstore.Checkpoint) error // nil saves
	swap  func(eventstore.SwapLeaseRequest) error
}

func newSpy() *spyCheckpoints {
	return &spyCheckpoints{Checkpoints: memory.New().Records().Checkpoints}
}

func (s *spyCheckpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = append(s.saved, req.Checkpoint)
	if s.save != nil {
		if err := s.save(req.Checkpoint); err != nil {
			return err
		}
	}
	return s.Checkpoints.Save(ctx, req)
}

func (s *spyCheckpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if s.swap != nil {
		if err := s.swap(req); err != nil {
			return eventstore.SwapLeaseResult{}, err
		}
	}
	return s.Checkpoints.SwapLease(ctx, req)
}

func TestACheckpointOfAnotherStoreOrAheadOfTheHeadIsRefusedBeforeAnyEvent(t *testing.T) {
	store := newScripted().open(t, nil)
	events := fill(t, store, 2)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, events[1].Place(), info.Head)
	ahead := eventstore.Place{Position: eventstore.NewPosition(99, 0), Stream: "order-1", Version: 99, ID: uuid.New()}
	replaced := events[0].Place()
	replaced.ID = uuid.New()
	for name, test := range map[string]struct {
		checkpoint eventstore.Checkpoint
		want       error
	}{
		"another store's":        {eventstore.Checkpoint{Name: "billing", Store: uuid.New(), Place: info.Head}, eventstore.ErrForeignCheckpoint},
		"ahead of the head":      {eventstore.Checkpoint{Name: "billing", Store: info.ID, Place: ahead}, eventstore.ErrCheckpointAhead},
		"at an event of another": {eventstore.Checkpoint{Name: "billing", Store: info.ID, Place: replaced}, eventstore.ErrForeignCheckpoint},
	} {
		t.Run(name, func(t *testing.T) {
			spy := newSpy()
			require.NoError(t, spy.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: test.checkpoint}))
			err := store.Run(t.Context(), eventstore.Subscription{
				Name:        "billing",
				Checkpoints: spy,
				Handler: func(context.Context, eventstore.RecordedEvent) error {
					t.Error("no event may be handled")
					return nil
				},
			})
			require.ErrorIs(t, err, test.want)
			require.ErrorIs(t, store.SaveCheckpoint(t.Context(), test.checkpoint), test.want)
		})
	}
}

func TestARunWhoseCheckpointCannotBeSavedStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		err := store.Run(t.Context(), eventstore.Subscription{
			Name:        "billing",
			Checkpoints: &spyCheckpoints{Checkpoints: memory.New().Records().Checkpoints, save: func(eventstore.Checkpoint) error { return errBroken }},
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
		spy := newSpy()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := store.Run(ctx, eventstore.Subscription{
			Name:        "invoices",
			Filter:      eventstore.Filter{Categories: []string{"invoice"}},
			Checkpoints: spy,
			Handler:     func(context.Context, eventstore.RecordedEvent) error { return errBroken },
		})
		require.NoError(t, err)
		require.NotEmpty(t, spy.saved)
		require.Equal(t, last.Place(), spy.saved[0].Place)
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
		"filter categories[0]": {Name: "billing", Handler: handler, Filter: eventstore.Filter{Categories: []string{"a-b"}}},
		"without HandleBatch":  {Name: "billing", Handler: handler, BatchSaves: true, Checkpoints: newSpy()},
		// The checkpoint that nobody saved would be behind the one that Run knows, for ever.
		"without Checkpoints": {Name: "billing", HandleBatch: func(context.Context, eventstore.Batch) error { return nil }, BatchSaves: true},
	} {
		err := store.Run(t.Context(), sub)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
}
