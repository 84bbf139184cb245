package adapter_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// shelf is a store of one stream, "s", with the events 0, 1 and 2 at the versions
// 1, 2 and 3.
func shelf(ids []uuid.UUID, sealed *eventstore.SealedError) adapter.Streams {
	return adapter.Streams{
		Version: func(stream string) (uint64, error) {
			if stream == "s" {
				return 3, nil
			}
			return 0, nil
		},
		Find: func(stream string, event eventstore.Event) (adapter.Met, error) {
			for i := range 3 {
				if stream == "s" && ids[i] == event.ID {
					return adapter.Met{Found: true, Recorded: recorded(i + 1), Same: string(event.Data) == "d"}, nil
				}
			}
			return adapter.Met{}, nil
		},
		Sealed: sealed,
	}
}

func recorded(version int) eventstore.Recorded {
	return eventstore.Recorded{Version: uint64(version), Position: eventstore.NewPosition(uint64(9+version), 0)}
}

func newIDs() []uuid.UUID {
	ids := make([]uuid.UUID, 6)
	for i := range ids {
		ids[i] = uuid.New()
	}
	return ids
}

func TestJudgeOfOnePart(t *testing.T) {
	ids := newIDs()
	event := func(i int, data string) eventstore.Event {
		return eventstore.Event{ID: ids[i], Type: "T", Data: []byte(data)}
	}
	seal := &eventstore.SealedError{Reason: "moved"}
	const wrong = 99
	for _, test := range []struct {
		name     string
		expected uint64
		events   []eventstore.Event
		sealed   *eventstore.SealedError
		first    uint64
		recorded []eventstore.Recorded
		err      error
	}{
		{name: "new events at the expected version are written", expected: 3, events: []eventstore.Event{event(3, "d"), event(4, "d")}, first: 4},
		{name: "new events at another version conflict", expected: 2, events: []eventstore.Event{event(3, "d")}, err: eventstore.ErrConflict},
		{name: "one stored event is a repetition", expected: wrong, events: []eventstore.Event{event(1, "d")}, recorded: []eventstore.Recorded{recorded(2)}},
		{
			name: "all stored events are a repetition", expected: wrong, events: []eventstore.Event{event(0, "d"), event(1, "d"), event(2, "d")},
			recorded: []eventstore.Recorded{recorded(1), recorded(2), recorded(3)},
		},
		{name: "other content is a reuse", expected: 3, events: []eventstore.Event{event(1, "x")}, err: eventstore.ErrEventIDReused},
		{name: "an overlap at the start is a reuse", expected: 3, events: []eventstore.Event{event(2, "d"), event(3, "d")}, err: eventstore.ErrEventIDReused},
		{name: "an overlap at the end is a reuse", expected: 3, events: []eventstore.Event{event(3, "d"), event(2, "d")}, err: eventstore.ErrEventIDReused},
		{name: "another order is a reuse", expected: 3, events: []eventstore.Event{event(1, "d"), event(0, "d")}, err: eventstore.ErrEventIDReused},
		{name: "a hole between stored events is a reuse", expected: 3, events: []eventstore.Event{event(0, "d"), event(2, "d")}, err: eventstore.ErrEventIDReused},
		{name: "a reuse comes before a conflict", expected: wrong, events: []eventstore.Event{event(2, "x")}, err: eventstore.ErrEventIDReused},
		{name: "a sealed store writes nothing", expected: 3, events: []eventstore.Event{event(3, "d")}, sealed: seal, err: eventstore.ErrSealed},
		{name: "a seal comes before a conflict", expected: wrong, events: []eventstore.Event{event(3, "d")}, sealed: seal, err: eventstore.ErrSealed},
		{name: "a reuse comes before a seal", expected: 3, events: []eventstore.Event{event(2, "x")}, sealed: seal, err: eventstore.ErrEventIDReused},
		{name: "a repetition comes before a seal", expected: wrong, events: []eventstore.Event{event(2, "d")}, sealed: seal, recorded: []eventstore.Recorded{recorded(3)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			part := eventstore.StreamAppend{Stream: "s", Expected: eventstore.Exactly(test.expected), Events: test.events}
			decisions, err := adapter.Judge([]eventstore.StreamAppend{part}, shelf(ids, test.sealed))
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.recorded, decisions[0].Recorded)
			require.Equal(t, test.first > 0, decisions[0].Write)
			require.Equal(t, test.first, decisions[0].First)
		})
	}
}

