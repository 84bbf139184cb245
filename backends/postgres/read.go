package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// A filtered page looks at so many positions at most, so that a rare match keeps
// neither the server nor a subscription's progress waiting.
const filterWindow = 100_000

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	return b.readPage(ctx, func(ctx context.Context, db reader) (eventstore.Page, error) { return b.readStream(ctx, db, req) })
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	return b.readPage(ctx, func(ctx context.Context, db reader) (eventstore.Page, error) { return b.readAll(ctx, db, req) })
}

// reader is a connection or a transaction.
type reader interface {
	querier
	rowsQuerier
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

func (b *Backend) readStream(ctx context.Context, db reader, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	q := query{order: []string{"version"}, backward: req.Backward}
	q.where("stream_id = ", req.Stream)
	if req.After > 0 {
		q.where("version > ", pgdriver.Clamp(req.After))
	}
	if req.Before > 0 {
		q.where("version < ", pgdriver.Clamp(req.Before))
	}
	limit := b.reading.Limit(req.PageSize)
	sql, args := q.ofStream(&b.sql, limit)
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return eventstore.Page{}, err
	}
	got, err := b.collect(rows, limit, req.PageSize, req.Backward)
	return eventstore.Page{Events: got.events, End: got.end}, err
}

func (b *Backend) readAll(ctx context.Context, db reader, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if req.Filter.IsZero() {
		return b.readPlain(ctx, db, req)
	}
	return b.readMatching(ctx, db, req)
}

// readPlain is the read that subscriptions and exports live on: one statement.
func (b *Backend) readPlain(ctx context.Context, db reader, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	q := query{order: []string{"global_position"}, backward: req.Backward}
	if !req.After.Position.IsZero() {
		q.where("global_position > ", pgdriver.After(req.After.Position))
	}
	if !req.Before.IsZero() {
		q.where("global_position < ", pgdriver.Before(req.Before))
	}
	q.follow(req)
	limit := b.reading.Limit(req.PageSize)
	sql, args := q.ofAll(&b.sql, limit)
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return eventstore.Page{}, err
	}
	got, err := b.collect(rows, limit, req.PageSize, req.Backward)
	if err == nil && got.missing {
		err = b.missing(ctx, db, req.After)
	}
	if err != nil {
		return eventstore.Page{}, err
	}
	page := eventstore.Page{Events: got.events, End: got.end, Next: req.After, Sealed: got.end && got.sealed}
	if n := len(got.events); n > 0 {
		page.Next = got.events[n-1].Place()
	}
	return page, nil
}

// missing says why a page cannot follow its place: what the store has there instead.
func (b *Backend) missing(ctx context.Context, db reader, want eventstore.Place) error {
	var table, head int64
	var stream *string
	var version *int64
	var id *uuid.UUID
	if err := db.QueryRow(ctx, b.sql.placeAt, pgdriver.After(want.Position)).Scan(&table, &head, &stream, &version, &id); err != nil {
		return err
	}
	if err := b.checkTable(table); err != nil {
		return err
	}
	var found eventstore.Place
	if stream != nil && version != nil && id != nil {
		found = eventstore.Place{Position: pgdriver.Position(pgdriver.After(want.Position)), Stream: *stream, Version: uint64(*version), ID: *id}
	}
	if err := adapter.CheckPlace(want, found, pgdriver.Position(head), b.id); err != nil {
		return err
	}
	return fmt.Errorf("%w: the store was changed while it was read", eventstore.ErrUnavailable)
}

// customPlans has what follows in the same transaction planned for its values.
// A plan for any values takes several categories for common ones and scans by
// position, which for rare ones is a hundred times slower than their index.
const customPlans = `select set_config('plan_cache_mode', 'force_custom_plan', true)`

// window is a range of positions that a filtered page looks at: low+1 … high, in a
// read of bottom+1 … top.
type window struct{ bottom, top, low, high int64 }

