package fold

import (
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Store returns the store's identity.
func (s *State) Store() uuid.UUID { return s.store }

// Next returns the offset of the next record.
func (s *State) Next() int64 { return s.next }

// Hash returns a hash of all verdicts. Equal hashes at equal offsets prove equal folds.
func (s *State) Hash() [32]byte { return s.hash }

// Counts returns what the state was folded from.
func (s *State) Counts() Counts { return s.counts }

// Seal returns the seal that the store is under, if it is under one.
func (s *State) Seal() (Sealed, bool) {
	if s.seal == nil {
		return Sealed{}, false
	}
	return *s.seal, true
}

// SealEpoch returns how often the store has been sealed.
func (s *State) SealEpoch() uint64 { return s.sealEpoch }

// Lease returns the last accepted lease of a name; its epoch is 0 where there was none.
func (s *State) Lease(name string) Lease { return s.leases[name] }

// Version returns the version of a stream, 0 where it has no events.
func (s *State) Version(name string) uint64 {
	if stream := s.streams[name]; stream != nil {
		return uint64(len(stream.entries))
	}
	return 0
}

// Place is where an event is.
type Place struct {
	// Offset is that of the event's record, and Index its number in it, from 0,
	// over all parts.
	Offset int64
	Index  int
	ID     uuid.UUID
}

// Position returns the event's position in the store's order.
func (p Place) Position() eventstore.Position { return newPlace(p.Offset, p.Index).position() }

// Place returns where the event of a stream at a version is.
func (s *State) Place(name string, version uint64) (Place, bool) {
	stream := s.streams[name]
	if stream == nil || version == 0 || version > uint64(len(stream.entries)) {
		return Place{}, false
	}
	return stream.place(version), true
}

// Head returns the last event's place, and its stream and version; false where
// the store has no events.
func (s *State) Head() (place Place, name string, version uint64, ok bool) {
	if s.head == nil {
		return Place{}, "", 0, false
	}
	version = uint64(len(s.head.entries))
	return s.head.place(version), s.head.name, version, true
}

// VersionAt returns the version of the event at this index of the record at this
// offset; 0 where the event was not stored there: its record was refused, or it
// repeats one that is stored elsewhere.
func (s *State) VersionAt(name []byte, offset int64, index int) uint64 {
	if stream := s.streams[string(name)]; stream != nil {
		return stream.at(newPlace(offset, index))
	}
	return 0
}

func (s *stream) place(version uint64) Place {
	e := s.entries[version-1]
	return Place{Offset: int64(e.place >> indexBits), Index: int(e.place & (1<<indexBits - 1)), ID: e.id}
}
