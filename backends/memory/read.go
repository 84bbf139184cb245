package memory

import (
	"bytes"
	"context"
	"maps"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// A filtered page looks at so many events at most, so that a rare match does not
// hold the lock for long.
const scanAtOnce = 4096

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	l := b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.streams[req.Stream]
	low, high := bounds(req.After, req.Before, s.version()) // versions low+1 … high
	page := newPage(high-low, req.PageSize)
	for n := low; n < high && !page.full(); n++ {
		version := n + 1
		if req.Backward {
			version = high - (n - low)
		}
		page.add(*l.events.at(s.versions[version-1]))
	}
	return eventstore.Page{Events: page.events, End: uint64(len(page.events)) == high-low}, nil
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	l := b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !req.Backward {
		found := l.place(int(number(req.After.Position)))
		if err := adapter.CheckPlace(req.After, found, l.place(l.events.length).Position, l.id); req.After.Named() && err != nil {
			return eventstore.Page{}, err
		}
	}
	low, high := bounds(number(req.After.Position), firstBeyond(req.Before), uint64(l.events.length)) // positions low+1 … high
	next, all := req.After, req.Filter.IsZero()
	page := newPage(high-low, req.PageSize)
	scanned := uint64(0)
	for ; scanned < high-low && !page.full() && (all || scanned < scanAtOnce); scanned++ {
		i := low + scanned
		if req.Backward {
			i = high - 1 - scanned
		}
		event := *l.events.at(int(i))
		next = event.Place()
		if all || req.Filter.Match(event.Stream, event.Type) {
			page.add(event)
		}
	}
	end := scanned == high-low
	return eventstore.Page{Events: page.events, End: end, Next: next, Sealed: end && l.seal != nil}, nil
}

// number is an event's number in the order, which its position holds.
func number(p eventstore.Position) uint64 {
	hi, _ := p.Words()
	return hi
}

// firstBeyond is the number of the first event at or after a bound. One of another kind
// of store may lie between two events.
func firstBeyond(bound eventstore.Position) uint64 {
	hi, lo := bound.Words()
	if lo > 0 && hi < math.MaxUint64 {
		hi++
	}
	return hi
}

// bounds turns exclusive bounds on numbers from 1 to n, where a before of 0 is
// none, into a half-open range: low < number <= high.
func bounds(after, before, n uint64) (low, high uint64) {
	high = n
	if before != 0 {
		high = min(high, before-1)
	}
	return min(after, high), high
}

// page collects events up to a size, as copies that are the caller's.
type page struct {
	events []eventstore.RecordedEvent
	bytes  int
	size   eventstore.PageSize
}

func newPage(available uint64, size eventstore.PageSize) page {
	return page{size: size, events: make([]eventstore.RecordedEvent, 0, min(available, uint64(size.MaxEvents), 64))}
}

func (p *page) full() bool {
	return len(p.events) >= p.size.MaxEvents || (p.bytes >= p.size.MaxBytes && len(p.events) > 0)
}

func (p *page) add(event eventstore.RecordedEvent) {
	p.bytes += event.Size()
	event.Data = bytes.Clone(event.Data)
	event.Metadata = maps.Clone(event.Metadata)
	p.events = append(p.events, event)
}
