package adapter

import (
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Met is what a store knows of an event ID in a stream.
type Met struct {
	// Found is true where the stream has an event of this ID, within the backend's
	// idempotency window.
	Found bool
	// Recorded says where it is.
	eventstore.Recorded
	// Same is true where the stored event has the same content as the one asked
	// about, as [eventstore.Event.SameContent] compares it. How that is known is
	// the backend's: it may compare bytes or keep a digest.
	Same bool
}

// Streams is what [Judge] asks of a store.
type Streams struct {
	// Version returns the version of a stream; 0 where it has no events.
	Version func(stream string) (uint64, error)
	// Find looks for an event's ID in a stream.
	Find func(stream string, event eventstore.Event) (Met, error)
	// Sealed is the store's seal; nil where it has none.
	Sealed *eventstore.SealedError
}

// Decision is the verdict on one part of an append.
type Decision struct {
	// Write is true where the events are to be written, the first one with the
	// version First.
	Write bool
	First uint64
	// Recorded says where the events are, where the part is a repetition.
	Recorded []eventstore.Recorded
}

// Judge judges the parts of an append, each against the store and what earlier
// parts of the same append write. It must run under whatever makes the check and
// the write atomic, and writes nothing itself. An error refuses the whole append.
//
// A part whose events are all stored, contiguous, in the same order and with the
// same content, is a repetition whatever its expectation. One that meets any of
// its IDs otherwise is an [eventstore.EventIDReusedError]. Where every part with
// events is a repetition that is the verdict, and nothing else is judged.
// Otherwise a sealed store refuses the append, and then the expectations of the
// parts that write, and of those without events, decide: an
// [eventstore.ConflictError], or a write.
func Judge(parts []eventstore.StreamAppend, store Streams) ([]Decision, error) {
	decisions := make([]Decision, len(parts))
	writes := false
	for i, part := range parts {
		recorded, err := repetition(part, store.Find)
		if err != nil {
			return nil, err
		}
		decisions[i] = Decision{Recorded: recorded, Write: recorded == nil && len(part.Events) > 0}
		writes = writes || decisions[i].Write
	}
	if !writes {
		return decisions, nil
	}
	if store.Sealed != nil {
		return nil, store.Sealed
	}
	var written map[string]uint64 // by earlier parts of this append; most have no other part
	if len(parts) > 1 {
		written = make(map[string]uint64, len(parts))
	}
	for i, part := range parts {
		if decisions[i].Recorded != nil {
			continue
		}
		current, ok := written[part.Stream]
		if !ok {
			var err error
			if current, err = store.Version(part.Stream); err != nil {
				return nil, err
			}
		}
		if !part.Expected.Allows(current) {
			return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: current}
		}
		decisions[i].First = current + 1
		if written != nil {
			written[part.Stream] = current + uint64(len(part.Events))
		}
	}
	return decisions, nil
}

// repetition returns where a part's events are stored; nil where none of them is.
func repetition(part eventstore.StreamAppend, find func(string, eventstore.Event) (Met, error)) ([]eventstore.Recorded, error) {
	var recorded []eventstore.Recorded
	for i, event := range part.Events {
		met, err := find(part.Stream, event)
		if err != nil {
			return nil, err
		}
		switch {
		case !met.Found && len(recorded) == 0:
			continue
		case !met.Found:
			return nil, reused(part, part.Events[0].ID, "it is stored, but a later event of this append is not")
		case len(recorded) != i:
			return nil, reused(part, event.ID, "it is stored, but an earlier event of this append is not")
		case !met.Same:
			return nil, reused(part, event.ID, "the stored event has other content")
		case i > 0 && met.Version != recorded[i-1].Version+1:
			return nil, reused(part, event.ID, "the stored events are in another order or not contiguous")
		}
		recorded = append(recorded, met.Recorded)
	}
	return recorded, nil
}

func reused(part eventstore.StreamAppend, id uuid.UUID, reason string) error {
	return &eventstore.EventIDReusedError{Stream: part.Stream, ID: id, Reason: reason}
}
