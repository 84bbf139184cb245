package linelog

import (
	"bytes"
	"context"
	"maps"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	var page eventstore.Page
	err := b.read(ctx, func() {
		versions := b.streams[req.Stream]
		page.Events, _, page.End = collect(req.After, req.Before, len(versions), req.Backward, req.PageSize, func(i int) *eventstore.RecordedEvent {
			return &b.events[versions[i]]
		})
	})
	return page, err
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	var page eventstore.Page
	err := b.read(ctx, func() {
		var last uint64
		page.Events, last, page.End = collect(word(req.After), word(req.Before), len(b.events), req.Backward, req.PageSize, func(i int) *eventstore.RecordedEvent {
			if event := &b.events[i]; req.Filter.Match(event.Stream, event.Type) {
				return event
			}
			return nil
		})
		page.Store = b.store
		switch {
		case last != 0:
			page.Next = eventstore.NewPosition(last, 0)
		case req.Backward:
			page.Next = req.Before
		default:
			page.Next = req.After
		}
	})
	return page, err
}

// read runs fn on a state that is up to date.
func (b *Backend) read(ctx context.Context, fn func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return eventstore.ErrClosed
	}
	if err := b.catchUp(); err != nil {
		return err
	}
	fn()
	return nil
}

func word(p eventstore.Position) uint64 {
	hi, _ := p.Words()
	return hi
}

// collect walks the numbers between after and before, of 1 to n, and copies what
// at returns for their indexes until the page is full. last is the last number
// that it looked at, or 0; end tells whether it looked at all of them.
func collect(after, before uint64, n int, backward bool, size eventstore.PageSize, at func(i int) *eventstore.RecordedEvent) (events []eventstore.RecordedEvent, last uint64, end bool) {
	high := uint64(n)
	if before != 0 {
		high = min(high, before-1)
	}
	bytes := 0
	for low := min(after, high); low < high; {
		if len(events) >= size.MaxEvents || (bytes >= size.MaxBytes && len(events) > 0) {
			return events, last, false
		}
		if backward {
			last = high
			high--
		} else {
			low++
			last = low
		}
		if event := at(int(last - 1)); event != nil {
			bytes += event.Size()
			events = append(events, copyOf(*event))
		}
	}
	return events, last, true
}

// copyOf returns an event that the caller may change.
func copyOf(event eventstore.RecordedEvent) eventstore.RecordedEvent {
	event.Data = bytes.Clone(event.Data)
	event.Metadata = maps.Clone(event.Metadata)
	return event
}
