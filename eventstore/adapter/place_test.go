package adapter_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func TestAPlaceIsTheSameWhereAllOfItIs(t *testing.T) {
	store := uuid.New()
	at := eventstore.NewPosition
	want := eventstore.Place{Position: at(5, 2), Stream: "order-1", Version: 3, ID: uuid.New()}
	other := func(change func(*eventstore.Place)) eventstore.Place {
		place := want
		change(&place)
		return place
	}
	for _, test := range []struct {
		name        string
		want, found eventstore.Place
		head        eventstore.Position
		err         error
	}{
		{"at the head", want, want, at(5, 2), nil},
		{"before the head", want, want, at(9, 0), nil},
		{"after the head", want, eventstore.Place{}, at(5, 1), &eventstore.CheckpointAheadError{Position: want.Position, Head: at(5, 1)}},
		{"after the head, though an event was found", want, want, at(4, 9), &eventstore.CheckpointAheadError{Position: want.Position, Head: at(4, 9)}},
		{"in an empty store", want, eventstore.Place{}, eventstore.Position{}, &eventstore.CheckpointAheadError{Position: want.Position}},
		{"no event is there", want, eventstore.Place{}, at(9, 0), &eventstore.ForeignCheckpointError{}},
		{"an event of another ID", want, other(func(p *eventstore.Place) { p.ID = uuid.New() }), at(9, 0), &eventstore.ForeignCheckpointError{}},
		{"an event of another stream", want, other(func(p *eventstore.Place) { p.Stream = "order-2" }), at(9, 0), &eventstore.ForeignCheckpointError{}},
		{"an event of another version", want, other(func(p *eventstore.Place) { p.Version = 4 }), at(9, 0), &eventstore.ForeignCheckpointError{}},
		{"an event at another position", want, other(func(p *eventstore.Place) { p.Position = at(5, 3) }), at(9, 0), &eventstore.ForeignCheckpointError{}},
		{"a position that is not named", eventstore.Place{Position: at(5, 2)}, want, at(9, 0), nil},
		{"a position that is not named, where nothing is", eventstore.Place{Position: at(5, 2)}, eventstore.Place{}, at(5, 2), nil},
		{"a position that is not named, after the head", eventstore.Place{Position: at(5, 2)}, eventstore.Place{}, at(5, 1), &eventstore.CheckpointAheadError{Position: at(5, 2), Head: at(5, 1)}},
		{"the beginning", eventstore.Place{}, eventstore.Place{}, eventstore.Position{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := adapter.CheckPlace(test.want, test.found, test.head, store)
			if _, foreign := test.err.(*eventstore.ForeignCheckpointError); foreign { //nolint:errorlint // the table's own
				test.err = &eventstore.ForeignCheckpointError{Checkpoint: store, Store: store, Place: test.want, Found: test.found}
			}
			require.Equal(t, test.err, err)
		})
	}
}
