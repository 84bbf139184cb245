package eventstore_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// forgetful is a store that has forgotten IDs, as one with a window of them does: it
// stores an event again under the same ID.
type forgetful struct {
	*scripted
	again sync.Map // the ID that the memory backend keeps one under, and its own
}

func newForgetful() *forgetful {
	f := &forgetful{scripted: newScripted()}
	f.append = func(ctx context.Context, _ int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		for _, part := range req.Parts {
			for i, e := range part.Events {
				id := uuid.New()
				f.again.Store(id, e.ID)
				part.Events[i].ID = id
			}
		}
		return f.Backend.Append(ctx, req)
	}
	return f
}

func (f *forgetful) own(id uuid.UUID) uuid.UUID {
	if own, found := f.again.Load(id); found {
		return own.(uuid.UUID) //nolint:forcetypeassert // nothing else is stored
	}
	return id
}

func (f *forgetful) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	page, err := f.scripted.ReadStream(ctx, req)
	for i, e := range page.Events {
		page.Events[i].ID = f.own(e.ID)
	}
	return page, err
}

func (f *forgetful) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	req.After = eventstore.Place{Position: req.After.Position} // the memory backend has another ID there
	return func(yield func(eventstore.Message, error) bool) {
		for m, err := range f.scripted.Subscribe(ctx, req) {
			m.Event.ID, m.Place.ID = f.own(m.Event.ID), f.own(m.Place.ID)
			if !yield(m, err) {
				return
			}
		}
	}
}

func (f *forgetful) Info(ctx context.Context) (eventstore.Info, error) {
	info, err := f.scripted.Info(ctx)
	info.Head.ID = f.own(info.Head.ID)
	return info, err
}

func openForgetful(t *testing.T) (*forgetful, *eventstore.Store) {
	t.Helper()
	backend := newForgetful()
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return backend, store
}

func TestTwoEventsOfOneIDInAStreamAreTwoParkedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store := openForgetful(t)
		same := event("A")
		same.ID = uuid.New()
		for range 2 {
			_, err := store.Append(t.Context(), "order-1", eventstore.Any(), same)
			require.NoError(t, err)
		}
		p := &parking{fails: map[uint64]string{1: "first", 2: "second"}}
		p.run(t, store)
		parked := parkedOf(t, store)
		require.Len(t, parked, 2)
		require.Equal(t, parked[0].EventID, parked[1].EventID)
		require.Equal(t, []string{"first", "second"}, []string{parked[0].Error, parked[1].Error})
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parked[1]))
		p.fails = nil
		require.Equal(t, []uint64{2}, p.run(t, store))
		require.Equal(t, eventstore.ParkedWaiting, parkedOf(t, store)[0].State)
	})
}

func TestEachParkedEventHasALinkOfItsOwn(t *testing.T) {
	failure := eventstore.HandlerError{Subscription: "billing", Stream: "order-1", Version: 2, EventID: uuid.New(), Err: errBroken}
	linkID := func(change func(*eventstore.HandlerError)) uuid.UUID {
		changed := failure
		change(&changed)
		link, err := changed.Link()
		require.NoError(t, err)
		return link.ID
	}
	same := linkID(func(e *eventstore.HandlerError) { e.Err, e.Attempts = errors.New("another"), 7 })
	for name, change := range map[string]func(*eventstore.HandlerError){
		"another subscription": func(e *eventstore.HandlerError) { e.Subscription = "mail" },
		"another stream":       func(e *eventstore.HandlerError) { e.Stream = "order-2" },
		"another version":      func(e *eventstore.HandlerError) { e.Version = 3 },
		"another event":        func(e *eventstore.HandlerError) { e.EventID = uuid.New() },
	} {
		require.NotEqual(t, same, linkID(change), name)
	}
	require.Equal(t, same, linkID(func(*eventstore.HandlerError) {}))
}

// Before links had the version in their IDs.
func TestALinkUnderAnOlderIDCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 2)
		old, err := eventstore.JSONEvent(eventstore.ParkedType, eventstore.Parked{
			Subscription: "billing", Stream: "order-1", Version: 2, Position: events[1].Position, EventID: events[1].ID, Error: "old",
		})
		require.NoError(t, err)
		old.ID = uuid.NewSHA1(events[1].ID, []byte("billing\x00order-1"))
		_, err = store.Append(t.Context(), parkStream, eventstore.Any(), old)
		require.NoError(t, err)
		p := &parking{fails: map[uint64]string{2: "x"}}
		p.run(t, store) // it is delivered again, and parked under the other ID
		require.Equal(t, "old", onlyParked(t, store).Error, "it was open")
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		p.fails = nil
		require.Equal(t, []uint64{2}, p.run(t, store))

		require.NoError(t, store.DeleteCheckpoint(t.Context(), "billing"))
		p.fails = map[uint64]string{2: "new"}
		p.run(t, store)
		require.Equal(t, "new", onlyParked(t, store).Error)
		require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
	})
}

// What answers a link that is stored again under its ID has IDs of its own: those of
// before are taken for stored, by a store that still knows them.
func TestALinkThatIsStoredAgainUnderItsIDCanBeAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, store := openForgetful(t)
		forgets := backend.append
		backend.append = nil
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		p.fails = nil
		require.Equal(t, []uint64{1}, p.run(t, store))
		link := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{Limit: 1}))[0].Event
		backend.append = forgets
		_, err := store.Append(t.Context(), parkStream, eventstore.Any(), link)
		require.NoError(t, err)
		backend.append = nil
		require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		require.Equal(t, []uint64{1}, p.run(t, store))
		require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
	})
}

func TestAnotherEventUnderTheLinksIDEndsTheSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 2)
		link, err := (&eventstore.HandlerError{Subscription: "billing", Stream: "order-1", Version: 2, EventID: events[1].ID, Err: errBroken}).Link()
		require.NoError(t, err)
		note := event("Note")
		note.ID = link.ID
		_, err = store.Append(t.Context(), parkStream, eventstore.Any(), note)
		require.NoError(t, err)
		p := &parking{fails: map[uint64]string{2: "x"}}
		err = store.Run(t.Context(), p.subscription())
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, uint64(2), failure.Version)
		require.ErrorContains(t, err, `park stream "parked-billing" has another event under the link's ID `+link.ID.String()+`, of type "Note" at version 1`)
		checkpoint, _, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.Equal(t, events[0].Position, checkpoint.Place.Position, "the event is neither handled nor parked")
	})
}
