package eventstore

import "github.com/google/uuid"

// Decision is the verdict on one StreamAppend.
type Decision struct {
	// Write is true where the events are to be written at Current+1.
	Write bool
	// Result is the original's where the append is a duplicate.
	Result AppendResult
}

// Decide judges an append against its stream; it is the logic that adapters
// share. It must run under whatever makes the check and the write atomic.
//
// current is the stream's version. stored finds an event of the stream by its
// ID, within the backend's idempotency window.
//
// An append whose events are all stored, contiguous, in the same order and with
// the same content, is a duplicate whatever its expectation. One that meets any
// of its IDs otherwise gets an [EventIDReusedError]. Then the expectation
// decides: a [ConflictError], or a write.
func Decide(part StreamAppend, current uint64, stored func(id uuid.UUID) (RecordedEvent, bool, error)) (Decision, error) {
	var first, last RecordedEvent
	found := 0
	for i, event := range part.Events {
		original, ok, err := stored(event.ID)
		if err != nil {
			return Decision{}, err
		}
		if !ok {
			if found > 0 {
				return Decision{}, reused(part, first.ID, "it is stored, but a later event of this append is not")
			}
			continue
		}
		switch {
		case found != i:
			return Decision{}, reused(part, event.ID, "it is stored, but an earlier event of this append is not")
		case !event.SameContent(original.Event):
			return Decision{}, reused(part, event.ID, "the stored event has other content")
		case i > 0 && original.Version != last.Version+1:
			return Decision{}, reused(part, event.ID, "the stored events are in another order or not contiguous")
		}
		if i == 0 {
			first = original
		}
		last = original
		found++
	}
	if found > 0 {
		return Decision{Result: AppendResult{
			FirstVersion: first.Version,
			Version:      last.Version,
			Position:     last.Position,
			Duplicate:    true,
		}}, nil
	}
	if !part.Expected.Allows(current) {
		return Decision{}, &ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: current}
	}
	return Decision{Write: true}, nil
}

func reused(part StreamAppend, id uuid.UUID, reason string) error {
	return &EventIDReusedError{Stream: part.Stream, ID: id, Reason: reason}
}
