package esdbtest

import (
	"errors"
	"time"
)

// pageSize is how many events one page of a read holds, as on the real server.
const pageSize = 32

// errNoStream says that a stream has no events a reader may see: it was never
// written, or is soft-deleted.
var errNoStream = errors.New("stream not found")

// page is a part of the log, taken under one lock.
type page struct {
	records []*record
	next    int64 // where the next page begins: a revision, or an index for $all
	end     bool  // there was nothing more when the page was taken
}

// streamForward takes events from the revision on. The page's next is good even
// with errNoStream.
func (s *store) streamForward(stream string, from int64, limit int) (page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	events := s.streams[stream]
	count := int64(len(events))
	p := page{next: max(from, count), end: true}
	if s.last(stream) == deletedRevision {
		return p, &streamDeletedError{stream}
	}
	meta := s.metadataOf(stream)
	if count == 0 || meta.truncateBefore == deletedRevision {
		return p, errNoStream
	}
	start := max(from, meta.firstRevision(count))
	if start >= count {
		return p, nil
	}
	stop := count
	if int64(limit) < count-start {
		stop = start + int64(limit)
	}
	p.records = s.young(events[start:stop], meta.maxAge)
	p.next, p.end = stop, stop == count
	return p, nil
}

// streamBackward takes events from the revision down.
func (s *store) streamBackward(stream string, from int64, limit int) (page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	events := s.streams[stream]
	count := int64(len(events))
	if s.last(stream) == deletedRevision {
		return page{}, &streamDeletedError{stream}
	}
	meta := s.metadataOf(stream)
	if count == 0 || meta.truncateBefore == deletedRevision {
		return page{}, errNoStream
	}
	first := meta.firstRevision(count)
	start := min(from, count-1)
	stop := max(start-int64(limit), first-1)
	p := page{next: stop, end: stop < first}
	for i := start; i > stop; i-- {
		p.records = append(p.records, events[i])
	}
	p.records = s.young(p.records, meta.maxAge)
	return p, nil
}

// allForward takes records from the index on: at most limit that the filter
// keeps, and at most window altogether. All considered ones are in the page.
func (s *store) allForward(index int64, limit, window int, keep filter) page {
	s.mu.RLock()
	defer s.mu.RUnlock()

	count := int64(len(s.records))
	stop, kept := index, 0
	for stop < count && kept < limit && stop-index < int64(window) {
		if keep.matches(s.records[stop]) {
			kept++
		}
		stop++
	}
	return page{records: s.records[index:stop], next: stop, end: stop == count}
}

// allBackward takes records from before the index down.
func (s *store) allBackward(index int64, limit int) page {
	s.mu.RLock()
	defer s.mu.RUnlock()

	stop := max(index-int64(limit), 0)
	p := page{next: stop, end: stop == 0}
	for i := index - 1; i >= stop; i-- {
		p.records = append(p.records, s.records[i])
	}
	return p
}

// firstRevision is the first of count events that the metadata lets be seen.
func (m *streamMetadata) firstRevision(count int64) int64 {
	first := m.truncateBefore
	if m.maxCount > 0 {
		first = max(first, count-m.maxCount)
	}
	return first
}

// young leaves out what is older than the age, if one is set.
func (s *store) young(records []*record, age time.Duration) []*record {
	if age <= 0 {
		return records
	}
	oldest := s.now().Add(-age).UnixNano() / 100
	var out []*record
	for _, r := range records {
		if r.created >= oldest {
			out = append(out, r)
		}
	}
	return out
}
