package eventstore_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestDecide(t *testing.T) {
	ids := make([]uuid.UUID, 6)
	for i := range ids {
		ids[i] = uuid.New()
	}
	event := func(i int, data string) eventstore.Event {
		return eventstore.Event{ID: ids[i], Type: "T", Data: []byte(data)}
	}
	// The stream holds the events 0, 1 and 2 at the versions 1, 2 and 3.
	stored := func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
		for i := range 3 {
			if ids[i] == id {
				return eventstore.RecordedEvent{
					Event: event(i, "d"), Version: uint64(i + 1), Position: eventstore.NewPosition(uint64(10+i), 0),
				}, true, nil
			}
		}
		return eventstore.RecordedEvent{}, false, nil
	}
	const wrong = 99
	for _, test := range []struct {
		name     string
		expected uint64
		events   []eventstore.Event
		write    bool
		result   eventstore.AppendResult
		err      error
	}{
		{name: "new events at the expected version are written", expected: 3, events: []eventstore.Event{event(3, "d"), event(4, "d")}, write: true},
		{name: "new events at another version conflict", expected: 2, events: []eventstore.Event{event(3, "d")}, err: eventstore.ErrConflict},
		{
			name: "one stored event is a duplicate", expected: wrong, events: []eventstore.Event{event(1, "d")},
			result: eventstore.AppendResult{FirstVersion: 2, Version: 2, Position: eventstore.NewPosition(11, 0), Duplicate: true},
		},
		{
			name: "all stored events are a duplicate", expected: wrong, events: []eventstore.Event{event(0, "d"), event(1, "d"), event(2, "d")},
			result: eventstore.AppendResult{FirstVersion: 1, Version: 3, Position: eventstore.NewPosition(12, 0), Duplicate: true},
		},
		{name: "other content is a reuse", expected: 3, events: []eventstore.Event{event(1, "x")}, err: eventstore.ErrEventIDReused},
		{name: "an overlap at the start is a reuse", expected: 3, events: []eventstore.Event{event(2, "d"), event(3, "d")}, err: eventstore.ErrEventIDReused},
		{name: "an overlap at the end is a reuse", expected: 3, events: []eventstore.Event{event(3, "d"), event(2, "d")}, err: eventstore.ErrEventIDReused},
		{name: "another order is a reuse", expected: 3, events: []eventstore.Event{event(1, "d"), event(0, "d")}, err: eventstore.ErrEventIDReused},
		{name: "a hole between stored events is a reuse", expected: 3, events: []eventstore.Event{event(0, "d"), event(2, "d")}, err: eventstore.ErrEventIDReused},
		{name: "a reuse comes before a conflict", expected: wrong, events: []eventstore.Event{event(2, "x")}, err: eventstore.ErrEventIDReused},
	} {
		t.Run(test.name, func(t *testing.T) {
			part := eventstore.StreamAppend{Stream: "s", Expected: eventstore.Exactly(test.expected), Events: test.events}
			decision, err := eventstore.Decide(part, 3, stored)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, test.write, decision.Write)
			require.Equal(t, test.result, decision.Result)
		})
	}
}

func TestDecideReturnsTheLookupsOwnError(t *testing.T) {
	broken := errors.New("disk on fire")
	part := eventstore.StreamAppend{Stream: "s", Expected: eventstore.Any(), Events: []eventstore.Event{{ID: uuid.New()}}}
	_, err := eventstore.Decide(part, 0, func(uuid.UUID) (eventstore.RecordedEvent, bool, error) {
		return eventstore.RecordedEvent{}, false, broken
	})
	require.ErrorIs(t, err, broken)
}
