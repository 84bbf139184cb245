package adapter

import (
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// CheckPlace says whether a reader may go on after a place. found is the event
// that the store has at that position, zero where it has none, and head is the
// position of its last event; both must have been read at the same moment as what
// is to follow. store is the store's identity, for the error.
//
// The error is an [eventstore.CheckpointAheadError] where the place lies after the
// head, and an [eventstore.ForeignCheckpointError] where another event is there. A
// place that is not named is only held against the head.
func CheckPlace(want, found eventstore.Place, head eventstore.Position, store uuid.UUID) error {
	switch {
	case head.Before(want.Position):
		return &eventstore.CheckpointAheadError{Position: want.Position, Head: head}
	case want.Named() && found != want:
		return &eventstore.ForeignCheckpointError{Checkpoint: store, Store: store, Place: want, Found: found}
	}
	return nil
}
