package esdbtest

import (
	"encoding/json"
	"strconv"

	"github.com/google/uuid"
)

// written is the outcome of a write that was accepted.
type written struct {
	revision int64 // the last event's; -1 if the stream has none
	position uint64
}

// appendEvents checks and stores a batch, all of it or nothing.
func (s *store) appendEvents(stream string, expected int64, events []proposed) (written, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].id
	}
	repeated, err := s.check(stream, expected, ids)
	if err != nil {
		return written{}, err
	}
	if repeated != nil {
		return written{repeated.revision, repeated.position}, nil
	}
	if len(events) == 0 {
		// The server logs a record that is no event.
		position := s.end
		s.end += recordOverhead + uint64(len(stream))
		return written{s.last(stream), position}, nil
	}

	revived := s.softDeleted(stream)
	var described string // the stream that an append to its metastream revives
	if isMetastream(stream) && s.softDeleted(originalOf(stream)) {
		described = originalOf(stream)
	}
	first := int64(len(s.streams[stream]))
	last := s.write(stream, events...)
	if revived {
		s.undelete(stream, first)
	}
	if described != "" {
		s.undelete(described, int64(len(s.streams[described])))
	}
	return written{last.revision, last.position}, nil
}

// undelete ends a soft delete: the stream's metadata is written again with
// $tb at the first event of its new life. Numbering goes on.
func (s *store) undelete(stream string, firstRevision int64) {
	events := s.streams[metastreamOf(stream)]
	if len(events) == 0 {
		return
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(events[len(events)-1].data, &fields) != nil {
		return
	}
	fields["$tb"] = json.RawMessage(strconv.FormatInt(firstRevision, 10))
	data, err := json.Marshal(fields)
	if err != nil {
		return
	}
	s.writeMetadata(stream, data)
}

func (s *store) writeMetadata(stream string, data []byte) *record {
	return s.write(metastreamOf(stream), proposed{id: uuid.New(), eventType: typeMetadata, json: true, data: data})
}

// deleteStream is the soft delete: metadata that hides all events so far.
func (s *store) deleteStream(stream string, expected int64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if _, err := s.check(stream, expected, []uuid.UUID{uuid.New()}); err != nil {
		return 0, err
	}
	if s.last(stream) < 0 && s.last(metastreamOf(stream)) < 0 {
		return 0, &wrongVersionError{stream: stream, expected: expected, actual: -1}
	}
	data := strconv.AppendInt([]byte(`{"$tb":`), deletedRevision, 10)
	return s.writeMetadata(stream, append(data, '}')).position, nil
}

// tombstone is the hard delete: an event after which the stream is no more.
func (s *store) tombstone(stream string, expected int64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if _, err := s.check(stream, expected, []uuid.UUID{uuid.New()}); err != nil {
		return 0, err
	}
	r := &record{
		proposed: proposed{id: uuid.New(), eventType: typeStreamDeleted},
		stream:   stream,
		revision: deletedRevision,
		position: s.end,
		created:  s.now().UnixNano() / 100,
	}
	s.gone[stream] = true
	s.append(r)
	return r.position, nil
}
