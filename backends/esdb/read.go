package esdb

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// tombstoneType is the type of the record that ends a stream for good. It is in
// $all, with no revision, and is no event of the stream.
const tombstoneType = "$streamDeleted"

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	name, err := b.names.readable(req.Stream)
	if err != nil {
		return eventstore.Page{}, err
	}
	r := streamRead{stream: name, from: req.After, count: uint64(req.MaxEvents), links: b.options.ResolveLinks}
	if req.After >= math.MaxInt64 {
		return eventstore.Page{End: true}, nil // the server counts no further
	}
	if req.Before != 0 {
		if req.Before-1 <= req.After {
			return eventstore.Page{End: true}, nil
		}
		r.count = min(r.count, req.Before-1-req.After)
	}
	if req.Backward {
		r.backward, r.from = true, fromEnd
		if req.Before != 0 {
			r.from = req.Before - 2
		}
	}
	page, past := newPage(req.PageSize), false
	err = b.conn.readStream(ctx, r, func(read *recorded) bool {
		event := b.resolved(read, req.Stream)
		if past = event.Version <= req.After || (req.Before != 0 && event.Version >= req.Before); past {
			return false
		}
		return page.add(event)
	})
	if err != nil && !errors.Is(err, errNoStream) && !errors.Is(err, errTombstoned) {
		return eventstore.Page{}, mapError(ctx, err)
	}
	page.End = past || !page.full
	return page.Page, nil
}

// resolved decodes an event of a stream read: a link's target, if it was asked
// for and exists, in the link's place.
func (b *Backend) resolved(read *recorded, stream string) eventstore.RecordedEvent {
	event := decode(read, stream)
	if read.target != nil {
		event.Event = decode(read.target, stream).Event
	}
	return event
}

// pageBuilder collects events up to a size.
type pageBuilder struct {
	eventstore.Page
	size  eventstore.PageSize
	bytes int
	full  bool
}

func newPage(size eventstore.PageSize) pageBuilder { return pageBuilder{size: size} }

// add takes an event and tells whether there is room for more.
func (p *pageBuilder) add(event eventstore.RecordedEvent) bool {
	p.Events = append(p.Events, event)
	p.bytes += event.Size()
	p.full = len(p.Events) >= p.size.MaxEvents || p.bytes >= p.size.MaxBytes
	return !p.full
}

// ReadAll implements [eventstore.Backend].
//
// The server filters as far as it can. Page.Next is always the position of an
// event of the store, never of a hidden one or beyond the store's last: a resume
// point must not lie there.
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	s := scan{b: b, req: req, page: newPage(req.PageSize), filter: b.names.filter(req.Filter), from: req.After, count: req.MaxEvents + 1}
	s.page.Next = req.After
	if req.Backward {
		s.from, s.page.Next = req.Before, req.Before
	}
	if err := s.run(ctx); err != nil {
		return eventstore.Page{}, mapError(ctx, err)
	}
	s.page.Store = b.identity
	return s.page.Page, nil
}

// scan is a read of $all under way.
type scan struct {
	b      *Backend
	req    eventstore.ReadAllRequest
	page   pageBuilder
	filter serverFilter
	from   eventstore.Position // the last raw position that was considered
	count  int                 // how many events the next call asks for
	seen   bool                // some were the store's
	done   bool
}

// mostAtOnce is how many events one call asks for, at most, where few of them are
// the caller's.
const mostAtOnce = 1024

func (s *scan) run(ctx context.Context) error {
	if err := s.toEnd(ctx); err != nil || !s.page.End || s.req.Backward || s.req.Filter.IsZero() {
		return err
	}
	// Nothing matched up to the end: how far that is, the filter keeps from us. What
	// was written meanwhile is looked through once more.
	head, err := s.b.head(ctx)
	if err != nil || !s.page.Next.Before(head) || (!s.req.Before.IsZero() && !head.Before(s.req.Before)) {
		return err
	}
	s.done, s.page.End = false, false
	if err := s.toEnd(ctx); err != nil || !s.page.End {
		return err
	}
	if s.page.Next.Before(head) {
		s.page.Next = head
	}
	return nil
}

// toEnd reads until the page is full, the end or a bound was reached, or some of
// the store's events were considered.
func (s *scan) toEnd(ctx context.Context) error {
	for !s.done {
		if err := s.step(ctx); err != nil {
			return err
		}
		s.count = max(s.count, min(8*s.count, mostAtOnce))
	}
	return nil
}

// step makes one call.
func (s *scan) step(ctx context.Context) error {
	received, past, from := 0, false, s.from
	err := s.b.conn.readAll(ctx, from, s.req.Backward, s.filter, s.count, func(read *recorded) (more bool) {
		received++
		more, past = s.take(read, from)
		return more
	})
	if isUnreadablePosition(err) {
		return s.beyond(ctx, err)
	}
	if err != nil {
		return err
	}
	s.page.End = past || (!s.page.full && received < s.count)
	s.done = s.page.End || s.page.full || s.seen
	return nil
}

// beyond answers for a position that the server refused to begin at, because no
// event has it. Beyond the end that is fine: there is nothing after it, and
// everything before it.
func (s *scan) beyond(ctx context.Context, refusal error) error {
	last, err := s.b.lastRecord(ctx)
	switch {
	case err != nil:
		return err
	case s.from.Before(last):
		return foreignPosition(s.from, refusal)
	case s.req.Backward:
		s.from = eventstore.Position{}
	default:
		s.done, s.page.End = true, true
	}
	return nil
}

// take considers one record of $all.
func (s *scan) take(read *recorded, from eventstore.Position) (more, past bool) {
	at := read.position
	switch {
	case at == from, s.req.Backward && !from.IsZero() && !at.Before(from), !s.req.Backward && at.Before(from):
		return true, false // the place to go on from is included
	case !s.req.Backward && !s.req.Before.IsZero() && !at.Before(s.req.Before), s.req.Backward && !s.req.After.Before(at):
		return false, true
	}
	s.from = at
	stream, ok := s.b.event(read)
	if !ok {
		return true, false
	}
	s.seen = true
	s.page.Next = at
	if !s.req.Filter.Match(stream, read.eventType) {
		return true, false
	}
	return s.page.add(decode(read, stream)), false
}

// event tells whether a record of $all is an event of the store, and of which stream.
func (b *Backend) event(read *recorded) (stream string, ok bool) {
	stream, ok = b.names.visible(read.stream)
	return stream, ok && read.eventType != tombstoneType && read.revision < math.MaxInt64
}

// head returns the position of the store's last event, zero where it has none.
func (b *Backend) head(ctx context.Context) (eventstore.Position, error) {
	s := scan{
		b: b, req: eventstore.ReadAllRequest{Backward: true}, filter: b.names.filter(eventstore.Filter{}), count: 1,
		page: newPage(eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}),
	}
	if err := s.toEnd(ctx); err != nil || len(s.page.Events) == 0 {
		return eventstore.Position{}, err
	}
	return s.page.Events[0].Position, nil
}

// lastRecord returns the position of the last record of $all, hidden or not.
func (b *Backend) lastRecord(ctx context.Context) (last eventstore.Position, err error) {
	err = b.conn.readAll(ctx, eventstore.Position{}, true, serverFilter{}, 1, func(read *recorded) bool {
		last = read.position
		return true
	})
	return last, err
}

// foreignPosition is the error for a position where no event begins.
func foreignPosition(at eventstore.Position, err error) error {
	return fmt.Errorf("%w: %w", &eventstore.InvalidError{Field: "position", Reason: at.String() + " is no event's; pass one that this store gave"}, err)
}
