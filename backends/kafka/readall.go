package kafka

import (
	"context"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

const (
	// scanBytes is how much of the log is read at once, and scanAtOnce how many
	// events a filtered page looks at before it is returned, whatever it found.
	scanBytes  = 256 << 10
	scanAtOnce = 4096
	// A backward read takes up to windowRecords at once: firstWindow, and twice as many
	// as long as they are small.
	firstWindow   = 32
	windowRecords = 512
)

// ReadAll implements [eventstore.Backend]. Its places are of events only: what the
// log has beside them, such as refused records, has no position.
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	return b.readAll(ctx, req, false)
}

// readAll is ReadAll; with folded set the log ends where it is folded, and no broker
// is asked whether there is more.
func (b *Backend) readAll(ctx context.Context, req eventstore.ReadAllRequest, folded bool) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	if folded {
		if err := b.lost(); err != nil {
			return eventstore.Page{}, err
		}
	}
	within, cancel := b.within(ctx)
	defer cancel()
	s := &scan{b: b, req: req, page: newPage(req.PageSize), viewed: folded, next: req.After}
	run := s.forward
	if req.Backward {
		run = s.backward
	}
	if err := run(within); err != nil {
		return eventstore.Page{}, b.readError(ctx, err)
	}
	return eventstore.Page{Events: s.page.events, End: s.end, Next: s.next, Sealed: s.end && s.sealed}, nil
}

// scan reads one page of the log.
type scan struct {
	b    *Backend
	req  eventstore.ReadAllRequest
	page *page
	// viewed is set where everything that was acknowledged before the call is folded.
	viewed bool
	seen   int // events considered
	next   eventstore.Place
	end    bool
	sealed bool
}

// view has everything folded that was acknowledged before the call.
func (s *scan) view(ctx context.Context) error {
	s.viewed = true
	return s.b.viewWithin(ctx)
}

// limit returns where the folded log ends, and whether it is sealed there.
func (s *scan) limit() (next int64, err error) {
	l := s.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, s.sealed = l.state.Seal()
	return l.state.Next(), l.halted
}

func (s *scan) forward(ctx context.Context) error {
	if err := s.checkPlace(ctx); err != nil {
		return err
	}
	at := offsetOf(s.req.After.Position)
	for !s.done() {
		next, err := s.limit()
		if err != nil {
			return err
		}
		if s.beyond(at) {
			s.end = true
			return nil
		}
		if at >= next {
			if !s.viewed {
				if err := s.view(ctx); err != nil {
					return err
				}
				continue
			}
			s.end = true
			return nil
		}
		records, err := s.b.readFrom(ctx, at, min(scanBytes, max(s.req.MaxBytes, 32<<10)))
		if err != nil {
			return err
		}
		for _, record := range records {
			if record.Offset >= next || s.done() {
				break
			}
			s.take(record)
			at = record.Offset + 1
		}
		if s.end { // at the upper bound
			return nil
		}
	}
	return nil
}

// checkPlace holds the place that the page begins after against the store.
func (s *scan) checkPlace(ctx context.Context) error {
	place := s.req.After
	if !place.Named() {
		return nil
	}
	err := s.b.log.checkPlace(place)
	if err != nil && !s.viewed {
		// It may be of an event that this process has not heard of yet.
		if err := s.view(ctx); err != nil {
			return err
		}
		err = s.b.log.checkPlace(place)
	}
	return err
}

func (l *folded) checkPlace(place eventstore.Place) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var found eventstore.Place
	if at, ok := l.state.Place(place.Stream, place.Version); ok {
		found = eventstore.Place{Position: at.Position(), Stream: place.Stream, Version: place.Version, ID: at.ID}
	}
	var head eventstore.Position
	if at, _, _, ok := l.state.Head(); ok {
		head = at.Position()
	}
	return adapter.CheckPlace(place, found, head, l.state.Store())
}

// done tells whether the page may be returned. One of a filter is, now and then,
// whatever it found; but only after it has come further.
func (s *scan) done() bool {
	return s.page.full() || (!s.req.Filter.IsZero() && s.seen >= scanAtOnce)
}

// beyond tells whether no event from an offset on is within the upper bound.
func (s *scan) beyond(offset int64) bool {
	return !s.req.Before.IsZero() && !eventstore.NewPosition(uint64(offset), 0).Before(s.req.Before)
}

// take considers the events of a record, in the order of the read.
func (s *scan) take(record connection.Record) {
	d := decode(record)
	versions := s.b.log.versionsOf(d)
	for i := range d.events {
		if s.req.Backward {
			i = len(d.events) - 1 - i
		}
		e, version := d.events[i], versions[i]
		position := fold.Place{Offset: d.offset, Index: e.index}.Position()
		switch {
		case version == 0: // its record was refused, or repeats it
			continue
		case !s.req.After.Position.IsZero() && !s.req.After.Position.Before(position):
			s.end = s.end || s.req.Backward
			continue
		case !s.req.Before.IsZero() && !position.Before(s.req.Before):
			s.end = s.end || !s.req.Backward
			continue
		case s.page.full():
			return
		}
		s.seen++
		s.next = eventstore.Place{Position: position, Stream: e.stream, Version: version, ID: e.event.ID}
		if s.req.Filter.IsZero() || s.req.Filter.Match(e.stream, e.event.Type()) {
			s.page.add(d.recorded(e, version))
		}
	}
}

// versionsOf returns the versions of a record's events, 0 for those that were not
// stored.
func (l *folded) versionsOf(d *decoded) []uint64 {
	versions := make([]uint64, len(d.events))
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i, e := range d.events {
		versions[i] = l.state.VersionAt(e.part.Stream, d.offset, e.index)
	}
	return versions
}

func (s *scan) backward(ctx context.Context) error {
	next, err := s.limit()
	if err == nil && (s.req.Before.IsZero() || offsetOf(s.req.Before) >= next) && !s.viewed {
		if err := s.view(ctx); err != nil {
			return err
		}
		next, err = s.limit()
	}
	if err != nil {
		return err
	}
	high := next // offsets below it are to be considered
	if !s.req.Before.IsZero() {
		high = min(high, offsetOf(s.req.Before)+1)
	}
	lowest := offsetOf(s.req.After.Position)
	size, most := int64(firstWindow), max(scanBytes, s.req.MaxBytes)
	for high > lowest && !s.done() && !s.end {
		low := max(lowest, high-size)
		records, err := window(low, high, most, func(from int64) ([]connection.Record, error) { return s.b.readFrom(ctx, from, scanBytes) })
		if err != nil {
			return err
		}
		if records[0].Offset > low {
			size = int64(len(records)) // what did not fit is read again
		} else {
			size = min(2*size, windowRecords)
		}
		for i := len(records) - 1; i >= 0 && !s.done() && !s.end; i-- {
			s.take(records[i])
			high = records[i].Offset
		}
	}
	s.end = s.end || (high <= lowest && !s.page.full())
	return nil
}

// window reads records forward, for there is no other way, and returns the last ones
// before an offset: one at least, and no more than so many bytes.
func window(low, high int64, most int, read func(from int64) ([]connection.Record, error)) ([]connection.Record, error) {
	var last []connection.Record
	for at, bytes := low, 0; at < high; {
		records, err := read(at)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			if at = record.Offset + 1; at > high {
				break
			}
			last = append(last, record)
			for bytes += len(record.Value); bytes > most && len(last) > 1; last = last[1:] {
				bytes -= len(last[0].Value)
				last[0] = connection.Record{} // let it go
			}
		}
	}
	return last, nil
}
