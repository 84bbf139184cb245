package esdbtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/google/uuid"
)

// written is the outcome of a write that was accepted.
type written struct {
	revision int64 // the last event's; -1 if the stream has none
	position int64 // unknown of a repeated write whose last event cannot be read any more
}

// unknown is the position that is not told.
const unknown int64 = -1

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
		return written{repeated.revision, s.readablePosition(repeated)}, nil
	}

	revived := s.softDeleted(stream)
	if len(events) == 0 {
		// The server logs a record that is no event, and which revives a stream
		// all the same: it is found then, and empty.
		position, last := s.end, s.last(stream)
		s.end += recordOverhead + int64(len(stream))
		if revived {
			s.undelete(stream, last+1)
		}
		return written{last, position}, nil
	}
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

// readablePosition is a record's position. The server answers a repeated write
// by reading its last event, and what is truncated or deleted it does not find.
func (s *store) readablePosition(r *record) int64 {
	meta, count := s.metadataOf(r.stream), int64(len(s.streams[r.stream]))
	if meta.truncateBefore == deletedRevision || r.revision < meta.firstRevision(count) {
		return unknown
	}
	if len(s.young([]*record{r}, meta.maxAge)) == 0 {
		return unknown
	}
	return r.position
}

// undelete ends a soft delete: the stream's metadata is written again with
// $tb at the first event of its new life. Numbering goes on.
func (s *store) undelete(stream string, firstRevision int64) {
	events := s.streams[metastreamOf(stream)]
	if len(events) == 0 {
		return
	}
	data, err := withTruncateBefore(events[len(events)-1].data, firstRevision)
	if err != nil {
		return
	}
	s.writeMetadata(stream, data)
}

// withTruncateBefore sets $tb in the metadata. The other members keep their
// order, as a map of them would not, and it comes last.
func withTruncateBefore(metadata []byte, revision int64) ([]byte, error) {
	members := json.NewDecoder(bytes.NewReader(metadata))
	if start, err := members.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("esdbtest: metadata %q is no object", metadata)
	}
	out := []byte{'{'}
	for members.More() {
		name, err := members.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := members.Decode(&value); err != nil {
			return nil, err
		}
		if name == "$tb" {
			continue
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, quoted...), ':'), value...)
		out = append(out, ',')
	}
	return fmt.Appendf(out, `"$tb":%d}`, revision), nil
}

func (s *store) writeMetadata(stream string, data []byte) *record {
	return s.write(metastreamOf(stream), proposed{id: uuid.New(), eventType: typeMetadata, json: true, data: data})
}

// deleteStream is the soft delete: metadata that hides all events so far.
func (s *store) deleteStream(stream string, expected int64) (int64, error) {
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
func (s *store) tombstone(stream string, expected int64) (int64, error) {
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
		ends:     true,
	}
	s.gone[stream] = r
	s.append(r)
	return r.position, nil
}
