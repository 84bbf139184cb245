package esdbtest

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Event types and streams the server itself knows.
const (
	typeMetadata      = "$metadata"
	typeStreamDeleted = "$streamDeleted"
	typeLink          = "$>"
	streamAll         = "$all"
	metaPrefix        = "$$"
)

// deletedRevision is the revision of a tombstone, and the $tb of a soft delete.
const deletedRevision = math.MaxInt64

// proposed is an event as a client sends it.
type proposed struct {
	id        uuid.UUID
	eventType string
	json      bool
	data      []byte
	metadata  []byte
}

// record is an event in the log. It never changes once it is written, so it may
// be read without the store's lock.
type record struct {
	proposed
	stream   string
	revision int64
	position int64 // both commit and prepare
	created  int64 // ticks of 100 ns since the Unix epoch, as .NET clients expect
	ends     bool  // it is the last one of its write
}

// A record in the log file has a header and two length marks around it; the
// sizes are those of the real format, so that positions look alike.
const (
	recordOverhead = 8 + 82
	epochRecord    = 172 // the log begins with a record that is no event
)

// end is the position behind the record.
func (r *record) end() int64 {
	return r.position + int64(recordOverhead+len(r.stream)+len(r.eventType)+len(r.data)+len(r.metadata))
}

func isMetastream(stream string) bool { return strings.HasPrefix(stream, metaPrefix) }

func metastreamOf(stream string) string { return metaPrefix + stream }

// originalOf is the stream that a metastream describes.
func originalOf(metastream string) string { return strings.TrimPrefix(metastream, metaPrefix) }

// store is the log with its index. One lock guards it all; readers copy the
// headers of slices whose elements never change.
type store struct {
	now func() time.Time

	mu      sync.RWMutex
	records []*record            // all events in the order of their positions
	streams map[string][]*record // by stream; the index is the revision
	gone    map[string]*record   // the tombstones of tombstoned streams
	end     int64                // where the next record begins
	cache   *idCache
	recent  map[string]bool // metastreams whose last revision the writer remembers
	wake    chan struct{}   // closed, and replaced, when a record is written
}

func newStore(now func() time.Time) *store {
	return &store{
		now:     now,
		streams: make(map[string][]*record),
		gone:    make(map[string]*record),
		end:     epochRecord,
		cache:   newIDCache(),
		recent:  make(map[string]bool),
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
			ends:     i == len(events)-1,
		}
		s.streams[stream] = append(s.streams[stream], r)
		s.append(r)
		last = r
	}
	if isMetastream(stream) {
		s.recent[stream] = true
	}
	return last
}

// append puts a record at the end of the log and wakes who waits for it.
func (s *store) append(r *record) {
	s.records = append(s.records, r)
	s.end = r.end()
	s.cache.put(r)
	close(s.wake)
	s.wake = make(chan struct{})
}

// last is the stream's last revision: -1 if it was never written, and
// deletedRevision if it, or the stream it describes, is tombstoned.
func (s *store) last(stream string) int64 {
	if s.gone[stream] != nil || (isMetastream(stream) && s.gone[originalOf(stream)] != nil) {
		return deletedRevision
	}
	return int64(len(s.streams[stream])) - 1
}

// lastForWriter is the last revision as a write is checked with. The server's
// writer remembers the last revisions of streams that were written lately and
// looks no further: the metadata of a tombstoned stream can still be written, if
// it was written before in the life of the process. It is never read again.
func (s *store) lastForWriter(stream string) int64 {
	if s.recent[stream] && s.gone[stream] == nil {
		return int64(len(s.streams[stream])) - 1
	}
	return s.last(stream)
}

// indexFrom is the index of the first record at the position or behind it.
func (s *store) indexFrom(position int64) int {
	return sort.Search(len(s.records), func(i int) bool { return s.records[i].position >= position })
}

// validPosition reports whether a reader may start at the position: at the
// start, where a record begins or ends, or at or beyond the end of the log, but
// not inside a record.
func (s *store) validPosition(position int64) bool {
	if position == 0 || position >= s.end {
		return true
	}
	i := s.indexFrom(position)
	return (i < len(s.records) && s.records[i].position == position) ||
		(i > 0 && s.records[i-1].end() == position)
}

// restart is what a restart of the server does to the store.
func (s *store) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = newIDCache() // not rebuilt from the log, as on the real server
	s.recent = make(map[string]bool)
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

// writeHistory fills the log with events of some streams that nobody asks for.
func (s *store) writeHistory(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range events {
		s.write(fmt.Sprintf("history-%d", i%10), proposed{id: uuid.New(), eventType: "Passed", json: true, data: []byte(`{}`)})
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
