package decider

import (
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// remembered is the state of a stream at a version, and the ID of the event there: by it
// a stream that lost events, and grew again, is told from the one that is remembered. The
// ID is zero where it is not known, as that of a snapshot.
type remembered[S any] struct {
	state   S
	version uint64
	last    uuid.UUID
}

// cache keeps states by stream, the least recently used out first. A nil cache keeps
// nothing.
type cache[S any] struct {
	mu      sync.Mutex
	size    int
	entries map[string]*entry[S]
	recent  entry[S] // the ring's root: its next is the most recently used
	losses  atomic.Uint64
}

type entry[S any] struct {
	before, next *entry[S]
	stream       string
	remembered[S]
}

func newCache[S any](size int) *cache[S] {
	if size == 0 {
		return nil
	}
	c := &cache[S]{size: size, entries: make(map[string]*entry[S])}
	c.recent.before, c.recent.next = &c.recent, &c.recent
	return c
}

func (c *cache[S]) get(stream string) (known remembered[S], ok bool) {
	if c == nil {
		return known, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[stream]
	if !ok {
		return known, false
	}
	return e.remembered, true // put follows, and makes it the most recently used
}

// lossesSeen counts how often a stream was found to have lost events.
func (c *cache[S]) lossesSeen() uint64 {
	if c == nil {
		return 0
	}
	return c.losses.Load()
}

// put keeps a state, unless there is one of a higher version. An absent stream is not
// worth a place. losses is what lossesSeen returned before the stream was read: if it has
// grown since, what was read may be the history that is gone.
func (c *cache[S]) put(stream string, known remembered[S], losses uint64) {
	if c == nil || known.version == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if losses != c.losses.Load() {
		return
	}
	e, ok := c.entries[stream]
	switch {
	case ok:
		e.leave()
	case len(c.entries) < c.size:
		e = &entry[S]{stream: stream}
		c.entries[stream] = e
	default: // the place of the least recently used
		e = c.recent.before
		e.leave()
		delete(c.entries, e.stream)
		e.stream, e.version = stream, 0
		c.entries[stream] = e
	}
	c.first(e)
	if known.version >= e.version {
		e.remembered = known
	}
}

// lost drops a stream that has lost events.
func (c *cache[S]) lost(stream string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losses.Add(1)
	if e, ok := c.entries[stream]; ok {
		e.leave()
		delete(c.entries, stream)
	}
}

func (e *entry[S]) leave() { e.before.next, e.next.before = e.next, e.before }

func (c *cache[S]) first(e *entry[S]) {
	e.before, e.next = &c.recent, c.recent.next
	e.before.next, e.next.before = e, e
}
