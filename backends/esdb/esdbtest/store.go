package esdbtest

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

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

// size is what the event counts towards the append limit.
func (p *proposed) size() int {
	return len(p.data) + len(p.metadata) + 2*len(utf16.Encode([]rune(p.eventType)))
}

// record is an event in the log. It never changes once it is written, so it may
// be read without the store's lock.
type record struct {
	proposed
	stream   string
	revision int64
	position uint64 // both commit and prepare
	created  int64  // ticks of 100 ns since the Unix epoch, as .NET clients expect
}

// A record in the log file has a header and two length marks around it; the
// sizes are about those of the real format, so that positions look alike.
const (
	recordOverhead = 8 + 67
	epochRecord    = 172 // the log begins with a record that is no event
)

func (r *record) length() uint64 {
	return uint64(recordOverhead + len(r.stream) + len(r.eventType) + len(r.data) + len(r.metadata))
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
