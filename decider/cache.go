package decider

import "sync"

// cache keeps states by stream, the least recently used out first. A nil cache keeps
// nothing.
type cache[S any] struct {
	mu      sync.Mutex
	size    int
	entries map[string]*entry[S]
	recent  entry[S] // the ring's root: its next is the most recently used
}

type entry[S any] struct {
	before, next *entry[S]
	stream       string
	state        S
	version      uint64
}

func newCache[S any](size int) *cache[S] {
	if size == 0 {
		return nil
	}
	c := &cache[S]{size: size, entries: make(map[string]*entry[S])}
	c.recent.before, c.recent.next = &c.recent, &c.recent
	return c
}

func (c *cache[S]) get(stream string) (state S, version uint64, ok bool) {
	if c == nil {
		return state, 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[stream]
	if !ok {
		return state, 0, false
	}
	return e.state, e.version, true // put follows, and makes it the most recently used
}

// put keeps a state, unless there is one of a higher version. An absent stream is not
// worth a place.
func (c *cache[S]) put(stream string, state S, version uint64) {
	if c == nil || version == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
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
	if version >= e.version {
		e.state, e.version = state, version
	}
}

func (c *cache[S]) remove(stream string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
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
