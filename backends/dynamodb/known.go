package dynamodb

import (
	"sync"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// tail is what is known of a stream's end: its version, and the IDs of its last
// events.
type tail struct {
	version uint64
	from    uint64 // the lowest version whose ID is known
	events  []tailEvent
	depth   uint64 // how many events before the end are kept
}

// tailEvent says where an event of a stream is.
type tailEvent struct {
	id       uuid.UUID
	position eventstore.Position
	at       int64
}

// reaches tells whether the IDs of so many events before the end are known.
func (t *tail) reaches(depth uint64) bool {
	return t.from <= 1 || t.version-t.from+1 >= depth
}

// find returns the version of the event with an ID, where it is among the last
// depth events.
func (t *tail) find(id uuid.UUID, depth uint64) (version uint64, event tailEvent, ok bool) {
	for i := len(t.events) - 1; i >= 0; i-- {
		version := t.from + uint64(i)
		if version+depth <= t.version {
			break
		}
		if t.events[i].id == id {
			return version, t.events[i], true
		}
	}
	return 0, tailEvent{}, false
}

// add adds an event at the end, and forgets those before the last depth.
func (t *tail) add(event tailEvent, depth uint64) {
	depth = max(depth, t.depth)
	t.version++
	t.events = append(t.events, event)
	if n := uint64(len(t.events)); n > 2*depth {
		t.events = append([]tailEvent(nil), t.events[n-depth:]...)
		t.from += n - depth
	}
}

// generations is a map of bounded size that forgets what was not used lately. It
// holds no more than twice its size.
type generations[V any] struct {
	size       int
	young, old map[string]V
}

func newGenerations[V any](size int) generations[V] {
	return generations[V]{size: size, young: make(map[string]V)}
}

func (g *generations[V]) get(key string) (V, bool) {
	if v, ok := g.young[key]; ok {
		return v, true
	}
	v, ok := g.old[key]
	if ok {
		g.put(key, v)
	}
	return v, ok
}

func (g *generations[V]) put(key string, v V) {
	if len(g.young) >= g.size {
		g.old, g.young = g.young, make(map[string]V, g.size)
	}
	g.young[key] = v
}

func (g *generations[V]) delete(key string) {
	delete(g.young, key)
	delete(g.old, key)
}

func (g *generations[V]) clear() { g.young, g.old = make(map[string]V), nil }

// seen is how far streams are known to reach because the log says so. During a
// transaction the log item may be visible before a chunk: a read of a stream that
// ends below what was seen is torn, and made again.
type seen struct {
	mu       sync.Mutex
	versions generations[uint64]
}

const seenStreams = 8192

func newSeen() *seen { return &seen{versions: newGenerations[uint64](seenStreams)} }

func (s *seen) learn(items ...*logItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range items {
		for i := range l.runs {
			r := &l.runs[i]
			if version, _ := s.versions.get(r.stream); version < r.last() {
				s.versions.put(r.stream, r.last())
			}
		}
	}
}

func (s *seen) version(stream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, _ := s.versions.get(stream)
	return version
}
