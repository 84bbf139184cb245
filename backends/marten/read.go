package marten

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// A page looks at so many numbers at most, so that a rare match keeps neither the server
// nor a subscription's progress waiting.
const pageWindow = 100_000

// ReadStream implements [eventstore.Backend]. What it shows was committed in the order
// of the stream's versions: it waits for nobody.
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (page eventstore.Page, err error) {
	err = b.call(ctx, func(ctx context.Context) error {
		page, err = b.readStream(ctx, req)
		return err
	})
	return page, err
}

func (b *Backend) readStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	key, err := b.names.stream(req.Stream)
	if err != nil {
		return eventstore.Page{}, err
	}
	q := query{sql: b.sql(), order: "version", backward: req.Backward}
	q.where("e.stream_id = " + q.param(key.id) + "::" + b.sql().id)
	if req.After > 0 {
		q.where("e.version > " + q.param(pgdriver.Clamp(req.After)))
	}
	if req.Before > 0 {
		q.where("e.version < " + q.param(pgdriver.Clamp(req.Before)))
	}
	q.where(b.sql().live)
	limit := b.reading.Limit(req.PageSize)
	rows, err := b.pool.Query(ctx, q.events(limit), q.args...)
	if err != nil {
		return eventstore.Page{}, err
	}
	var got collected
	err = eachRow(rows, func(r *row) (bool, error) {
		event, err := b.event(r, &got.names)
		if err == nil && event.Stream != req.Stream {
			err = otherName(req.Stream, event.Stream)
		}
		return got.add(event, limit, req.PageSize), err
	})
	b.reading.Learn(len(got.events), got.bytes)
	return eventstore.Page{Events: got.events, End: !got.full}, err
}

