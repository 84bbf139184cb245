package esdb

import (
	"context"
	"errors"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// tombstoneType is the type of the record that ends a stream for good. It is in
// $all, with no revision, and is no event of the stream.
const tombstoneType = "$streamDeleted"

// linkType is the type of an event that points to another.
const linkType = "$>"

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	if req.Backward && req.After == 0 && req.Before == 0 && req.MaxEvents == 1 {
		if t := b.cache.find(b.names.prefix() + req.Stream); t != nil {
			return t.lastEvent(ctx)
		}
	}
	return b.readStream(ctx, req)
}

func (b *Backend) readStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
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
// for and exists, in the link's place and under the link's ID.
func (b *Backend) resolved(read *recorded, stream string) eventstore.RecordedEvent {
	event := decode(read, stream)
	if read.target != nil {
		id := event.ID
		event.Event = decode(read.target, stream).Event
		event.ID = id
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
