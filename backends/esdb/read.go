package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// scanAtOnce is how many events of $all one call asks for where some may not be
// the caller's, so that a rare match does not cost a call for each few events.
const scanAtOnce = 1024

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
	opts := client.ReadStreamOptions{Direction: client.Forwards, From: client.Revision(req.After), ResolveLinkTos: b.options.ResolveLinks}
	count := uint64(req.MaxEvents)
	if req.After >= math.MaxInt64 {
		return eventstore.Page{End: true}, nil // the server counts no further
	}
	if req.Before != 0 {
		if req.Before-1 <= req.After {
			return eventstore.Page{End: true}, nil
		}
		count = min(count, req.Before-1-req.After)
	}
	if req.Backward {
		opts.Direction, opts.From = client.Backwards, client.End{}
		if req.Before != 0 {
			opts.From = client.Revision(req.Before - 2)
		}
	}
	page, err := do(ctx, b.conn, func(ctx context.Context, c *client.Client) (eventstore.Page, error) {
		p := pageBuilder{size: req.PageSize}
		past := false
		err := receiveStream(ctx, c, name, opts, int(count), func(read *client.ResolvedEvent) bool {
			event := b.resolved(read, req.Stream)
			if past = event.Version <= req.After || (req.Before != 0 && event.Version >= req.Before); past {
				return false
			}
			return p.add(event)
		})
		p.End = past || (err == nil && !p.full)
		return p.Page, err
	})
	switch {
	case err == nil:
		return page, nil
	case isNoStream(err), isTombstoned(err):
		return eventstore.Page{End: true}, nil
	}
	return eventstore.Page{}, mapError(ctx, reading, err)
}

// resolved decodes an event of a stream read: a link's target, if it was asked
// for and exists, in the link's place.
func (b *Backend) resolved(read *client.ResolvedEvent, stream string) eventstore.RecordedEvent {
	event := decode(read.OriginalEvent(), stream)
	if b.options.ResolveLinks && read.Link != nil && read.Event != nil {
		event.Event = decode(read.Event, stream).Event
	}
	return event
}

// receiveStream reads up to count events of a stream until take returns false.
func receiveStream(ctx context.Context, c *client.Client, name string, opts client.ReadStreamOptions, count int, take func(*client.ResolvedEvent) bool) error {
	read, err := c.ReadStream(ctx, name, opts, uint64(count))
	if err != nil {
		return err
	}
	return receive(read, take)
}

func receive(read *client.ReadStream, take func(*client.ResolvedEvent) bool) error {
	defer read.Close()
	for {
		event, err := read.Recv()
		if errors.Is(err, io.EOF) && !isClientError(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !take(event) {
			return nil
		}
	}
}

// isClientError tells an error of the call, which may wrap io.EOF, from the end.
func isClientError(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed)
}

// pageBuilder collects events up to a size.
type pageBuilder struct {
	eventstore.Page
	size  eventstore.PageSize
	bytes int
	full  bool
}

// add takes an event and tells whether there is room for more.
func (p *pageBuilder) add(event eventstore.RecordedEvent) bool {
	p.Events = append(p.Events, event)
	p.bytes += event.Size()
	p.full = len(p.Events) >= p.size.MaxEvents || p.bytes >= p.size.MaxBytes
	return !p.full
}

// ReadAll implements [eventstore.Backend].
//
// The client has no filter for reads of $all, so what is hidden or does not
// match is passed over here. Page.Next is always the position of an event of the
// store, never of a hidden one: the store's head is the last event of its own,
// and a resume point must not lie beyond it.
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	s := scan{b: b, req: req, page: pageBuilder{size: req.PageSize}, from: req.After}
	s.page.Next = req.After
	if req.Backward {
		s.from, s.page.Next = req.Before, req.Before
	}
	s.count = req.MaxEvents + 1
	if b.names.namespace != "" || !req.Filter.IsZero() {
		s.count = max(s.count, scanAtOnce)
	}
	for !s.done {
		if err := s.step(ctx); err != nil {
			return eventstore.Page{}, mapError(ctx, reading, err)
		}
	}
	s.page.Store = b.identity
	return s.page.Page, nil
}

// scan is a read of $all under way.
type scan struct {
	b     *Backend
	req   eventstore.ReadAllRequest
	page  pageBuilder
	from  eventstore.Position // the last raw position that was considered
	count int
	seen  int // events of the store that were considered
	done  bool
}

// step makes one call. The scan is done when the page is full, when the end or a
// bound was reached, or when some of the store's own events were considered.
func (s *scan) step(ctx context.Context) error {
	received, ended, from := 0, false, s.from
	opts := allFrom(from, s.req.Backward)
	_, err := do(ctx, s.b.conn, func(ctx context.Context, c *client.Client) (struct{}, error) {
		read, err := c.ReadAll(ctx, opts, uint64(s.count))
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, receive(read, func(event *client.ResolvedEvent) bool {
			received++
			more, past := s.take(event.OriginalEvent(), from)
			ended = past
			return more
		})
	})
	if isUnreadablePosition(err) {
		return s.beyond(ctx, err)
	}
	if err != nil {
		return err
	}
	s.page.End = ended || (!s.page.full && received < s.count)
	s.done = s.page.End || s.page.full || s.seen > 0
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
func (s *scan) take(record *client.RecordedEvent, from eventstore.Position) (more, past bool) {
	at := position(record.Position)
	switch {
	case at == from, s.req.Backward && !from.IsZero() && !at.Before(from), !s.req.Backward && at.Before(from):
		return true, false // the place to go on from is included
	case !s.req.Backward && !s.req.Before.IsZero() && !at.Before(s.req.Before), s.req.Backward && !s.req.After.Before(at):
		return false, true
	}
	s.from = at
	stream, ok := s.b.event(record)
	if !ok {
		return true, false
	}
	s.seen++
	s.page.Next = at
	if !s.req.Filter.Match(stream, record.EventType) {
		return true, false
	}
	return s.page.add(decode(record, stream)), false
}

// event tells whether a record of $all is an event of the store, and of which stream.
func (b *Backend) event(record *client.RecordedEvent) (stream string, ok bool) {
	stream, ok = b.names.visible(record.StreamID)
	return stream, ok && record.EventType != tombstoneType && record.EventNumber < math.MaxInt64
}

// allFrom says where in $all a read begins.
func allFrom(from eventstore.Position, backward bool) client.ReadAllOptions {
	opts := client.ReadAllOptions{Direction: client.Forwards, From: client.Start{}}
	if backward {
		opts.Direction, opts.From = client.Backwards, client.End{}
	}
	if !from.IsZero() {
		opts.From = serverPosition(from)
	}
	return opts
}

// lastRecord returns the position of the last record of $all, hidden or not.
func (b *Backend) lastRecord(ctx context.Context) (eventstore.Position, error) {
	return do(ctx, b.conn, func(ctx context.Context, c *client.Client) (last eventstore.Position, err error) {
		read, err := c.ReadAll(ctx, client.ReadAllOptions{Direction: client.Backwards, From: client.End{}}, 1)
		if err != nil {
			return last, err
		}
		err = receive(read, func(event *client.ResolvedEvent) bool {
			last = position(event.OriginalEvent().Position)
			return true
		})
		return last, err
	})
}

// foreignPosition is the error for a position where no event begins.
func foreignPosition(at eventstore.Position, err error) error {
	return fmt.Errorf("%w: %w", &eventstore.InvalidError{Field: "position", Reason: at.String() + " is no event's; pass one that this store gave"}, err)
}
