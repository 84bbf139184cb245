package move

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// tail takes the digests of a store from what is read back from it.
type tail struct {
	name  string // "FROM" or "TO"
	store *eventstore.Store

	mu      sync.Mutex
	digests *transfer.Digests
	refused *decisions       // of TO; nil of FROM
	place   eventstore.Place // of the last event that is in the digests
	ended   bool             // what comes now does not belong to the move

	// orders are the order's digests after the last events, of known in all: a ring.
	orders []transfer.Digest
	known  int
}

// recentOrders is for how many events back a tail tells the order's digest: more than the
// one of two tails is behind the other when FROM is about to be sealed, in most stores.
const recentOrders = 1 << 16

func newTail(name string, store *eventstore.Store, asJSON bool, other string) *tail {
	return &tail{name: name, store: store, digests: transfer.NewDigests(asJSON, other)}
}

func (t *tail) add(event eventstore.RecordedEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		if t.refused != nil {
			t.refused.add(event, transfer.Restore(event, t.digests.Source))
		}
		t.digests.Add(event)
		t.place = event.Place()
		if i := t.known % recentOrders; i < len(t.orders) {
			t.orders[i] = t.digests.Order
		} else {
			t.orders = append(t.orders, t.digests.Order)
		}
		t.known++
	}
}

// orderAt returns the digest of the order of the first n events, and whether it is known.
func (t *tail) orderAt(n int) (transfer.Digest, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch back := t.digests.Events - n; {
	case back == 0:
		return t.digests.Order, true
	case back < 0 || back >= len(t.orders):
		return transfer.Digest{}, false
	default:
		return t.orders[(t.known-1-back)%recentOrders], true
	}
}

// end returns the digests, to which nothing is added any more.
func (t *tail) end() *transfer.Digests {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.digests
}

// fresh returns a tail of the same store that has read nothing.
func (t *tail) fresh() *tail {
	next := newTail(t.name, t.store, t.digests.AsJSON, t.digests.Source)
	if t.refused != nil {
		next.refused = new(decisions)
	}
	return next
}

// replace takes over what another tail of the same store has read.
func (t *tail) replace(other *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.digests, t.refused, t.place = other.digests, other.refused, other.place
	t.orders, t.known = other.orders, other.known
}

// at returns how many events were read, and the place of the last one.
func (t *tail) at() (events int, place eventstore.Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.digests.Events, t.place
}

// explain says why the events of TO are otherwise there, where this run knows it.
func (t *tail) explain(copied []transfer.Decision, fits map[event]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused.explain(copied, fits)
}

// saved returns what is to be kept for the next start.
func (t *tail) saved() savedTail {
	t.mu.Lock()
	defer t.mu.Unlock()
	return savedTail{
		Digests: t.digests.Clone(), Refused: t.refused.clone(), Position: t.place.Position.String(),
		Stream: t.place.Stream, Version: t.place.Version, ID: t.place.ID,
	}
}

// read takes in what the store holds now. each, which may be nil, is called with
// every event before it is in the digests, and with their number.
func (t *tail) read(ctx context.Context, each func(eventstore.RecordedEvent)) error {
	for event, err := range t.store.ReadAll(ctx, eventstore.ReadAllOptions{After: t.place.Position}) {
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, restored(err))
		}
		if each != nil {
			each(event)
		}
		t.add(event)
	}
	return nil
}

// follow takes in what comes, until ctx is done. check, which may be nil, ends it.
func (t *tail) follow(ctx context.Context, check func(eventstore.RecordedEvent) error) error {
	_, place := t.at()
	for message, err := range t.store.Subscribe(ctx, eventstore.SubscribeOptions{After: place.Position}) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", t.name, restored(err))
		case message.Kind == eventstore.MessageEvent:
			if check != nil {
				if err := check(message.Event); err != nil {
					return err
				}
			}
			t.add(message.Event)
		}
	}
	return nil
}

// restored says what it means that a store no longer holds what was read from it.
func restored(err error) error {
	if errors.Is(err, eventstore.ErrForeignCheckpoint) || errors.Is(err, eventstore.ErrCheckpointAhead) {
		return fmt.Errorf("%w: it no longer holds what was read from it; it was restored from a backup, or replaced: %w", ErrRefused, err)
	}
	return err
}
