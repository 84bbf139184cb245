package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const parkStream = "parked-billing"

// parking is a subscription whose handler fails on some versions of order-1, and
// notes all the others.
type parking struct {
	fails   map[uint64]string // the error texts by version
	handled []uint64
}

func (p *parking) subscription() eventstore.Subscription {
	return eventstore.Subscription{
		Name: "billing", ParkStream: parkStream, UntilCaughtUp: true, Retry: eventstore.HandlerRetry{Attempts: 2},
		Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
			if text := p.fails[e.Version]; text != "" {
				return errors.New(text)
			}
			p.handled = append(p.handled, e.Version)
			return nil
		},
	}
}

// run returns what was handled.
func (p *parking) run(t *testing.T, store *eventstore.Store) []uint64 {
	t.Helper()
	p.handled = nil
	require.NoError(t, store.Run(t.Context(), p.subscription()))
	return p.handled
}

func parkedOf(t *testing.T, store *eventstore.Store) []eventstore.ParkedEvent {
	t.Helper()
	events, err := store.ParkedEvents(t.Context(), parkStream)
	require.NoError(t, err)
	return events
}

func onlyParked(t *testing.T, store *eventstore.Store) eventstore.ParkedEvent {
	t.Helper()
	events := parkedOf(t, store)
	require.Len(t, events, 1)
	return events[0]
}

func records(t *testing.T, store *eventstore.Store) (types []string) {
	t.Helper()
	for _, e := range collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{})) {
		types = append(types, e.Type)
	}
	return types
}

func TestARetriedEventIsHandledOnceByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 3)
		p := &parking{fails: map[uint64]string{2: "no such customer"}}
		require.Equal(t, []uint64{1, 3}, p.run(t, store))
		parked := onlyParked(t, store)
		require.Equal(t, eventstore.Parked{
			Subscription: "billing", Stream: "order-1", Version: 2, Position: events[1].Position, EventID: events[1].ID, Error: "no such customer",
		}, parked.Parked)
		require.Equal(t, eventstore.ParkedWaiting, parked.State)
		require.True(t, parked.State.Open())
		require.Empty(t, p.run(t, store), "nobody asked for a retry")

		require.NoError(t, store.RetryParked(t.Context(), parkStream, parked))
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parked), "the same again")
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)), "asked for already")
		require.Equal(t, []string{eventstore.ParkedType, eventstore.ParkedRetryType}, records(t, store))
		require.Equal(t, eventstore.ParkedRetryRequested, onlyParked(t, store).State)
		before, _, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)

		fill(t, store, 1)
		p.fails = nil
		require.Equal(t, []uint64{2, 4}, p.run(t, store), "what was parked comes first")
		require.Empty(t, p.run(t, store), "once")
		after := onlyParked(t, store)
		require.Equal(t, eventstore.ParkedHandled, after.State)
		require.False(t, after.State.Open())
		require.Equal(t, 1, after.Retries)
		require.ErrorIs(t, store.RetryParked(t.Context(), parkStream, after), eventstore.ErrInvalid)
		require.ErrorIs(t, store.DropParked(t.Context(), parkStream, after), eventstore.ErrInvalid)
		now, _, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.True(t, before.Place.Position.Before(now.Place.Position), "it never moves back")
	})
}

func TestARetryMovesNoCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		spy := newSpy()
		head, err := store.Info(t.Context())
		require.NoError(t, err)
		require.NoError(t, spy.Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{
			Checkpoint: eventstore.Checkpoint{Name: "billing", Store: head.ID, Place: head.Head},
		}))
		sub := p.subscription()
		sub.Checkpoints, p.fails = spy, nil
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
		for _, saved := range spy.saved {
			require.Equal(t, "billing", saved.Name, "a short park stream needs no checkpoint of its own")
			require.True(t, head.Head.Position.Before(saved.Place.Position), "what is saved is the place of the result, which was passed over")
		}
	})
}

func TestARetryThatFailsIsParkedAnewAndCanBeAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		p := &parking{fails: map[uint64]string{2: "first"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		p.fails[2] = "second"
		<-time.After(time.Hour)
		require.Empty(t, p.run(t, store))
		parked := onlyParked(t, store)
		require.Equal(t, eventstore.ParkedWaiting, parked.State)
		require.Equal(t, "second", parked.Error)
		require.Equal(t, time.Now().UTC().Truncate(time.Minute), parked.ParkedAt.UTC().Truncate(time.Minute))
		require.Empty(t, p.run(t, store), "a retry that failed is over")

		require.NoError(t, store.RetryParked(t.Context(), parkStream, parked))
		first := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{}))[1]
		late, err := eventstore.JSONEvent(eventstore.ParkedHandledType, eventstore.Parked{
			Subscription: "billing", Stream: parked.Stream, Version: parked.Version, EventID: parked.EventID, Answers: first.ID,
		})
		require.NoError(t, err)
		_, err = store.Append(t.Context(), parkStream, eventstore.Any(), late)
		require.NoError(t, err)
		require.Equal(t, eventstore.ParkedRetryRequested, onlyParked(t, store).State, "the first retry's result does not answer the second")
		p.fails = nil
		require.Equal(t, []uint64{2}, p.run(t, store))
		require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
		require.Equal(t, 2, onlyParked(t, store).Retries)
	})
}

func TestADroppedEventIsNotHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		p := &parking{fails: map[uint64]string{1: "x", 2: "x"}}
		p.run(t, store)
		parked := parkedOf(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parked[1]))
		stale := parked[1]
		parked = parkedOf(t, store)
		require.NoError(t, store.DropParked(t.Context(), parkStream, parked[0]))
		require.NoError(t, store.DropParked(t.Context(), parkStream, parked...), "one that is dropped by now, and one whose retry was asked for")
		require.NoError(t, store.DropParked(t.Context(), parkStream, parkedOf(t, store)...), "dropped already")
		require.NoError(t, store.RetryParked(t.Context(), parkStream, stale), "it is there already")
		p.fails = nil
		require.Empty(t, p.run(t, store))
		for _, event := range parkedOf(t, store) {
			require.Equal(t, eventstore.ParkedDropped, event.State)
			err := store.RetryParked(t.Context(), parkStream, event)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, event.EventID.String()+` is dropped for subscription "billing"`)
		}
	})
}

func TestOfTwoAnswersTheFirstCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		p := &parking{fails: map[uint64]string{1: "x", 2: "x"}}
		p.run(t, store)
		both := parkedOf(t, store) // as two people see them
		require.NoError(t, store.DropParked(t.Context(), parkStream, both[0]))
		require.NoError(t, store.RetryParked(t.Context(), parkStream, both...))
		require.NoError(t, store.DropParked(t.Context(), parkStream, both[1]))
		p.fails = nil
		require.Equal(t, []uint64{2}, p.run(t, store))
		after := parkedOf(t, store)
		require.Equal(t, eventstore.ParkedDropped, after[0].State)
		require.Equal(t, eventstore.ParkedHandled, after[1].State)
	})
}

func TestOthersRecordsAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		p := &parking{fails: map[uint64]string{2: "x"}}
		p.run(t, store)
		mail := p.subscription()
		mail.Name = "mail"
		require.NoError(t, store.Run(t.Context(), mail))
		for _, foreign := range []eventstore.Event{event("Diary"), event(eventstore.ParkedType), {Type: eventstore.ParkedRetryType, Data: []byte(`[]`)}, event(eventstore.ParkedHandledType)} {
			_, err := store.Append(t.Context(), parkStream, eventstore.Any(), foreign)
			require.NoError(t, err)
		}
		parked := parkedOf(t, store)
		require.Len(t, parked, 2)
		require.Equal(t, "billing", parked[0].Subscription)
		require.Equal(t, "mail", parked[1].Subscription)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parked[1]))
		p.fails = nil
		require.Empty(t, p.run(t, store), "the retry is another subscription's")
		parked = parkedOf(t, store)
		require.Equal(t, eventstore.ParkedWaiting, parked[0].State)
		require.Equal(t, eventstore.ParkedRetryRequested, parked[1].State)
		require.NoError(t, store.Run(t.Context(), mail))
		require.Equal(t, []uint64{2}, p.handled)
	})
}

func TestAnEventThatIsNotThereAnyMoreIsSaidToBeSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 1)
		for _, gone := range []eventstore.HandlerError{
			{Subscription: "billing", Stream: "archived-1", Version: 7, EventID: uuid.New(), Err: errBroken},
			{Subscription: "billing", Stream: "order-1", Version: events[0].Version, EventID: uuid.New(), Err: errBroken},
		} {
			link, err := gone.Link()
			require.NoError(t, err)
			_, err = store.Append(t.Context(), parkStream, eventstore.Any(), link)
			require.NoError(t, err)
		}
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parkedOf(t, store)...))
		p := &parking{}
		require.Equal(t, []uint64{1}, p.run(t, store))
		for _, parked := range parkedOf(t, store) {
			require.Equal(t, eventstore.ParkedWaiting, parked.State)
			require.Equal(t, "its stream does not hold it any more", parked.Error)
		}
	})
}

func TestAnEventThatFailsAgainAfterAResetIsParkedAnew(t *testing.T) {
	for name, closes := range map[string]func(t *testing.T, store *eventstore.Store, p *parking){
		"it was handled": func(t *testing.T, store *eventstore.Store, p *parking) {
			t.Helper()
			require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
			p.fails = nil
			require.Equal(t, []uint64{2}, p.run(t, store))
		},
		"it was dropped": func(t *testing.T, store *eventstore.Store, _ *parking) {
			t.Helper()
			require.NoError(t, store.DropParked(t.Context(), parkStream, onlyParked(t, store)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 3)
				p := &parking{fails: map[uint64]string{2: "x"}}
				p.run(t, store)
				closes(t, store, p)
				require.False(t, onlyParked(t, store).State.Open())
				require.NoError(t, store.DeleteCheckpoint(t.Context(), "billing"))
				p.fails = map[uint64]string{2: "once more"}
				require.Equal(t, []uint64{1, 3}, p.run(t, store))
				require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
				require.Equal(t, "once more", onlyParked(t, store).Error)
				require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
				p.fails = nil
				require.Equal(t, []uint64{2}, p.run(t, store))
				require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
			})
		})
	}
}

