package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	streamForward  = `SELECT ` + columns + ` FROM events WHERE stream = ? AND version > ? AND version < ? ORDER BY version LIMIT ?`
	streamBackward = `SELECT ` + columns + ` FROM events WHERE stream = ? AND version > ? AND version < ? ORDER BY version DESC LIMIT ?`

	allForward  = `SELECT ` + columns + ` FROM events WHERE position > ? AND position < ? ORDER BY position LIMIT ?`
	allBackward = `SELECT ` + columns + ` FROM events WHERE position > ? AND position < ? ORDER BY position DESC LIMIT ?`

	categoryForward  = `SELECT ` + columns + ` FROM events WHERE position > ? AND position < ? AND category = ? ORDER BY position LIMIT ?`
	categoryBackward = `SELECT ` + columns + ` FROM events WHERE position > ? AND position < ? AND category = ? ORDER BY position DESC LIMIT ?`

	// The + keeps the planner from the indexes: this is a scan of a window.
	matches       = ` AND (?3 = '' OR +category = ?3) AND substr(stream, 1, ?4) = ?5 AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))`
	matchForward  = `SELECT ` + columns + ` FROM events WHERE position > ?1 AND position < ?2` + matches + ` ORDER BY position LIMIT ?7`
	matchBackward = `SELECT ` + columns + ` FROM events WHERE position > ?1 AND position < ?2` + matches + ` ORDER BY position DESC LIMIT ?7`

	selectHead = `SELECT max(position) FROM events`
)

// A filtered page looks at so many positions at most, so that a rare match
// neither takes long nor keeps a done context waiting.
const scanAtOnce = 4096

// A read looks at its context again after so many rows.
const rowsBetweenChecks = 64

// A page makes room for a few events first, and then for so many at most at once.
const fewEvents, maxRoom = 16, 1024

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	query := streamForward
	if req.Backward {
		query = streamBackward
	}
	before := int64(math.MaxInt64)
	if req.Before != 0 {
		before = int64(req.Before)
	}
	return b.read(ctx, "read stream", func(c *conn) (eventstore.Page, error) {
		events, full, err := readPage(ctx, c, req.PageSize, query, req.Stream, int64(req.After), before, int64(req.MaxEvents))
		return eventstore.Page{Events: events, End: !full}, err
	})
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	after, before := rowID(req.After), int64(math.MaxInt64)
	if !req.Before.IsZero() {
		before = rowID(req.Before)
	}
	read := func(c *conn) (eventstore.Page, error) { return readAll(ctx, c, req, after, before) }
	if !req.Filter.IsZero() {
		read = func(c *conn) (eventstore.Page, error) { return readMatching(ctx, c, req, after, before) }
	}
	page, err := b.read(ctx, "read all", read)
	page.Store = b.id
	return page, err
}

func readAll(ctx context.Context, c *conn, req eventstore.ReadAllRequest, after, before int64) (eventstore.Page, error) {
	query, next := allForward, req.After
	if req.Backward {
		query, next = allBackward, req.Before
	}
	events, full, err := readPage(ctx, c, req.PageSize, query, after, before, int64(req.MaxEvents))
	if len(events) > 0 {
		next = events[len(events)-1].Position
	}
	return eventstore.Page{Events: events, End: !full, Next: next}, err
}

// readMatching reads a page through a filter. It takes the head first: since
// nothing ever appears at or below a position that was readable, whatever the
// second statement does not find up to there does not exist.
func readMatching(ctx context.Context, c *conn, req eventstore.ReadAllRequest, after, before int64) (eventstore.Page, error) {
	head, err := c.integer(selectHead)
	if err != nil {
		return eventstore.Page{}, err
	}
	low, high := after, min(before-1, head) // what is left: low < position <= high
	if low >= high {
		return eventstore.Page{End: true, Next: req.After}, nil
	}
	end := true
	// The index finds the events of a category alone; anything else is a scan.
	indexed := len(req.Filter.Types) == 0 && req.Filter.StreamPrefix == ""
	if !indexed && high-low > scanAtOnce {
		end = false
		if req.Backward {
			low = high - scanAtOnce
		} else {
			high = low + scanAtOnce
		}
	}
	query, args, err := matching(req, low, high+1, indexed)
	if err != nil {
		return eventstore.Page{}, err
	}
	events, full, err := readPage(ctx, c, req.PageSize, query, args...)
	page := eventstore.Page{Events: events, End: end && !full, Next: positionOf(high)}
	switch {
	case full:
		page.Next = events[len(events)-1].Position
	case req.Backward:
		page.Next = positionOf(low + 1)
	}
	return page, err
}

