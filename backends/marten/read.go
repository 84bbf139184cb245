package marten

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// A filtered page looks at so many numbers at most, so that a rare match keeps neither
// the server nor a subscription's progress waiting.
const filterWindow = 100_000

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
	q := query{sql: &b.sql, order: "version", backward: req.Backward}
	q.where("e.stream_id = " + q.param(key.id) + "::" + b.sql.id)
	if req.After > 0 {
		q.where("e.version > " + q.param(clamp(req.After)))
	}
	if req.Before > 0 {
		q.where("e.version < " + q.param(clamp(req.Before)))
	}
	q.where(b.sql.live)
	limit := b.reading.Limit(req.PageSize)
	rows, err := b.pool.Query(ctx, q.events("true", limit), q.args...)
	if err != nil {
		return eventstore.Page{}, err
	}
	var got collected
	err = eachRow(rows, func(r *row) (bool, error) {
		event, err := b.event(r)
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
	r := reading{b: b, req: req, patience: patience, from: after(req.After.Position), top: math.MaxInt64}
	if !req.Before.IsZero() {
		r.top = before(req.Before) - 1
	}
	switch {
	case req.Backward:
		return r.backward(ctx)
	case req.Filter.IsZero() && (!b.shape.conjoined || b.shape.tenantPartitioned):
		return r.plain(ctx)
	}
	return r.matching(ctx)
}

// reading is a read of the global order: of the numbers after from up to top.
type reading struct {
	b         *Backend
	req       eventstore.ReadAllRequest
	patience  time.Duration
	from, top int64
}

// plain reads without a filter where one reader sees all numbers: rows are delivered while
// their numbers follow one another. Only a hole that is not settled makes it wait, and
// only where there is something after it.
func (r *reading) plain(ctx context.Context) (eventstore.Page, error) {
	for {
		settled, err := r.b.water.now(ctx) // before the page
		if err != nil {
			return eventstore.Page{}, err
		}
		got, err := r.page(ctx, r.from, r.top, pageOptions{settled: settled, contiguous: true})
		if err != nil {
			return eventstore.Page{}, err
		}
		if got.hole == 0 {
			if err := r.b.water.advance(ctx, r.from, got.at); err != nil {
				return eventstore.Page{}, err
			}
		}
		switch {
		case len(got.events) > 0, got.hole == 0 && !got.full:
			return eventstore.Page{Events: got.events, End: got.hole == 0 && !got.full, Next: got.next(r.req.After)}, nil
		case got.hole == 0: // a page of what is not delivered
			r.from = got.at
			continue
		}
		if settled, err := r.b.water.reach(ctx, got.hole, r.patience); err != nil || settled < got.hole {
			return eventstore.Page{End: true, Next: r.req.After}, err
		}
	}
}

// matching reads through a filter, or one tenant's events among those of others, up to
// where the order is settled.
func (r *reading) matching(ctx context.Context) (eventstore.Page, error) {
	first := r.from
	for {
		upper, visible, err := r.upper(ctx)
		if err != nil {
			return eventstore.Page{}, err
		}
		if upper == r.from && visible > upper && r.from < r.top {
			settled, err := r.b.water.reach(ctx, min(visible, r.top), r.patience)
			if err != nil || settled <= r.from {
				return eventstore.Page{End: true, Next: r.req.After}, err
			}
			continue
		}
		to := r.window(upper)
		got, err := r.page(ctx, r.from, to, pageOptions{within: first})
		if err != nil {
			return eventstore.Page{}, err
		}
		page := eventstore.Page{Events: got.events, Next: got.next(r.req.After)}
		if got.full {
			return page, nil
		}
		if got.passed.Named() {
			page.Next = got.passed
		}
		page.End = to >= min(got.visible, r.top)
		if page.End || len(got.events) > 0 || got.passed.Named() {
			return page, nil
		}
		r.from = to // nothing of ours in this window
	}
}

// upper is how far the order is settled, for a reader at from: also as far as numbers
// follow one another. visible is the last number that can be seen.
func (r *reading) upper(ctx context.Context) (upper, visible int64, err error) {
	settled, err := r.b.water.now(ctx)
	if err != nil {
		return 0, 0, err
	}
	if r.from < settled {
		return settled, settled, nil
	}
	var run int64
	err = r.b.pool.QueryRow(ctx, `select (`+r.b.sql.run()+`), (`+r.b.sql.visible()+`)`, r.from).Scan(&run, &visible)
	if err == nil {
		err = r.b.water.advance(ctx, r.from, run)
	}
	return run, visible, err
}

// window bounds what a filtered page looks at.
func (r *reading) window(upper int64) int64 {
	return min(upper, r.top, r.from+filterWindow)
}

// backward reads from the top, or from the last number that can be seen, when that is
// settled.
func (r *reading) backward(ctx context.Context) (eventstore.Page, error) {
	var visible int64
	if err := r.b.pool.QueryRow(ctx, r.b.sql.visible()).Scan(&visible); err != nil {
		return eventstore.Page{}, err
	}
	r.top = min(r.top, visible)
	if _, err := r.b.water.reach(ctx, r.top, 0); err != nil {
		return eventstore.Page{}, err
	}
	for {
		low := r.from
		if !r.req.Filter.IsZero() || r.b.shape.conjoined {
			low = max(r.from, r.top-filterWindow)
		}
		got, err := r.page(ctx, low, r.top, pageOptions{within: low})
		if err != nil {
			return eventstore.Page{}, err
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

// pageOptions say how one page is read.
type pageOptions struct {
	// contiguous ends the page before the first hole that lies above settled.
	contiguous bool
	settled    int64
	within     int64
}

// pageOf is what was read at once.
type pageOf struct {
	collected
	at      int64 // the last number that was considered, in a contiguous page
	hole    int64 // the last number of the hole before which it ended; 0 where it did not
	visible int64 // the last number that can be seen in the store
	// passed is the last event of a filtered page's numbers, in its direction, match or
	// not.
	passed eventstore.Place
}

// page reads the events of the numbers after low up to high.
func (r *reading) page(ctx context.Context, low, high int64, opts pageOptions) (pageOf, error) {
	sql := &r.b.sql
	q := query{sql: sql, order: "seq_id", backward: r.req.Backward}
	q.where("e.seq_id > " + q.param(low))
	if high < math.MaxInt64 {
		q.where("e.seq_id <= " + q.param(high))
	}
	if sql.numbered != "" {
		q.where(sql.numbered[len(" and "):])
	}
	live := sql.live
	if !opts.contiguous {
		q.where(sql.live)
		live = "true"
		r.b.filter(&q, r.req.Filter)
	}
	follows := r.req.After.Named() && !r.req.Backward
	head := q.head(r.b, r.req.After, follows)
	if !opts.contiguous {
		head += q.passed(low, high)
	}
	limit := r.b.reading.Limit(r.req.PageSize)
	rows, err := r.b.pool.Query(ctx, head+` union all (`+q.events(live, limit)+`)`, q.args...)
	if err != nil {
		return pageOf{}, err
	}
	got := pageOf{at: low}
	first, moved := true, false
	err = eachRow(rows, func(row *row) (bool, error) {
		switch {
		case first: // no event: see query.head
			first, got.visible, moved = false, row.seq, !row.live
			return !moved, nil
		case row.kind == nil: // what was passed
			got.passed = eventstore.Place{Position: position(row.seq), Stream: string(row.stream), Version: uint64(row.version), ID: row.id}
			return true, nil
		case opts.contiguous && row.seq != got.at+1 && row.seq-1 > opts.settled:
			got.hole = row.seq - 1
			return false, nil
		}
		got.at = row.seq
		if !row.live {
			return got.count(limit, r.req.PageSize), nil
		}
		event, err := r.b.event(row)
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
	found, err := r.b.placeAt(ctx, after(want.Position))
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
	q := &b.sql
	var found eventstore.Place
	rows, err := b.pool.Query(ctx, `select `+q.columns+`, true from `+q.from+` where e.seq_id = $1 and `+q.live, number)
	if err != nil {
		return found, err
	}
	err = eachRow(rows, func(r *row) (bool, error) {
		found = eventstore.Place{Position: position(r.seq), Stream: string(r.stream), Version: uint64(r.version), ID: r.id}
		return false, nil
	})
	return found, err
}

// collected is what a page has.
type collected struct {
	events []eventstore.RecordedEvent
	bytes  int
	rows   int
	full   bool // it holds no more, and there may be more
}

// add takes an event, and tells whether more fit.
func (c *collected) add(event eventstore.RecordedEvent, limit int, size eventstore.PageSize) bool {
	c.events = append(c.events, event)
	c.bytes += event.Size()
	return c.count(limit, size)
}

// count counts a row, and tells whether more fit.
func (c *collected) count(limit int, size eventstore.PageSize) bool {
	c.rows++
	c.full = c.rows >= limit || c.bytes >= size.MaxBytes
	return !c.full
}

// next is the place that the events of a page end at.
func (c *collected) next(otherwise eventstore.Place) eventstore.Place {
	if n := len(c.events); n > 0 {
		return c.events[n-1].Place()
	}
	return otherwise
}
