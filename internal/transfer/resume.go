package transfer

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// CopiedFrom returns the place up to which a target, whose checkpoints these are,
// was copied from a source, and whether it was copied from it at all.
func CopiedFrom(ctx context.Context, target eventstore.Checkpoints, source uuid.UUID) (eventstore.Place, bool, error) {
	result, err := target.Load(ctx, eventstore.LoadCheckpointRequest{Name: copiedName(source)})
	if err != nil {
		return eventstore.Place{}, false, fmt.Errorf("load the copy's checkpoint: %w", err)
	}
	return result.Checkpoint.Place, result.Found, nil
}

// OwnCheckpoint tells whether a checkpoint's name is one under which a copy keeps
// how far it is: no subscription's.
func OwnCheckpoint(name string) bool {
	stem := func(name string) string { return strings.TrimSuffix(name, uuid.Nil.String()) }
	return strings.HasPrefix(name, stem(copiedName(uuid.Nil))) || strings.HasPrefix(name, stem(checkedName(uuid.Nil)))
}

// Holds tells whether a store holds the event of a place: the stream has it at
// that version, with that ID. Its position may be another one; it is returned.
func Holds(ctx context.Context, store *eventstore.Store, place eventstore.Place) (eventstore.Place, bool, error) {
	event, ok, err := eventAt(ctx, store, place.Stream, place.Version)
	if err != nil || !ok || event.ID != place.ID {
		return eventstore.Place{}, false, err
	}
	return event.Place(), true, nil
}

// Checker returns what tells whether a store would refuse an event of a source, such as
// "switchyard:UUID", for what the store can hold, without I/O, and which remedies can help. Its
// errors match ErrInvalid or ErrUnsupported.
func Checker(to *eventstore.Store, source string) func(eventstore.RecordedEvent) ([]Remedy, error) {
	keepTimes := to.Capabilities().PreservedRecordTime.Supported()
	return func(event eventstore.RecordedEvent) ([]Remedy, error) {
		form := from(event, source).quoted().marked()
		part := eventstore.StreamAppend{Stream: form.Stream, Expected: eventstore.Any(), Events: []eventstore.Event{form.Event}}
		if keepTimes {
			part.RecordedAt = form.RecordedAt
		}
		err := to.CheckAppend(part)
		if err == nil {
			return nil, nil
		}
		return faultOf(to, err, form).remedies(), err
	}
}

// OriginalAt returns which of a source's events a target has at a place, by stream,
// version and ID; it may have changed, parked or skipped it on its way. It is false where
// the target has no event there.
func OriginalAt(ctx context.Context, target *eventstore.Store, source string, place eventstore.Place) (eventstore.Place, bool, error) {
	event, ok, err := eventAt(ctx, target, place.Stream, place.Version)
	if err != nil || !ok {
		return eventstore.Place{}, false, err
	}
	return Restore(event, source).Place(), true, nil
}

// Changed tells whether an event says that a transfer has changed it, parked it or
// skipped it on its way from a source, such as "switchyard:UUID".
func Changed(event eventstore.RecordedEvent, source string) bool {
	return len(Restore(event, source).Remedies) > 0
}
