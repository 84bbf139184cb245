package marten_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Each way that an append can go is judged alike: by a statement that calls Marten's
// function, by one for a whole group, which in a Rich store judges a lone append too, and
// by the Store's rules.
func TestEveryWayJudgesAlike(t *testing.T) {
	for name, test := range map[string]struct {
		opts     marten.Options
		creation marten.Creation
	}{
		"function":        {marten.Options{Append: marten.Quick}, marten.Creation{}},
		"function, uuid":  {marten.Options{Append: marten.Quick}, marten.Creation{UUIDKeys: true}},
		"group":           {marten.Options{Append: marten.Rich, Grace: 50 * time.Millisecond}, marten.Creation{}},
		"group, uuid":     {marten.Options{Append: marten.Rich, Grace: 50 * time.Millisecond}, marten.Creation{UUIDKeys: true}},
		"group, a tenant": {marten.Options{Append: marten.Rich, Grace: 50 * time.Millisecond, Tenant: "acme"}, marten.Creation{Conjoined: true}},
	} {
		t.Run(name, func(t *testing.T) {
			pool := newTables(t, test.creation)
			backend, err := marten.Open(t.Context(), pool, &test.opts)
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			defer store.Close()
			id := uuid.NewString()
			stream := "order-" + id
			try := func(stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error) {
				return store.Append(t.Context(), stream, expected, events...)
			}
			conflict := func(expected eventstore.ExpectedVersion, actual uint64) {
				t.Helper()
				_, err := try(stream, expected, event("happened", `{}`))
				var met *eventstore.ConflictError
				require.ErrorAs(t, err, &met)
				require.Equal(t, actual, met.Actual)
			}
			conflict(eventstore.StreamExists(), 0)
			conflict(eventstore.Exactly(2), 0)
			first := event("happened", `{"n": 1.50, "text": "a"}`)
			first.Metadata = map[string]string{"who": "me"}
			_, err = try(stream, eventstore.NoStream(), first, event("happened", `{}`))
			require.NoError(t, err)
			conflict(eventstore.NoStream(), 2)
			conflict(eventstore.Exactly(1), 2)
			conflict(eventstore.Exactly(3), 2)
			_, err = try(stream, eventstore.StreamExists(), event("happened", `{}`))
			require.NoError(t, err)
			at := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
			_, err = store.AppendStreams(t.Context(), eventstore.StreamAppend{Stream: stream, Expected: eventstore.Exactly(3), Events: []eventstore.Event{event("dated", `{}`)}, RecordedAt: &at})
			require.NoError(t, err)
			for _, expected := range []eventstore.ExpectedVersion{anyVersion, eventstore.NoStream(), eventstore.Exactly(4)} {
				again, err := try(stream, expected, first)
				require.NoError(t, err)
				require.True(t, again.Duplicate)
			}
			other := first
			other.Data = []byte(`{"n": 2, "text": "a"}`)
			_, err = try(stream, anyVersion, other)
			require.ErrorIs(t, err, eventstore.ErrEventIDReused)
			if test.creation.UUIDKeys {
				_, err = try("invoice-"+id, anyVersion, event("happened", `{}`))
				require.ErrorIs(t, err, eventstore.ErrInvalid)
			}
			require.NoError(t, backend.ArchiveStream(t.Context(), stream))
			_, err = try(stream, anyVersion, event("happened", `{}`))
			require.ErrorIs(t, err, eventstore.ErrSealed)
			all := readAll(t, store, eventstore.ReadAllOptions{})
			require.Len(t, all, 4)
			require.True(t, at.Equal(all[3].RecordedAt), all[3].RecordedAt)
			_, err = pool.Exec(t.Context(), `update mt_events set timestamp = now() where type = 'dated'`)
			require.NoError(t, err)
			if !test.creation.Conjoined {
				require.NoError(t, sound(t.Context(), pool))
			}
		})
	}
}

// An append is recognised as long as its last event is in the window, however many events
// it has: its first may be the one that others have pushed out.
func TestAnAppendIsRecognisedWhileItsLastEventIsInTheWindow(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		t.Run(string(mode), func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			store := openStore(t, pool, &marten.Options{Append: mode, Grace: map[marten.AppendMode]time.Duration{marten.Rich: 50 * time.Millisecond}[mode]})
			var events []eventstore.Event
			for range 40 {
				events = append(events, event("happened", `{}`))
			}
			first, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), events...)
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), callAppend, "order-1", 999)
			require.NoError(t, err)
			again, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), events...)
			require.NoError(t, err)
			require.True(t, again.Duplicate)
			require.Equal(t, first.Position, again.Position)
			both, err := store.AppendStreams(t.Context(), // judged another way
				eventstore.StreamAppend{Stream: "order-1", Expected: eventstore.NoStream(), Events: events},
				eventstore.StreamAppend{Stream: "order-2", Expected: eventstore.NoStream()})
			require.NoError(t, err)
			require.True(t, both[0].Duplicate)
			require.NoError(t, sound(t.Context(), pool))
		})
	}
}
