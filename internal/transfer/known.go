package transfer

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// known are the IDs that streams of a target hold, for targets that forget them: an
// event that brings no version is then given one, so that it is stored once, however
// far back it is. It holds about 50 bytes for each event of those streams.
type known struct {
	store   *eventstore.Store
	streams map[string]*knownStream
	given   []*knownStream // those of which versions were given away since the last append
}

type knownStream struct {
	version uint64 // what is known of the stream
	next    uint64 // the version that was last given away
	ids     map[uuid.UUID]uint64
}

// newKnown returns nil for a store that recognises every ID.
func newKnown(store *eventstore.Store) *known {
	caps := store.Capabilities()
	if caps.IdempotencyWindow == 0 && caps.IdempotencyTime == 0 {
		return nil
	}
	return &known{store: store, streams: make(map[string]*knownStream)}
}

// assign gives a record without a version that of its ID in the target, or the next one;
// none in a stream whose name is refused, as the append will be.
func (k *known) assign(ctx context.Context, r *Record) error {
	if k == nil || r.Version > 0 {
		return nil
	}
	s := k.streams[r.Stream]
	if s == nil {
		s = &knownStream{ids: make(map[uuid.UUID]uint64)}
		if err := k.read(ctx, r.Stream, s); errors.Is(err, eventstore.ErrInvalid) {
			return nil
		} else if err != nil {
			return err
		}
		k.streams[r.Stream] = s
	}
	r.assigned = true
	if r.Version, r.stored = s.ids[r.ID]; !r.stored {
		s.next++
		r.Version = s.next
		k.given = append(k.given, s)
	}
	return nil
}

// read learns what a stream holds beyond what is known of it.
func (k *known) read(ctx context.Context, stream string, s *knownStream) error {
	for event, err := range k.store.ReadStream(ctx, stream, eventstore.ReadOptions{After: s.version}) {
		if err != nil {
			return err
		}
		s.add(event)
	}
	s.next = s.version
	return nil
}

func (s *knownStream) add(event eventstore.RecordedEvent) {
	s.ids[event.ID] = event.Version
	s.version = max(s.version, event.Version)
	s.next = max(s.next, s.version)
}

// stored learns of an event that was stored, or found.
func (k *known) stored(event eventstore.RecordedEvent) {
	if k == nil {
		return
	}
	if s := k.streams[event.Stream]; s != nil {
		s.add(event)
	}
}

// refresh reads a stream again, to which somebody else appended.
func (k *known) refresh(ctx context.Context, stream string) error {
	if k == nil || k.streams[stream] == nil {
		return nil
	}
	return k.read(ctx, stream, k.streams[stream])
}

// forget takes back the versions that were given away and not used.
func (k *known) forget() {
	if k == nil {
		return
	}
	for _, s := range k.given {
		s.next = s.version
	}
	k.given = k.given[:0]
}