// readMatching reads through a filter, one window of positions at a time. What there
// is to know of the window comes in the statement that finds the events: what that
// does not find up to the last event of the window does not exist.
func (b *Backend) readMatching(ctx context.Context, db reader, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	w := window{bottom: pgdriver.After(req.After.Position), top: math.MaxInt64}
	if !req.Before.IsZero() {
		w.top = pgdriver.Before(req.Before) - 1
	}
	if req.Backward { // from the end, which is the top of the first window
		var table, head int64
		if err := db.QueryRow(ctx, b.sql.head).Scan(&table, &head); err != nil {
			return eventstore.Page{}, err
		}
		if err := b.checkTable(table); err != nil {
			return eventstore.Page{}, err
		}
		w.top = min(w.top, head)
	}
	for from := w.start(req.Backward); ; {
		w.place(from, req.Backward)
		page, beyond, err := b.readWindow(ctx, db, req, w)
		if err != nil || beyond == 0 {
			return page, err
		}
		// A window without any event: positions have no gaps, but rows can be removed by
		// hand, and a page must get somewhere.
		if from = beyond - 1; req.Backward {
			from = beyond
		}
	}
}

// start is where a read's first window begins: below its first position, or at it in a
// backward read.
func (w *window) start(backward bool) int64 {
	if backward {
		return w.top
	}
	return w.bottom
}

// place moves the window to where it begins.
func (w *window) place(from int64, backward bool) {
	if backward {
		w.high, w.low = from, max(w.bottom, from-filterWindow)
		return
	}
	w.low, w.high = from, w.top
	if from < w.top-filterWindow {
		w.high = from + filterWindow
	}
}

// readWindow reads a page of a window. beyond is not zero where the window holds no
// event at all and there are some beyond it: the nearest one's position.
func (b *Backend) readWindow(ctx context.Context, db reader, req eventstore.ReadAllRequest, w window) (page eventstore.Page, beyond int64, err error) {
	q := query{order: []string{"global_position"}, backward: req.Backward}
	planned := q.filter(req.Filter, w)
	q.follow(req)
	q.within(w)
	limit := b.reading.Limit(req.PageSize)
	sql, args := q.ofAll(&b.sql, limit)
	batch := &pgx.Batch{}
	if planned {
		batch.Queue(customPlans)
	}
	batch.Queue(sql, args...)
	answers := db.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	if planned {
		if _, err := answers.Exec(); err != nil {
			return page, 0, err
		}
	}
	rows, err := answers.Query()
	if err != nil {
		return page, 0, err
	}
	got, err := b.collect(rows, limit, req.PageSize, req.Backward)
	if err == nil && got.missing {
		_ = answers.Close() // the connection is needed
		err = b.missing(ctx, db, req.After)
	}
	if err != nil {
		return page, 0, err
	}
	page = eventstore.Page{Events: got.events, End: got.end && got.beyond == 0, Next: req.After}
	if req.Backward {
		page.Next = eventstore.Place{Position: req.Before}
	}
	page.Sealed = page.End && got.sealed
	switch n := len(got.events); {
	case got.end && got.passed.Named():
		page.Next = got.passed
	case n > 0:
		page.Next = got.events[n-1].Place()
	case got.end:
		return page, got.beyond, nil
	}
	return page, 0, nil
}

// matches is what a page's rows held. end says that nothing matched beyond them.
type matches struct {
	events []eventstore.RecordedEvent
	end    bool
	pageState
}

// collect reads rows for a page until it is full, and closes them.
func (b *Backend) collect(rows pgx.Rows, limit int, size eventstore.PageSize, backward bool) (matches, error) {
	bytes, found, ordered := 0, 0, true
	var events []eventstore.RecordedEvent
	state, err := b.eachEvent(rows, func(event eventstore.RecordedEvent) bool {
		found++
		bytes += event.Size()
		if n := len(events); n > 0 {
			ordered = ordered && events[n-1].Position.Before(event.Position) != backward
		}
		events = append(adapter.GrowPage(events, limit), event)
		return bytes < size.MaxBytes
	})
	if err == nil && !ordered {
		err = fmt.Errorf("%w: the server answered in another order than it was asked for", errLocal)
	}
	b.reading.Learn(len(events), bytes)
	return matches{events: events, end: found < limit && bytes < size.MaxBytes, pageState: state}, err
}
