package esdbtest

import "github.com/google/uuid"

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
