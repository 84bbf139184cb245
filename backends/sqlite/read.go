package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

const (
	streamForward  = `SELECT ` + columns + ` FROM events WHERE stream = ? AND version > ? AND version < ? ORDER BY version LIMIT ?`
	streamBackward = `SELECT ` + columns + ` FROM events WHERE stream = ? AND version > ? AND version < ? ORDER BY version DESC LIMIT ?`
)

// A read looks at its context again after so many rows.
const rowsBetweenChecks = 64

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
	return withReader(ctx, b, "read stream", func(c *conn) (eventstore.Page, error) {
		events, full, err := readPage(ctx, c, req.PageSize, query, req.Stream, int64(req.After), before, int64(req.MaxEvents))
		return eventstore.Page{Events: events, End: !full}, err
	})
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
	for bytes := 0; len(events) < size.MaxEvents && (bytes < size.MaxBytes || len(events) == 0); {
		if len(events)%rowsBetweenChecks == 0 && ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err := rows.Next(row[:]); errors.Is(err, io.EOF) {
			return events, false, nil
		} else if err != nil {
			return nil, false, err
		}
		events = append(adapter.GrowPage(events, size.MaxEvents), eventstore.RecordedEvent{})
		event := &events[len(events)-1]
		if err := decodeEvent(row[:], event); err != nil {
			return nil, false, err
		}
		bytes += event.Size()
	}
	return events, true, nil
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
