package esdb

import (
	"context"
	"fmt"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// ReadAll implements [eventstore.Backend].
//
// The server filters as far as it can, and so does not say how far it came where
// nothing matched. The store's head is read before the look for that: once the log's
// end was reached, everything up to it was considered.
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	s := b.newScan(req)
	run := s.forward
	if req.Backward {
		run = s.backward
	}
	if err := run(ctx); err != nil {
		return eventstore.Page{}, mapError(ctx, err)
	}
	return s.page.Page, nil
}

// scan is a read of $all under way.
type scan struct {
	b      *Backend
	req    eventstore.ReadAllRequest
	page   pageBuilder
	filter serverFilter
	from   eventstore.Position // the last position that was considered
	count  int                 // how many events the next call asks for
	done   bool

	begin eventstore.Position // no event of the store lies before it; zero: unknown
	last  *recorded           // the last one that is the store's
	at    *recorded           // the record at the request's After, if it was among those read
}

func (b *Backend) newScan(req eventstore.ReadAllRequest) *scan {
	s := &scan{
		b: b, req: req, page: newPage(req.PageSize), filter: b.names.filter(req.Filter), count: req.MaxEvents,
		begin: b.extent.beginning(),
	}
	if !req.Backward {
		s.count++ // the place to go on from is included
	}
	return s
}

// mostAtOnce is how many events one call asks for, at most, where few of them are
// the caller's.
const mostAtOnce = 1024

func (s *scan) backward(ctx context.Context) error {
	s.from, s.page.Next = s.req.Before, eventstore.Place{Position: s.req.Before}
	return s.toEnd(ctx)
}

func (s *scan) forward(ctx context.Context) error {
	s.page.Next = s.req.After
	var head eventstore.Place
	if !s.req.Filter.IsZero() {
		var err error
		if head, err = s.b.head(ctx); err != nil {
			return err
		}
		if !s.req.After.Position.Before(head.Position) {
			s.page.End = true // nothing was written since
			return s.verify(ctx)
		}
	}
	quiet, err := s.start(ctx)
	if err != nil {
		return err
	}
	if err := s.toEnd(ctx); err != nil {
		return err
	}
	if !quiet {
		if err := s.verify(ctx); err != nil {
			return err
		}
	}
	beyond := !s.req.Before.IsZero() && !head.Position.Before(s.req.Before)
	if s.page.End && !beyond && s.page.Next.Position.Before(head.Position) {
		s.page.Next = head
	}
	return nil
}

// start sets where a read forward begins. After the store's last event that is the
// end of the stretch that is known to hold none, if this is still the same log:
// then the record at After is too, and quiet is true.
func (s *scan) start(ctx context.Context) (quiet bool, err error) {
	s.from = s.req.After.Position
	known := s.b.extent.known()
	if s.from.Before(known.to) && (s.req.After == known.head || s.req.After == eventstore.Place{Position: known.head.Position}) {
		record, err := s.b.recordAt(ctx, known.to)
		if err != nil {
			return false, err
		}
		if record != nil && record.id == known.record {
			s.from = known.to
			return true, nil
		}
	}
	if s.from.IsZero() && !s.begin.IsZero() {
		mark, err := s.b.recordAt(ctx, s.begin)
		if err != nil {
			return false, err
		}
		if mark != nil && mark.stream == s.b.names.identity() {
			s.from = s.begin
		} else {
			s.b.extent.setBeginning(eventstore.Position{}) // another log answers
			s.begin = eventstore.Position{}
		}
	}
	return false, nil
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
	s.done = s.page.End || s.page.full || s.last != nil
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
	case last != nil && s.from.Before(last.position):
		return s.b.foreignPlace(ctx, s.req.After, s.from, refusal)
	case s.req.Backward:
		s.from = eventstore.Position{}
	default:
		s.done, s.page.End = true, true
	}
	return nil
}

// foreignPlace is the error for a position where no event begins: of another store,
// if it was an event's, and otherwise a mistake of the caller's.
func (b *Backend) foreignPlace(ctx context.Context, after eventstore.Place, at eventstore.Position, refusal error) error {
	if !after.Named() || after.Position != at {
		return fmt.Errorf("%w: %w", &eventstore.InvalidError{Field: "position", Reason: at.String() + " is no event's; pass one that this store gave"}, refusal)
	}
	id, err := b.identity(ctx)
	if err != nil {
		return err
	}
	return &eventstore.ForeignCheckpointError{Checkpoint: id, Store: id, Place: after}
}

// take considers one record of $all.
func (s *scan) take(read *recorded, from eventstore.Position) (more, past bool) {
	at := read.position
	switch {
	case at == from && !s.req.Backward: // the place to go on from is included
		if at == s.req.After.Position {
			s.at = read
		}
		return true, false
	case !s.req.Backward && !s.req.Before.IsZero() && !at.Before(s.req.Before),
		s.req.Backward && !s.req.After.Position.Before(at),
		s.req.Backward && at == s.begin && read.stream == s.b.names.identity():
		return false, true
	}
	s.from = at
	event, ok := s.b.event(read)
	if !ok {
		return true, false
	}
	s.last, s.page.Next = read, event.Place()
	if !s.req.Filter.Match(event.Stream, event.Type) {
		return true, false
	}
	return s.page.add(event), false
}

// verify holds the place that the read went on from against the log as it is now,
// after the page was read: a log in which that record stands now is the one that
// the page is from.
func (s *scan) verify(ctx context.Context) error {
	after := s.req.After
	if !after.Named() {
		return nil
	}
	record := s.at
	if record == nil {
		var err error
		if record, err = s.b.recordAt(ctx, after.Position); err != nil {
			return err
		}
	}
	if record != nil {
		if found, _ := s.b.place(record); found != after {
			return s.b.checkPlace(ctx, after, found, after.Position)
		}
		return nil
	}
	// Its absence proves nothing, for a scavenge may have removed it, unless the
	// store ends before it.
	head, err := s.b.head(ctx)
	if err != nil || !head.Position.Before(after.Position) {
		return err
	}
	return s.b.checkPlace(ctx, after, eventstore.Place{}, head.Position)
}

func (b *Backend) checkPlace(ctx context.Context, want, found eventstore.Place, head eventstore.Position) error {
	id, err := b.identity(ctx)
	if err != nil {
		return err
	}
	return adapter.CheckPlace(want, found, head, id)
}

// event decodes a record of $all, if it is an event of the store.
func (b *Backend) event(read *recorded) (eventstore.RecordedEvent, bool) {
	stream, ok := b.names.visible(read.stream)
	if !ok || read.eventType == tombstoneType || read.revision >= math.MaxInt64 {
		return eventstore.RecordedEvent{}, false
	}
	return decode(read, stream), true
}

// place returns where a record of $all is, if it is an event of the store.
func (b *Backend) place(read *recorded) (eventstore.Place, bool) {
	event, ok := b.event(read)
	return event.Place(), ok
}
