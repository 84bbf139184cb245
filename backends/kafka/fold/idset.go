package fold

import (
	"bytes"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// idSet finds an event ID that occurs twice for one stream of an append: by
// comparison while there are few, which costs no memory, else by a map.
type idSet struct {
	few  []idInStream
	many map[idKey]struct{}
}

type idInStream struct {
	stream []byte
	id     uuid.UUID
}

type idKey struct {
	stream string
	id     uuid.UUID
}

const compareIDs = 64

func newIDSet(size int) *idSet {
	if size <= compareIDs {
		return &idSet{few: make([]idInStream, 0, compareIDs)}
	}
	return &idSet{many: make(map[idKey]struct{}, size)}
}

// add returns false where the set has the ID in the stream already.
func (s *idSet) add(stream []byte, id uuid.UUID) bool {
	if s.many != nil {
		before := len(s.many)
		s.many[idKey{string(stream), id}] = struct{}{}
		return len(s.many) > before
	}
	for i := range s.few {
		if s.few[i].id == id && bytes.Equal(s.few[i].stream, stream) {
			return false
		}
	}
	s.few = append(s.few, idInStream{stream, id})
	return true
}

// repeatedID finds an event ID that occurs twice for one stream.
func repeatedID(parts []eventstore.StreamAppend) (eventstore.StreamAppend, uuid.UUID, bool) {
	events := 0
	for _, part := range parts {
		events += len(part.Events)
	}
	if events == 1 {
		return eventstore.StreamAppend{}, uuid.Nil, false
	}
	seen := newIDSet(events)
	for _, part := range parts {
		for _, event := range part.Events {
			if !seen.add([]byte(part.Stream), event.ID) {
				return part, event.ID, true
			}
		}
	}
	return eventstore.StreamAppend{}, uuid.Nil, false
}
