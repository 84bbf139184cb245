package esdb

import (
	"context"
	"sync"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// heads knows the last event that the store shows, and how far it has looked for
// it: on a server that others write to, only what is new is looked at again.
type heads struct {
	mu      sync.Mutex
	head    eventstore.Position
	scanned eventstore.Position // there is no event of the store between head and here
}

// last returns the position of the store's last event, zero where it has none.
func (h *heads) last(ctx context.Context, b *Backend) (eventstore.Position, error) {
	h.mu.Lock()
	known := h.scanned
	h.mu.Unlock()
	found, newest, err := b.scanBack(ctx, known)
	if err != nil {
		return eventstore.Position{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.head.Before(found) {
		h.head = found
	}
	if h.scanned.Before(newest) {
		h.scanned = newest
	}
	return h.head, nil
}

// atOrBefore returns a position at or before the given one that does not lie
// beyond the store's last event, and has no event of the store between the two.
func (h *heads) atOrBefore(ctx context.Context, b *Backend, at eventstore.Position) (eventstore.Position, error) {
	h.mu.Lock()
	head := h.head
	h.mu.Unlock()
	if head.Before(at) {
		var err error
		if head, err = h.last(ctx, b); err != nil {
			return head, err
		}
	}
	if head.Before(at) {
		return head, nil
	}
	return at, nil
}

// scanBack looks for the store's last event from the end of $all back to a
// position. newest is the position of the last record of all.
func (b *Backend) scanBack(ctx context.Context, until eventstore.Position) (found, newest eventstore.Position, err error) {
	var from eventstore.Position
	for count := 32; ; count = scanAtOnce {
		type look struct {
			found, first, last eventstore.Position
			done               bool
		}
		seen, err := do(ctx, b.conn, func(ctx context.Context, c *client.Client) (look, error) {
			var l look
			received := 0
			read, err := c.ReadAll(ctx, allFrom(from, true), uint64(count))
			if err != nil {
				return l, err
			}
			err = receive(read, func(event *client.ResolvedEvent) bool {
				received++
				record := event.OriginalEvent()
				l.last = position(record.Position)
				if l.first.IsZero() {
					l.first = l.last
				}
				if _, ok := b.event(record); ok && until.Before(l.last) {
					l.found = l.last
				}
				l.done = !l.found.IsZero() || !until.Before(l.last)
				return !l.done
			})
			l.done = l.done || received < count
			return l, err
		})
		if err != nil {
			return found, newest, err
		}
		if newest.IsZero() {
			newest = seen.first
		}
		if seen.done {
			return seen.found, newest, nil
		}
		from = seen.last
	}
}
