package esdbtest

import (
	"fmt"

	"github.com/google/uuid"
)

// Expected revisions below zero, as the server numbers them.
const (
	expectNoStream     int64 = -1
	expectAny          int64 = -2
	expectStreamExists int64 = -4
)

// wrongVersionError refuses a write because of its expected revision.
type wrongVersionError struct {
	stream           string
	expected, actual int64 // actual -1: the stream has no events
}

func (e *wrongVersionError) Error() string {
	return fmt.Sprintf("wrong expected version of %q: expected %d, actual %d", e.stream, e.expected, e.actual)
}

// streamDeletedError refuses a call because the stream is tombstoned, or, for a
// write that expects it to exist, soft-deleted.
type streamDeletedError struct{ stream string }

func (e *streamDeletedError) Error() string { return fmt.Sprintf("stream %q is deleted", e.stream) }

// check decides about a write of events with those ids. It returns the last
// record of the write which this one repeats, nil when it is to be written, or
// an error of the types above. The caller holds the lock.
func (s *store) check(stream string, expected int64, ids []uuid.UUID) (repeated *record, err error) {
	current := s.lastForWriter(stream)
	wrong := &wrongVersionError{stream: stream, expected: expected, actual: current}
	if current == deletedRevision {
		return nil, &streamDeletedError{stream}
	}
	switch {
	case expected == expectStreamExists:
		if s.softDeleted(stream) {
			return nil, &streamDeletedError{stream}
		}
		// A stream with metadata exists, even without an event.
		if current < 0 && s.last(metastreamOf(stream)) < 0 {
			return nil, wrong
		}
		return s.checkCached(stream, ids, wrong)
	case expected == expectAny:
		return s.checkCached(stream, ids, wrong)
	case expected < current:
		return s.checkIndexed(stream, expected, ids, wrong)
	case expected > current:
		return nil, wrong
	default:
		return nil, nil // the revision is right: the ids are not looked at
	}
}

// checkCached is the weak check: all ids in the cache is a repetition, the
// first one not is a new write, anything else is corrupt.
func (s *store) checkCached(stream string, ids []uuid.UUID, wrong error) (*record, error) {
	var last *record
	for i, id := range ids {
		known := s.cache.find(stream, id)
		switch {
		case known == nil && i == 0:
			return nil, nil
		case known == nil:
			return nil, wrong
		}
		last = known
	}
	return last, nil
}

// checkIndexed is the strong check for an expected revision that has passed:
// the same ids at the very revisions they would have had is a repetition.
func (s *store) checkIndexed(stream string, expected int64, ids []uuid.UUID, wrong error) (*record, error) {
	if len(ids) == 0 {
		return nil, wrong
	}
	events := s.streams[stream]
	next := expected + 1
	for i, id := range ids {
		at := next + int64(i)
		if at < int64(len(events)) && events[at].id == id {
			continue
		}
		if i == 0 && expected == expectNoStream && s.softDeleted(stream) {
			return nil, nil // a deleted stream may be created again
		}
		return nil, wrong
	}
	return events[next+int64(len(ids))-1], nil
}

// cacheLimit is the size in bytes at which the real server begins to forget.
const cacheLimit = 8 << 20

// idCache remembers where recent event ids were written. It is what makes an
// append with Any idempotent, and only as long as it remembers: it is bounded,
// lost at a restart, and knows one place per id, the first.
type idCache struct {
	known map[uuid.UUID]*record
	queue []uuid.UUID // oldest first
	size  int
}

func newIDCache() *idCache {
	return &idCache{known: make(map[uuid.UUID]*record)}
}

func (c *idCache) put(r *record) {
	for c.size > cacheLimit && len(c.queue) > 0 {
		if old, ok := c.known[c.queue[0]]; ok {
			c.size -= cacheCost(old)
			delete(c.known, c.queue[0])
		}
		c.queue = c.queue[1:]
	}
	if _, ok := c.known[r.id]; ok {
		return // the first writer stays
	}
	c.known[r.id] = r
	c.queue = append(c.queue, r.id)
	c.size += cacheCost(r)
}

// find returns the record of that id in that stream, if it is remembered there.
func (c *idCache) find(stream string, id uuid.UUID) *record {
	if r := c.known[id]; r != nil && r.stream == stream {
		return r
	}
	return nil
}

func cacheCost(r *record) int { return 16 + 4 + 8 + 2*len(r.stream) }