func TestJudgeOfSeveralParts(t *testing.T) {
	ids := newIDs()
	event := func(i int) []eventstore.Event {
		return []eventstore.Event{{ID: ids[i], Type: "T", Data: []byte("d")}}
	}
	part := func(stream string, expected eventstore.ExpectedVersion, events []eventstore.Event) eventstore.StreamAppend {
		return eventstore.StreamAppend{Stream: stream, Expected: expected, Events: events}
	}
	seal := &eventstore.SealedError{Reason: "moved"}
	for _, test := range []struct {
		name   string
		parts  []eventstore.StreamAppend
		sealed *eventstore.SealedError
		firsts []uint64 // of the parts that are written; 0 for the others
		err    error
	}{
		{
			name:   "a later part sees what an earlier one writes",
			parts:  []eventstore.StreamAppend{part("s", eventstore.Exactly(3), event(3)), part("s", eventstore.Exactly(4), event(4))},
			firsts: []uint64{4, 5},
		},
		{
			name:  "one refused part refuses all",
			parts: []eventstore.StreamAppend{part("new", eventstore.NoStream(), event(3)), part("s", eventstore.NoStream(), event(4))},
			err:   eventstore.ErrConflict,
		},
		{
			name:   "a check that holds lets the others be written",
			parts:  []eventstore.StreamAppend{part("s", eventstore.Exactly(3), nil), part("new", eventstore.NoStream(), event(3))},
			firsts: []uint64{0, 1},
		},
		{
			name:  "a check that fails refuses all",
			parts: []eventstore.StreamAppend{part("new", eventstore.NoStream(), event(3)), part("s", eventstore.Exactly(2), nil)},
			err:   eventstore.ErrConflict,
		},
		{
			name:   "a check sees what an earlier part writes",
			parts:  []eventstore.StreamAppend{part("new", eventstore.NoStream(), event(3)), part("new", eventstore.Exactly(1), nil)},
			firsts: []uint64{1, 0},
		},
		{
			name:   "the checks of a repetition are not judged again",
			parts:  []eventstore.StreamAppend{part("s", eventstore.NoStream(), event(1)), part("s", eventstore.Exactly(0), nil)},
			firsts: []uint64{0, 0},
		},
		{
			name:   "a repeated part writes nothing while another is written",
			parts:  []eventstore.StreamAppend{part("s", eventstore.NoStream(), event(1)), part("new", eventstore.NoStream(), event(3))},
			firsts: []uint64{0, 1},
		},
		{
			name:   "an append that is a repetition in part is refused by a seal",
			parts:  []eventstore.StreamAppend{part("s", eventstore.NoStream(), event(1)), part("new", eventstore.NoStream(), event(3))},
			sealed: seal,
			err:    eventstore.ErrSealed,
		},
		{
			name:  "a reuse in a later part comes before a conflict in an earlier one",
			parts: []eventstore.StreamAppend{part("s", eventstore.NoStream(), event(3)), part("s", eventstore.Any(), append(event(1), event(4)...))},
			err:   eventstore.ErrEventIDReused,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			decisions, err := adapter.Judge(test.parts, shelf(ids, test.sealed))
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				return
			}
			require.NoError(t, err)
			for i, first := range test.firsts {
				require.Equal(t, first > 0, decisions[i].Write, "part %d", i)
				if decisions[i].Write {
					require.Equal(t, first, decisions[i].First, "part %d", i)
				}
			}
		})
	}
}

func TestJudgeReturnsTheStoresOwnErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	parts := []eventstore.StreamAppend{{Stream: "s", Expected: eventstore.Any(), Events: []eventstore.Event{{ID: uuid.New()}}}}
	streams := shelf(newIDs(), nil)
	streams.Find = func(string, eventstore.Event) (adapter.Met, error) { return adapter.Met{}, broken }
	_, err := adapter.Judge(parts, streams)
	require.ErrorIs(t, err, broken)
	streams = shelf(newIDs(), nil)
	streams.Version = func(string) (uint64, error) { return 0, broken }
	_, err = adapter.Judge(parts, streams)
	require.ErrorIs(t, err, broken)
}