// matching returns the query for a filter and its arguments.
func matching(req eventstore.ReadAllRequest, after, before int64, indexed bool) (string, []driver.Value, error) {
	limit := int64(req.MaxEvents)
	if indexed {
		query := categoryForward
		if req.Backward {
			query = categoryBackward
		}
		return query, []driver.Value{after, before, req.Filter.Category, limit}, nil
	}
	query := matchForward
	if req.Backward {
		query = matchBackward
	}
	var types driver.Value
	if len(req.Filter.Types) > 0 {
		text, err := json.Marshal(req.Filter.Types)
		if err != nil {
			return "", nil, err
		}
		types = string(text)
	}
	prefix := req.Filter.StreamPrefix
	return query, []driver.Value{after, before, req.Filter.Category, int64(utf8.RuneCountInString(prefix)), prefix, types, limit}, nil
}

// readPage runs a query for events. full is true where the page ended because of
// its size, so that more may follow.
func readPage(ctx context.Context, c *conn, size eventstore.PageSize, query string, args ...driver.Value) (events []eventstore.RecordedEvent, full bool, err error) {
	rows, err := c.query(query, args...)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if closed := rows.Close(); err == nil {
			err = closed
		}
	}()
	var row [columnCount]driver.Value
	events = make([]eventstore.RecordedEvent, 0, min(size.MaxEvents, fewEvents))
	for bytes := 0; len(events) < size.MaxEvents && (bytes < size.MaxBytes || len(events) == 0); {
		if len(events)%rowsBetweenChecks == 0 && ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err := rows.Next(row[:]); errors.Is(err, io.EOF) {
			return events, false, nil
		} else if err != nil {
			return nil, false, err
		}
		if len(events) == fewEvents {
			// Many have few; who has more most often has a full page.
			events = slices.Grow(events, min(size.MaxEvents-fewEvents, maxRoom))
		}
		events = append(events, eventstore.RecordedEvent{})
		event := &events[len(events)-1]
		if err := decodeEvent(row[:], event); err != nil {
			return nil, false, err
		}
		bytes += event.Size()
	}
	return events, true, nil
}

// read runs one page on a reader's connection.
func (b *Backend) read(ctx context.Context, op string, page func(*conn) (eventstore.Page, error)) (eventstore.Page, error) {
	result, err := withReader(ctx, b, op, page)
	if err != nil {
		return eventstore.Page{}, err
	}
	return result, nil
}

// withReader lends a reader's connection to a function. Readers do not wait for
// writers; they may have to wait while another process recovers the log.
func withReader[T any](ctx context.Context, b *Backend, op string, use func(*conn) (T, error)) (T, error) {
	var none T
	if err := b.ready(ctx); err != nil {
		return none, err
	}
	var c *conn
	select {
	case c = <-b.readers:
	case <-ctx.Done():
		return none, ctx.Err()
	case <-b.closed:
		return none, eventstore.ErrClosed
	}
	defer func() { b.readers <- c }()
	result, err := retryBusy(ctx, b.opts.BusyTimeout, func() (T, error) {
		var err error
		if c == nil {
			if c, err = connect(ctx, b.files, reading); err != nil {
				return none, err
			}
		}
		result, err := use(c)
		if gone := c.lookAfterRead(err); gone != nil {
			return none, errors.Join(gone, err)
		}
		return result, err
	})
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil:
		return none, ctx.Err()
	}
	if c != nil && !isBusy(err) {
		err = errors.Join(err, c.Close())
		c = nil // the next read starts afresh
	}
	return none, mapError(op, err)
}

// rowID is a position as a row ID. One that no store of this kind made lies
// after everything.
func rowID(p eventstore.Position) int64 {
	hi, lo := p.Words()
	if hi > math.MaxInt64 || (lo > 0 && hi == math.MaxInt64) {
		return math.MaxInt64
	}
	return int64(hi)
}
