package shred

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// CacheOptions configures a [Cache]. The zero value, like nil, means the defaults.
type CacheOptions struct {
	// TTL is how long a key is held, and so how long another process's Delete may go
	// unnoticed in this one; 0 means 1 min.
	TTL time.Duration
	// Size is the most subjects that are held; 0 means 10,000.
	Size int
}

// Cache is a [KeyStore] that holds the keys of another one in memory, so that a read
// of many events does not ask for a key for each. Its own Delete takes effect in it at
// once. Make it with [NewCache].
type Cache struct {
	keys KeyStore
	ttl  time.Duration
	size int

	mu      sync.Mutex
	answers map[string]answer
	queue   []held // every answer in the order in which they expire, and some that are gone
	deletes uint64
}

// answer is a key, or that it was deleted.
type answer struct {
	key     Key
	err     error
	expires time.Time
}

type held struct {
	subject string
	expires time.Time
}

// NewCache returns a cache of a key store. A negative TTL or Size counts as zero.
func NewCache(keys KeyStore, opts *CacheOptions) *Cache {
	if opts == nil {
		opts = &CacheOptions{}
	}
	return &Cache{
		keys: keys, answers: make(map[string]answer),
		ttl: cmp.Or(max(opts.TTL, 0), time.Minute), size: cmp.Or(max(opts.Size, 0), 10_000),
	}
}

// Key implements [KeyStore].
func (c *Cache) Key(ctx context.Context, subject string, create bool) (Key, error) {
	c.mu.Lock()
	known, found := c.answers[subject]
	deletes := c.deletes
	c.mu.Unlock()
	if found && time.Now().Before(known.expires) {
		return known.key, known.err
	}
	key, err := c.keys.Key(ctx, subject, create)
	if err == nil || errors.Is(err, ErrShredded) {
		c.hold(subject, key, err, deletes)
	}
	return key, err
}

// hold keeps an answer that was asked for after so many deletes. One that was under
// way while a key was deleted may be from before that.
func (c *Cache) hold(subject string, key Key, err error, deletes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deletes != deletes {
		return
	}
	now := time.Now()
	for len(c.queue) > 0 && (len(c.answers) >= c.size || !now.Before(c.queue[0].expires)) {
		if oldest := c.queue[0]; c.answers[oldest.subject].expires.Equal(oldest.expires) {
			delete(c.answers, oldest.subject)
		}
		c.queue = c.queue[1:]
	}
	expires := now.Add(c.ttl)
	c.answers[subject] = answer{key, err, expires}
	c.queue = append(c.queue, held{subject, expires})
}

// Delete implements [KeyStore]. The key is dropped also where deleting it failed.
func (c *Cache) Delete(ctx context.Context, subject string) error {
	err := c.keys.Delete(ctx, subject)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deletes++
	delete(c.answers, subject)
	return err
}