// A store that forgets IDs takes the same link twice.
func TestASecondLinkParksAClosedEventAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		p := &parking{fails: map[uint64]string{2: "x"}}
		p.run(t, store)
		link := func() {
			first := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{Limit: 1}))[0].Event
			first.ID = uuid.New()
			_, err := store.Append(t.Context(), parkStream, eventstore.Any(), first)
			require.NoError(t, err)
		}
		p.fails = nil
		for range 2 {
			require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
			link() // while it is open this changes nothing
			require.Equal(t, []uint64{2}, p.run(t, store))
			require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
			link()
			require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
		}
		require.NoError(t, store.DropParked(t.Context(), parkStream, onlyParked(t, store)))
		require.Equal(t, eventstore.ParkedDropped, onlyParked(t, store).State)
	})
}

func TestInASealedStoreRetriesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		p := &parking{fails: map[uint64]string{2: "x"}}
		p.run(t, store)
		fill(t, store, 1)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		_, err := store.Seal(t.Context(), "moved")
		require.NoError(t, err)
		p.fails = nil
		require.Equal(t, []uint64{3}, p.run(t, store), "what can be handled is")
		require.ErrorIs(t, store.DropParked(t.Context(), parkStream, onlyParked(t, store)), eventstore.ErrSealed)
		_, err = store.Unseal(t.Context())
		require.NoError(t, err)

		sub := p.subscription()
		sub.Handler = func(ctx context.Context, _ eventstore.RecordedEvent) error {
			_, err := store.Seal(ctx, "in the middle")
			return err
		}
		require.ErrorIs(t, store.Run(t.Context(), sub), eventstore.ErrSealed, "the result cannot be recorded")
		_, err = store.Unseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, []uint64{2}, p.run(t, store))
		require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
	})
}

func TestWhatWasHandledIsHandledAlsoWhereItWasDroppedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		sub := p.subscription()
		sub.Handler = func(context.Context, eventstore.RecordedEvent) error {
			return store.DropParked(t.Context(), parkStream, onlyParked(t, store))
		}
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, []string{eventstore.ParkedType, eventstore.ParkedRetryType, eventstore.ParkedDroppedType, eventstore.ParkedHandledType}, records(t, store))
		require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
	})
}

// A park stream that is long is read once: later Runs go on after a checkpoint.
func TestALongParkStreamIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		backend := newScripted()
		backend.Backend = log.Open(nil)
		tracer := &readCounter{}
		store := backend.open(t, &eventstore.Options{Tracer: tracer})
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		require.NoError(t, store.DropParked(t.Context(), parkStream, onlyParked(t, store)))
		stale := onlyParked(t, store)
		for i := range 300 {
			link, err := (&eventstore.HandlerError{Subscription: "billing", Stream: "order-1", Version: 1, EventID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)), Err: errBroken}).Link()
			require.NoError(t, err)
			_, err = store.Append(t.Context(), parkStream, eventstore.Any(), link)
			require.NoError(t, err)
		}
		p.fails = nil
		for i, want := range []int{302, 0, 0} {
			tracer.read = 0
			p.run(t, store)
			require.Equal(t, want, tracer.read, "run %d", i)
		}
		var names []string
		for checkpoint, err := range store.ListCheckpoints(t.Context()) {
			require.NoError(t, err)
			names = append(names, checkpoint.Name)
		}
		require.Equal(t, []string{"billing", eventstore.ParkedReadName("billing", parkStream)}, names)

		// A retry of what lies before that place is found, and one that came too late is not.
		late, err := eventstore.JSONEvent(eventstore.ParkedRetryType, eventstore.Parked{
			Subscription: "billing", Stream: stale.Stream, Version: stale.Version, EventID: stale.EventID, Answers: firstRecord(t, store),
		})
		require.NoError(t, err)
		_, err = store.Append(t.Context(), parkStream, eventstore.Any(), late)
		require.NoError(t, err)
		require.Empty(t, p.run(t, store), "it was dropped before")
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parkedOf(t, store)[7]))
		p.run(t, store)
		require.Equal(t, "its stream does not hold it any more", parkedOf(t, store)[7].Error)
	})
}

func firstRecord(t *testing.T, store *eventstore.Store) uuid.UUID {
	t.Helper()
	return collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{Limit: 1}))[0].ID
}

// readCounter counts the events that are read of the park stream.
type readCounter struct{ read int }

type readKey struct{}

func (r *readCounter) TraceStart(ctx context.Context, start eventstore.TraceStart) context.Context {
	return context.WithValue(ctx, readKey{}, start.Operation == eventstore.OperationRead && start.Stream == parkStream)
}

func (r *readCounter) TraceEnd(ctx context.Context, end eventstore.TraceEnd) {
	if ofParkStream, _ := ctx.Value(readKey{}).(bool); ofParkStream && end.Operation == eventstore.OperationRead {
		r.read += end.Events
	}
}
