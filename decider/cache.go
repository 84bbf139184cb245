package decider

import (
	"container/list"
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

// cache keeps states by stream, the least recently used out first. One of size 0 keeps
// nothing.
type cache[S any] struct {
	size   int
	losses atomic.Uint64

	mu      sync.Mutex
	entries map[string]*list.Element // of an *entry[S]
	recent  list.List                // the most recently used first
}

type entry[S any] struct {
	stream string
	remembered[S]
}

func (c *cache[S]) get(stream string) (known remembered[S], ok bool) {
	if c.size == 0 {
		return known, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[stream]
	if !ok {
		return known, false
	}
	return e.Value.(*entry[S]).remembered, true // put follows, and makes it the most recently used
}

// lossesSeen counts how often a stream was found to have lost events.
func (c *cache[S]) lossesSeen() uint64 { return c.losses.Load() }

// put keeps a state, unless there is one of a higher version. An absent stream is not
// worth a place. losses is what lossesSeen returned before the stream was read: if it has
// grown since, what was read may be the history that is gone.
func (c *cache[S]) put(stream string, known remembered[S], losses uint64) {
	if c.size == 0 || known.version == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if losses != c.losses.Load() {
		return
	}
	e, ok := c.entries[stream]
	if !ok {
		if len(c.entries) == c.size {
			c.drop(c.recent.Back())
		}
		e = c.recent.PushFront(&entry[S]{stream: stream})
		c.entries[stream] = e
	}
	c.recent.MoveToFront(e)
	if kept := e.Value.(*entry[S]); known.version >= kept.version {
		kept.remembered = known
	}
}

// lost drops a stream that has lost events.
func (c *cache[S]) lost(stream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losses.Add(1)
	if e, ok := c.entries[stream]; ok {
		c.drop(e)
	}
}

func (c *cache[S]) drop(e *list.Element) {
	delete(c.entries, e.Value.(*entry[S]).stream)
	c.recent.Remove(e)
}