// otherName refuses a second spelling of a stream.
func otherName(asked, right string) error {
	return invalid("stream", "%q is %q here: one stream has one name", asked, right)
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (page eventstore.Page, err error) {
	err = b.call(ctx, func(ctx context.Context) error {
		page, err = b.readAll(ctx, req, 0)
		return err
	})
	return page, err
}

// readAll reads a page. Where patience is above zero a page that would wait for longer
// ends where the order is settled, as a live reader wants that looks again.
func (b *Backend) readAll(ctx context.Context, req eventstore.ReadAllRequest, patience time.Duration) (eventstore.Page, error) {
	r := reading{b: b, req: req, patience: patience, from: pgdriver.After(req.After.Position), top: math.MaxInt64}
	if !req.Before.IsZero() {
		r.top = pgdriver.Before(req.Before) - 1
	}
	if req.Backward {
		return r.backward(ctx)
	}
	return r.forward(ctx)
}

// reading is a read of the global order: of the numbers after from up to top.
type reading struct {
	b         *Backend
	req       eventstore.ReadAllRequest
	patience  time.Duration
	from, top int64
}

// forward reads as far as the order is ready. Only where there is an event that it must
// not deliver yet does it wait.
func (r *reading) forward(ctx context.Context) (eventstore.Page, error) {
	for {
		ready, started, err := r.b.water.now(ctx) // before the page
		if err != nil {
			return eventstore.Page{}, err
		}
		waited := false
		if ready <= r.from {
			seen, more, err := r.b.water.beyond(ctx, r.from, r.patience)
			if err != nil {
				return eventstore.Page{}, err
			}
			ready, started, waited = seen.ready, seen.started, more && seen.ready <= r.from
		}
		to := max(r.from, min(ready, r.top, r.from+pageWindow)) // the last may be beyond the last number
		got, err := r.page(ctx, r.from, to)
		if err != nil {
			return eventstore.Page{}, err
		}
		if !got.started.Equal(started) { // another server, of which this was not known
			if err := r.b.water.isOf(ctx, got.started); err != nil {
				return eventstore.Page{}, err
			}
			r.from = pgdriver.After(r.req.After.Position)
			continue
		}
		page := eventstore.Page{Events: got.events, Next: got.next(r.req.After)}
		if got.full {
			return page, nil
		}
		if got.passed.Named() {
			page.Next = got.passed
		}
		page.End = waited || got.visible == 0 || to >= r.top
		if page.End || len(got.events) > 0 || got.passed.Named() {
			return page, nil
		}
		r.from = to // nothing of ours in these numbers
	}
}

// backward reads from the top, or from the last event, when the order is ready so far.
// Then it begins at what is ready: an append that came meanwhile may lie around what was
// the last event.
func (r *reading) backward(ctx context.Context) (eventstore.Page, error) {
	var last int64
	top := r.top
	if err := r.b.pool.QueryRow(ctx, r.b.sql().lastAfter(), 0).Scan(&last); err != nil {
		return eventstore.Page{}, err
	}
	if err := r.b.water.reach(ctx, min(r.top, last)); err != nil {
		return eventstore.Page{}, err
	}
	ready, started, err := r.b.water.now(ctx)
	if err != nil {
		return eventstore.Page{}, err
	}
	r.top = min(r.top, max(last, ready))
	for {
		low := max(r.from, r.top-pageWindow)
		got, err := r.page(ctx, low, r.top)
		if err != nil {
			return eventstore.Page{}, err
		}
		if !got.started.Equal(started) { // as in forward
			if err := r.b.water.isOf(ctx, got.started); err != nil {
				return eventstore.Page{}, err
			}
			r.top = top
			return r.backward(ctx)
		}
		page := eventstore.Page{Events: got.events, Next: got.next(eventstore.Place{Position: r.req.Before})}
		if got.full {
			return page, nil
		}
		if got.passed.Named() {
			page.Next = got.passed
		}
		page.End = low == r.from
		if page.End || len(got.events) > 0 || got.passed.Named() {
			return page, nil
		}
		r.top = low
	}
}

// pageOf is what was read at once.
type pageOf struct {
	collected
	visible int64     // the number of the last event after the page's numbers; 0 where there is none
	started time.Time // when the server was that it was read of
	// passed is the last event of the page's numbers, in its direction, match or not: what
	// was delivered may be skipped or archived since.
	passed eventstore.Place
}

// page reads the events of the numbers after low up to high.
func (r *reading) page(ctx context.Context, low, high int64) (pageOf, error) {
	sql := r.b.sql()
	q := query{sql: sql, order: "seq_id", backward: r.req.Backward}
	first, last := q.param(low), q.param(high)
	q.where("e.seq_id > " + first)
	q.where("e.seq_id <= " + last)
	q.where(sql.live)
	r.b.filter(&q, r.req.Filter)
	head := q.head(r.b, r.req.After, r.req.After.Named() && !r.req.Backward, last) + q.passed(first, last)
	limit := r.b.reading.Limit(r.req.PageSize)
	rows, err := r.b.pool.Query(ctx, head+` union all (`+q.events(limit)+`)`, q.args...)
	if err != nil {
		return pageOf{}, err
	}
	var got pageOf
	isHead, moved := true, false
	err = eachRow(rows, func(row *row) (bool, error) {
		switch {
		case isHead: // no event: see query.head
			isHead, got.visible, got.started, moved = false, row.seq, row.at, row.version == 0
			if row.timeNull {
				return false, errReplica
			}
			return !moved, nil
		case row.kind == nil: // what was passed
			got.passed = eventstore.Place{Position: pgdriver.Position(row.seq), Stream: string(row.stream), Version: uint64(row.version), ID: row.id}
			return true, nil
		}
		event, err := r.b.event(row, &got.names)
		return got.add(event, limit, r.req.PageSize), err
	})
	if err == nil && moved {
		err = r.missing(ctx)
	}
	r.b.reading.Learn(len(got.events), got.bytes)
	return got, err
}

// missing says why a page cannot follow its place: what the store has there instead.
func (r *reading) missing(ctx context.Context) error {
	want := r.req.After
	found, err := r.b.placeAt(ctx, pgdriver.After(want.Position))
	if err != nil {
		return err
	}
	info, err := r.b.info(ctx)
	if err != nil {
		return err
	}
	if err := adapter.CheckPlace(want, found, info.Head.Position, info.ID); err != nil {
		return err
	}
	return fmt.Errorf("%w: the store was changed while it was read", eventstore.ErrUnavailable)
}

// placeAt reads which event has a number; the zero Place where none has.
func (b *Backend) placeAt(ctx context.Context, number int64) (eventstore.Place, error) {
	q := b.sql()
	var found eventstore.Place
	rows, err := b.pool.Query(ctx, `select `+q.columns+` from `+q.from+` where e.seq_id = $1 and `+q.live, number)
	if err != nil {
		return found, err
	}
	err = eachRow(rows, func(r *row) (bool, error) {
		found = eventstore.Place{Position: pgdriver.Position(r.seq), Stream: string(r.stream), Version: uint64(r.version), ID: r.id}
		return false, nil
	})
	return found, err
}

// collected is what a page has.
type collected struct {
	events []eventstore.RecordedEvent
	bytes  int
	full   bool // it holds no more, and there may be more
	names  recent
}

// add takes an event, and tells whether more fit.
func (c *collected) add(event eventstore.RecordedEvent, limit int, size eventstore.PageSize) bool {
	c.events = append(adapter.GrowPage(c.events, limit), event)
	c.bytes += event.Size()
	c.full = len(c.events) >= limit || c.bytes >= size.MaxBytes
	return !c.full
}

// next is the place that the events of a page end at.
func (c *collected) next(otherwise eventstore.Place) eventstore.Place {
	if n := len(c.events); n > 0 {
		return c.events[n-1].Place()
	}
	return otherwise
}
