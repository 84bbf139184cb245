// Package audit keeps the books of a fault test: what a store acknowledged, what
// it refused for certain, and what nobody knows. At the end the books are held
// against what the store holds and what its subscribers were given.
package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Book records the outcome of every append and everything that was delivered.
// It is safe for concurrent use. The zero Book is empty.
type Book struct {
	mu           sync.Mutex
	acknowledged map[uuid.UUID]ack
	refused      map[uuid.UUID]error
	unknown      map[uuid.UUID]error
	deliveries   map[string][]delivery
}

type ack struct {
	stream   string
	version  uint64
	position eventstore.Position
}

type delivery struct {
	id       uuid.UUID
	position eventstore.Position
}

// Append appends one event through store and books the outcome. It returns
// Append's error. Each event is to be appended through one Book once.
func (b *Book) Append(ctx context.Context, store *eventstore.Store, stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error) {
	for i := range events {
		if events[i].ID == uuid.Nil {
			events[i].ID = uuid.Must(uuid.NewV7())
		}
	}
	result, err := store.Append(ctx, stream, expected, events...)
	b.Outcome(stream, events, result, err)
	return result, err
}

// Outcome books the outcome of an append that was made in another way.
func (b *Book) Outcome(stream string, events []eventstore.Event, result eventstore.AppendResult, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acknowledged == nil {
		b.acknowledged, b.refused, b.unknown = map[uuid.UUID]ack{}, map[uuid.UUID]error{}, map[uuid.UUID]error{}
	}
	for i, event := range events {
		switch {
		case err == nil:
			stored := result.Events[i]
			b.acknowledged[event.ID] = ack{stream: stream, version: stored.Version, position: stored.Position}
		case errors.Is(err, eventstore.ErrUnknownOutcome):
			b.unknown[event.ID] = err
		default:
			b.refused[event.ID] = err
		}
	}
}

// Delivered books that a subscriber was given an event.
func (b *Book) Delivered(subscriber string, event eventstore.RecordedEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deliveries == nil {
		b.deliveries = map[string][]delivery{}
	}
	b.deliveries[subscriber] = append(b.deliveries[subscriber], delivery{event.ID, event.Position})
}

// followPause is how long Follow waits after a subscription has ended.
const followPause = 20 * time.Millisecond

// Follow subscribes under a name until ctx ends, and books what it is given. A
// subscription that ends is resumed after the last event.
func (b *Book) Follow(ctx context.Context, store *eventstore.Store, subscriber string) {
	for ctx.Err() == nil {
		for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{After: b.Last(subscriber)}) {
			if err == nil && message.Kind == eventstore.MessageEvent {
				b.Delivered(subscriber, message.Event)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

// Last returns the position of the last event that a subscriber was given.
func (b *Book) Last(subscriber string) eventstore.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.deliveries[subscriber]; len(d) > 0 {
		return d[len(d)-1].position
	}
	return eventstore.Position{}
}

// Totals are the sums of a Book.
type Totals struct{ Acknowledged, Refused, Unknown, Delivered int }

// Totals returns the sums so far.
func (b *Book) Totals() Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := Totals{Acknowledged: len(b.acknowledged), Refused: len(b.refused), Unknown: len(b.unknown)}
	for _, d := range b.deliveries {
		t.Delivered += len(d)
	}
	return t
}

// Findings are what an audit found wrong; all zero is right.
type Findings struct {
	// Lost events were acknowledged and are not in the store, or not where they were
	// acknowledged.
	Lost int
	// Duplicated events are in the store more than once.
	Duplicated int
	// Resurrected events failed for certain and are in the store all the same.
	Resurrected int
	// Foreign events are in the store and in no book.
	Foreign int
	// Torn streams have holes or repeated versions, or an order that differs from
	// the global one.
	Torn int
	// Skipped events lie in the store before a subscriber's last event and were
	// never delivered to it: it was passed by, or the event arrived late.
	Skipped int
	// Repeated events were delivered to one subscriber more than once or out of
	// order.
	Repeated int
	// Examples name the first few of the above.
	Examples []string
}

// Clean tells whether nothing was found.
func (f Findings) Clean() bool {
	return f.Lost+f.Duplicated+f.Resurrected+f.Foreign+f.Torn+f.Skipped+f.Repeated == 0
}

func (f Findings) String() string {
	return fmt.Sprintf("lost %d, duplicated %d, resurrected %d, foreign %d, torn %d, skipped %d, repeated %d\n%s",
		f.Lost, f.Duplicated, f.Resurrected, f.Foreign, f.Torn, f.Skipped, f.Repeated, strings.Join(f.Examples, "\n"))
}

func (f *Findings) add(count *int, format string, args ...any) {
	*count++
	if len(f.Examples) < 10 {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// Audit holds the book against a store's whole content, in its global order.
func (b *Book) Audit(stored iter.Seq2[eventstore.RecordedEvent, error]) (Findings, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found Findings
	places := map[uuid.UUID]eventstore.RecordedEvent{}
	versions := map[string]uint64{}
	var order []delivery
	for event, err := range stored {
		if err != nil {
			return found, err
		}
		if _, twice := places[event.ID]; twice {
			found.add(&found.Duplicated, "event %s is stored twice", event.ID)
		}
		event.Data, event.Metadata = nil, nil
		places[event.ID] = event
		order = append(order, delivery{event.ID, event.Position})
		if event.Version != versions[event.Stream]+1 {
			found.add(&found.Torn, "stream %q goes from version %d to %d", event.Stream, versions[event.Stream], event.Version)
		}
		versions[event.Stream] = event.Version
		b.auditStored(&found, event)
	}
	for id, a := range b.acknowledged {
		event, ok := places[id]
		switch {
		case !ok:
			found.add(&found.Lost, "event %s was acknowledged as version %d of %q and is not stored", id, a.version, a.stream)
		case event.Stream != a.stream || event.Version != a.version || event.Position != a.position:
			found.add(&found.Lost, "event %s was acknowledged as version %d of %q at %s and is version %d of %q at %s",
				id, a.version, a.stream, a.position, event.Version, event.Stream, event.Position)
		}
	}
	for subscriber, given := range b.deliveries {
		auditDeliveries(&found, subscriber, given, order)
	}
	return found, nil
}

func (b *Book) auditStored(found *Findings, event eventstore.RecordedEvent) {
	if err, refused := b.refused[event.ID]; refused {
		found.add(&found.Resurrected, "event %s failed for certain (%v) and is stored", event.ID, err)
		return
	}
	_, acknowledged := b.acknowledged[event.ID]
	_, unknown := b.unknown[event.ID]
	if !acknowledged && !unknown {
		found.add(&found.Foreign, "event %s is stored and was never appended", event.ID)
	}
}

// auditDeliveries holds what one subscriber was given against the order of the store.
func auditDeliveries(found *Findings, subscriber string, given, order []delivery) {
	if len(given) == 0 {
		return
	}
	seen := make(map[uuid.UUID]struct{}, len(given))
	var last eventstore.Position
	for _, d := range given {
		if !last.Before(d.position) {
			found.add(&found.Repeated, "subscriber %q was given position %s after %s", subscriber, d.position, last)
		}
		last = d.position
		seen[d.id] = struct{}{}
	}
	for _, d := range order {
		if _, ok := seen[d.id]; !ok && !last.Before(d.position) {
			found.add(&found.Skipped, "subscriber %q was never given event %s at position %s", subscriber, d.id, d.position)
		}
	}
}
