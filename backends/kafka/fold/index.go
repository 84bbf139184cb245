package fold

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// place is an event's offset in the log, and its index in the record there.
type place uint64

const (
	indexBits = 16
	maxOffset = 1<<(64-indexBits) - 1
)

func newPlace(offset int64, index int) place { return place(uint64(offset)<<indexBits | uint64(index)) }

func (p place) position() eventstore.Position {
	return eventstore.NewPosition(uint64(p>>indexBits), uint64(p&(1<<indexBits-1)))
}

// entry is what the index keeps of an event: 32 bytes.
type entry struct {
	place  place
	id     uuid.UUID
	digest uint64
}

// digest is the first 8 bytes of the SHA-256 of an event's content.
func digest(body []byte) uint64 {
	sum := sha256.Sum256(body)
	return binary.BigEndian.Uint64(sum[:])
}

// stream is the index of a stream's events; the version v is at v-1.
type stream struct {
	name    string
	entries []entry
	ids     idTable
}

// scanLength is the length up to which looking for an ID by comparison is as fast
// as a table, which a short stream then needs not have.
const scanLength = 64

// find returns the version of the event with this ID, 0 if there is none.
func (s *stream) find(id uuid.UUID, seed maphash.Seed) uint64 {
	if len(s.entries) > scanLength {
		return s.ids.find(id, s.entries, seed)
	}
	for i := range s.entries {
		if s.entries[i].id == id {
			return uint64(i) + 1
		}
	}
	return 0
}

func (s *stream) add(e entry, seed maphash.Seed) {
	if len(s.entries) == cap(s.entries) {
		// By half, not by two: most of a store's memory is here, and streams are short.
		grown := make([]entry, len(s.entries), len(s.entries)+max(2, len(s.entries)/2))
		copy(grown, s.entries)
		s.entries = grown
	}
	s.entries = append(s.entries, e)
	if len(s.entries) > scanLength {
		s.ids.add(s.entries, seed)
	}
}

// at returns the version of the event at a place, 0 if the stream has none there.
func (s *stream) at(p place) uint64 {
	i, ok := slices.BinarySearchFunc(s.entries, p, func(e entry, p place) int {
		switch {
		case e.place < p:
			return -1
		case e.place > p:
			return 1
		}
		return 0
	})
	if !ok {
		return 0
	}
	return uint64(i) + 1
}

// idTable finds the versions of a stream's event IDs: an open-addressing hash
// table of versions, 0 where a slot is free.
type idTable []uint32

// find returns the version of an ID, 0 if it is not there.
func (t idTable) find(id uuid.UUID, entries []entry, seed maphash.Seed) uint64 {
	for slot := t.slot(id, seed); t[slot] != 0; slot = t.after(slot) {
		if version := t[slot]; entries[version-1].id == id {
			return uint64(version)
		}
	}
	return 0
}

// add takes in the last of the entries; a table that is missing or too full is
// made anew from all of them.
func (t *idTable) add(entries []entry, seed maphash.Seed) {
	if 4*len(entries) <= 3*len(*t) {
		t.put(entries[len(entries)-1].id, len(entries), seed)
		return
	}
	size := 2 * scanLength
	for 4*len(entries) > 3*size {
		size *= 2
	}
	*t = make(idTable, size)
	for i := range entries {
		t.put(entries[i].id, i+1, seed)
	}
}

func (t idTable) put(id uuid.UUID, version int, seed maphash.Seed) {
	slot := t.slot(id, seed)
	for t[slot] != 0 {
		slot = t.after(slot)
	}
	t[slot] = uint32(version)
}

// slot is seeded: callers choose IDs, and could choose ones that collide.
func (t idTable) slot(id uuid.UUID, seed maphash.Seed) int {
	return int(maphash.Bytes(seed, id[:]) & uint64(len(t)-1))
}

func (t idTable) after(slot int) int { return (slot + 1) & (len(t) - 1) }
