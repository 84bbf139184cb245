package eventstore_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// notes makes the park stream long enough for Run to remember how far it has read.
func notes(t *testing.T, store *eventstore.Store) {
	t.Helper()
	for range 300 {
		_, err := store.Append(t.Context(), parkStream, eventstore.Any(), event("Note"))
		require.NoError(t, err)
	}
}

// record appends a record of a parked event that answers the record of an ID.
func record(t *testing.T, store *eventstore.Store, eventType string, of eventstore.Parked, answers uuid.UUID) {
	t.Helper()
	of.Answers = answers
	record, err := eventstore.JSONEvent(eventType, of)
	require.NoError(t, err)
	_, err = store.Append(t.Context(), parkStream, eventstore.Any(), record)
	require.NoError(t, err)
}

// Run reads what follows the place that it remembers, and there alone the first record
// of an event may be one that does not count.
func TestARetryIsFoundWhateverRecordOfItsEventCameBefore(t *testing.T) {
	for name, late := range map[string]func(t *testing.T, store *eventstore.Store, old eventstore.ParkedEvent, request uuid.UUID){
		"a drop that came too late": func(t *testing.T, store *eventstore.Store, old eventstore.ParkedEvent, _ uuid.UUID) {
			t.Helper()
			require.NoError(t, store.DropParked(t.Context(), parkStream, old))
		},
		"a retry that came too late": func(t *testing.T, store *eventstore.Store, old eventstore.ParkedEvent, _ uuid.UUID) {
			t.Helper()
			record(t, store, eventstore.ParkedRetryType, old.Parked, firstRecord(t, store))
		},
		"the result of a paused owner": func(t *testing.T, store *eventstore.Store, old eventstore.ParkedEvent, request uuid.UUID) {
			t.Helper()
			record(t, store, eventstore.ParkedHandledType, old.Parked, request)
		},
		"a second link": func(t *testing.T, store *eventstore.Store, old eventstore.ParkedEvent, _ uuid.UUID) {
			t.Helper()
			require.NoError(t, store.DropParked(t.Context(), parkStream, onlyParked(t, store)))
			notes(t, store)
			(&parking{}).run(t, store)
			record(t, store, eventstore.ParkedType, old.Parked, uuid.Nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				p := &parking{fails: map[uint64]string{1: "x"}}
				p.run(t, store)
				old := onlyParked(t, store)
				require.NoError(t, store.RetryParked(t.Context(), parkStream, old))
				request := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{After: 1, Limit: 1}))[0].ID
				p.run(t, store) // it fails again
				notes(t, store)
				p.run(t, store)

				late(t, store, old, request)
				require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
				require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
				require.Equal(t, eventstore.ParkedRetryRequested, onlyParked(t, store).State)
				notes(t, store)
				p.fails = nil
				require.Equal(t, []uint64{1}, p.run(t, store))
				require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
			})
		})
	}
}

func TestAfterARetryAWholeReadIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracer := &readCounter{}
		store := newScripted().open(t, &eventstore.Options{Tracer: tracer})
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		notes(t, store)
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		p.fails = nil
		for i, want := range []int{1 + 302, 1, 1} { // what follows the place, and all; then the result
			tracer.read = 0
			p.run(t, store)
			require.Equal(t, want, tracer.read, "run %d", i)
		}
	})
}

func TestWhatWasReadWhileRetriesWaitedIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		notes(t, store)
		_, err := store.Seal(t.Context(), "moved")
		require.NoError(t, err)
		p.fails = nil
		require.Empty(t, p.run(t, store))
		_, err = store.Unseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, []uint64{1}, p.run(t, store))
	})
}

func TestHowFarAnotherStoresParkStreamWasReadIsNotTakenAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		spy := newSpy()
		sub := p.subscription()
		sub.Checkpoints = spy
		require.NoError(t, store.Run(t.Context(), sub))
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		notes(t, store)
		all := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{}))
		name := eventstore.ParkedReadName("billing", parkStream)
		require.NoError(t, spy.Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{
			Checkpoint: eventstore.Checkpoint{Name: name, Store: uuid.New(), Place: all[len(all)-1].Place()},
		}))
		p.fails = nil
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, []uint64{1}, p.handled, "a copy has the same place, and other answers")
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		stored, err := spy.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
		require.NoError(t, err)
		require.Equal(t, info.ID, stored.Checkpoint.Store)
		require.Equal(t, all[len(all)-1].Place(), stored.Checkpoint.Place)
	})
}

func TestTheResultOfARetryThatFailedMeanwhileDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 1)
		p := &parking{fails: map[uint64]string{1: "x"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		p.run(t, store)
		request := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{After: 1, Limit: 1}))[0]
		var data eventstore.Parked
		require.NoError(t, json.Unmarshal(request.Data, &data))
		record(t, store, eventstore.ParkedHandledType, data, request.ID)
		require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
	})
}

func TestRetriesAreHandledInTheOrderOfTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		p := &parking{fails: map[uint64]string{1: "x", 2: "x", 3: "x"}}
		p.run(t, store)
		parked := parkedOf(t, store)
		for _, i := range []int{2, 0, 1} {
			require.NoError(t, store.RetryParked(t.Context(), parkStream, parked[i]))
		}
		p.fails = nil
		require.Equal(t, []uint64{3, 1, 2}, p.run(t, store))
	})
}

func TestAnswersAreAppendedAsManyAtOnceAsTheBackendTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.caps = func(caps eventstore.Capabilities) eventstore.Capabilities {
			caps.Limits.MaxAppendEvents = 2
			return caps
		}
		store := backend.open(t, &eventstore.Options{BackendLimits: true})
		fill(t, store, 5)
		p := &parking{fails: map[uint64]string{1: "x", 2: "x", 3: "x", 4: "x", 5: "x"}}
		p.run(t, store)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, parkedOf(t, store)...))
		p.fails = nil
		require.Equal(t, []uint64{1, 2, 3, 4, 5}, p.run(t, store))
	})
}
