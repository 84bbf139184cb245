package transfer

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// held finds the events that a target refuses and holds already, by whichever remedy an
// earlier run was given. It reads the streams in which one may be, each once, and
// holds about 100 bytes for each changed, parked or skipped event in them.
type held struct {
	store   *eventstore.Store
	apart   map[string]map[uuid.UUID]uint64  // versions by ID, of streams of refused events
	changed map[string]map[wasEvent][]uint64 // versions by what the events were, of other streams
}

// wasEvent is an event's stream and ID in its source. Two of one stream may share it.
type wasEvent struct {
	stream string
	id     uuid.UUID
}

func newHeld(store *eventstore.Store) *held {
	return &held{store: store, apart: make(map[string]map[uuid.UUID]uint64), changed: make(map[string]map[wasEvent][]uint64)}
}

// find returns the target's event that a record is, and whether there is one.
func (h *held) find(ctx context.Context, r Record, asJSON bool) (eventstore.RecordedEvent, bool, error) {
	event, found, err := h.standing(ctx, r, asJSON)
	if found || err != nil || r.broken != nil {
		return event, found, err
	}
	for _, stream := range append([]string{r.Stream}, otherNames(r.Stream, h.store.Limits().MaxStreamBytes)...) {
		versions, err := h.changedIn(ctx, stream, r.source)
		if err != nil {
			return event, false, err
		}
		for _, version := range versions[wasEvent{r.Stream, r.ID}] {
			if event, found, err := h.is(ctx, stream, version, r, asJSON); found || err != nil {
				return event, found, err
			}
		}
	}
	return event, false, nil
}

// standing finds a record in the stream of refused events.
func (h *held) standing(ctx context.Context, r Record, asJSON bool) (event eventstore.RecordedEvent, found bool, err error) {
	stream := RefusedStream(r.source)
	ids, known := h.apart[stream]
	if !known {
		ids = make(map[uuid.UUID]uint64)
		for event, err := range h.store.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
			if err != nil {
				return event, false, err
			}
			ids[event.ID] = event.Version
		}
		h.apart[stream] = ids
	}
	version, ok := ids[derivedID(r)]
	if !ok {
		return event, false, nil
	}
	return h.is(ctx, stream, version, r, asJSON)
}

// changedIn returns the events of a stream that were changed on their way from a source.
func (h *held) changedIn(ctx context.Context, stream, source string) (map[wasEvent][]uint64, error) {
	name := stream + "\x00" + source
	versions, known := h.changed[name]
	if known {
		return versions, nil
	}
	versions = make(map[wasEvent][]uint64)
	for event, err := range h.store.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
		if errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrUnsupported) {
			break // a name that it cannot hold
		}
		if err != nil {
			return nil, err
		}
		if o := Restore(event, source); len(o.Remedies) > 0 {
			was := wasEvent{o.Stream, o.ID}
			versions[was] = append(versions[was], event.Version)
		}
	}
	h.changed[name] = versions
	return versions, nil
}

// is tells whether the target's event at a version is the record's.
func (h *held) is(ctx context.Context, stream string, version uint64, r Record, asJSON bool) (eventstore.RecordedEvent, bool, error) {
	event, found, err := eventAt(ctx, h.store, stream, version)
	if err != nil || !found {
		return event, false, err
	}
	original, want := Restore(event, r.source), r.recorded()
	if r.Version == 0 && !original.Skipped() {
		want.Version = original.Version
	}
	return event, original.Difference(want, asJSON) == "", nil
}
