package esdbtest

import (
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/google/uuid"
)

// store is the log with its index. One lock guards it all; readers copy the
// headers of slices whose elements never change.
type store struct {
	now func() time.Time

	mu      sync.RWMutex
	records []*record            // all events in the order of their positions
	streams map[string][]*record // by stream; the index is the revision
	gone    map[string]bool      // tombstoned streams
	end     uint64               // where the next record begins
	cache   *idCache
	wake    chan struct{} // closed, and replaced, when a record is written
}

func newStore(now func() time.Time) *store {
	return &store{
		now:     now,
		streams: make(map[string][]*record),
		gone:    make(map[string]bool),
		end:     epochRecord,
		cache:   newIDCache(),
		wake:    make(chan struct{}),
	}
}

// write stores the events as the stream's next ones and returns the last.
// The caller holds the lock and has checked everything.
func (s *store) write(stream string, events ...proposed) *record {
	var last *record
	for i := range events {
		r := &record{
			proposed: events[i],
			stream:   stream,
			revision: int64(len(s.streams[stream])),
			position: s.end,
			created:  s.now().UnixNano() / 100,
		}
		s.streams[stream] = append(s.streams[stream], r)
		s.append(r)
		last = r
	}
	return last
}

// append puts a record at the end of the log and wakes who waits for it.
func (s *store) append(r *record) {
	s.records = append(s.records, r)
	s.end += r.length()
	s.cache.put(r)
	close(s.wake)
	s.wake = make(chan struct{})
}

// last is the stream's last revision: -1 if it was never written, and
// deletedRevision if it, or the stream it describes, is tombstoned.
func (s *store) last(stream string) int64 {
	if s.gone[stream] || (isMetastream(stream) && s.gone[originalOf(stream)]) {
		return deletedRevision
	}
	return int64(len(s.streams[stream])) - 1
}

// indexAfter is the index of the first record behind the position.
func (s *store) indexAfter(position uint64) int {
	return sort.Search(len(s.records), func(i int) bool { return s.records[i].position > position })
}

// validPosition reports whether a reader may start at the position: at the
// start, at a record, or at or beyond the end, but not inside a record.
func (s *store) validPosition(position uint64) bool {
	if position == 0 || position >= s.end {
		return true
	}
	i := s.indexAfter(position)
	return i > 0 && s.records[i-1].position == position
}

// restart is what a restart of the server does to the store.
func (s *store) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = newIDCache() // not rebuilt from the log, as on the real server
	s.end += epochRecord
	s.writeEpoch()
}

// writeFirstSystemEvents makes the log look like a node's that was never used
// before: $all is never empty.
func (s *store) writeFirstSystemEvents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	system := func(stream, eventType, data string) {
		s.write(stream, proposed{id: uuid.New(), eventType: eventType, json: true, data: []byte(data)})
	}
	s.writeEpoch()
	system("$$$stats-0.0.0.0:2113", typeMetadata, `{"$maxAge":86400,"$acl":{"$r":"$admins"}}`)
	system("$stats-0.0.0.0:2113", "$statsCollected", `{"proc-cpu":0}`)
	for _, user := range []string{adminName, opsName} {
		system("$user-"+user, "$UserCreated", fmt.Sprintf(`{"loginName":%q}`, user))
		system("$users", "$User", fmt.Sprintf("%q", user))
	}
}

func (s *store) writeEpoch() {
	s.write("$epoch-information", proposed{
		id:        uuid.New(),
		eventType: "$epoch-information",
		json:      true,
		data:      fmt.Appendf(nil, `{"epochPosition":%d}`, s.end),
	})
}
