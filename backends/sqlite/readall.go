package sqlite

import (
	"context"
	"database/sql/driver"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

const (
	selectPlace  = `SELECT ` + placeColumns + ` FROM events e WHERE position = ?`
	firstInRange = `SELECT ` + placeColumns + ` FROM events e WHERE position > ? AND position <= ? ORDER BY position LIMIT 1`
	lastInRange  = `SELECT ` + placeColumns + ` FROM events e WHERE position > ? AND position <= ? ORDER BY position DESC LIMIT 1`
)

// ReadAll implements [eventstore.Backend]. A page, the place that it follows and the
// seal are of one moment.
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	type answer struct {
		page    eventstore.Page
		refused error // the reader's connection is sound
	}
	got, err := withReader(ctx, b, "read all", func(c *conn) (got answer, err error) {
		err = c.snapshot(func() error {
			info, err := readInfo(c)
			if err != nil {
				return err
			}
			if got.refused, err = checkAfter(c, req, info); err != nil || got.refused != nil {
				return err
			}
			got.page, err = readAll(ctx, c, req, info.Head)
			got.page.Sealed = got.page.End && info.Sealed
			return err
		})
		return got, err
	})
	if err == nil {
		err = got.refused
	}
	return got.page, err
}

// checkAfter returns why a reader may not go on after the place it names.
func checkAfter(c *conn, req eventstore.ReadAllRequest, info eventstore.Info) (refused, err error) {
	if !req.After.Named() || req.Backward {
		return nil, nil
	}
	found, err := c.place(selectPlace, lastRow(req.After.Position))
	if err != nil {
		return nil, err
	}
	return adapter.CheckPlace(req.After, found, info.Head.Position, info.ID), nil
}

// place returns the place that a query finds, or the zero Place.
func (c *conn) place(query string, args ...driver.Value) (eventstore.Place, error) {
	row, ok, err := c.row(query, 4, args...)
	if err != nil || !ok {
		return eventstore.Place{}, err
	}
	return decodePlace(row)
}

func readAll(ctx context.Context, c *conn, req eventstore.ReadAllRequest, head eventstore.Place) (eventstore.Page, error) {
	low, high := lastRow(req.After.Position), lastRow(head.Position) // low < position <= high
	if !req.Before.IsZero() {
		high = min(high, rowsBefore(req.Before))
	}
	page := eventstore.Page{End: true, Next: req.After}
	if req.Backward {
		page.Next = eventstore.Place{Position: req.Before}
	}
	query := newSelection(req.Filter)
	if query.scans && high-low > scanAtOnce {
		var err error
		if page.End, low, high, err = window(c, req.Backward, low, high); err != nil {
			return page, err
		}
	}
	text, args, err := query.build(low, high, req.MaxEvents, req.Backward)
	if err != nil {
		return page, err
	}
	events, full, err := readPage(ctx, c, req.PageSize, text, args...)
	if err != nil {
		return page, err
	}
	page.Events, page.End = events, page.End && !full
	switch {
	case len(events) > 0 && (full || req.Filter.IsZero()):
		page.Next = events[len(events)-1].Place()
	case !req.Filter.IsZero():
		last := lastInRange
		if req.Backward {
			last = firstInRange
		}
		considered, err := c.place(last, low, high)
		if err != nil {
			return page, err
		}
		if !considered.IsZero() {
			page.Next = considered
		}
	}
	return page, nil
}

// A filtered page looks at so many positions at most, so that a rare match
// neither takes long nor keeps a done context waiting.
const scanAtOnce = 4096

// window narrows a range to what one page looks at, and tells whether that is all
// there is. It holds an event wherever the range does, so that a read goes on.
func window(c *conn, backward bool, low, high int64) (end bool, newLow, newHigh int64, err error) {
	edge := firstInRange
	if backward {
		edge = lastInRange
	}
	place, err := c.place(edge, low, high)
	if err != nil || place.IsZero() {
		return true, low, high, err
	}
	newLow, newHigh = low, high
	if at := lastRow(place.Position); backward {
		newLow = max(low, at-scanAtOnce)
	} else {
		newHigh = min(high, at+scanAtOnce-1)
	}
	return newLow == low && newHigh == high, newLow, newHigh, nil
}

// rowsBefore is the last row ID before a position.
func rowsBefore(p eventstore.Position) int64 {
	hi, lo := p.Words()
	switch {
	case hi > math.MaxInt64:
		return math.MaxInt64
	case lo > 0:
		return int64(hi)
	}
	return int64(hi) - 1
}
