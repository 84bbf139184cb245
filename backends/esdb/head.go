package esdb

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A store is a part of the server's log, and the log of a server that others use
// may be long. Nothing here looks through what was looked through before: see
// extent.

// extent is what a handle knows of where its store lies in the server's log.
type extent struct {
	mu sync.Mutex
	// begin is the position of the store's mark, where the store begins with that.
	begin eventstore.Position
	quiet stretch
}

// stretch is a piece of the log without an event of the store: after the store's
// last event, up to a record. The record's ID tells whether it is still this log: a
// server that was restored has written other records since.
type stretch struct {
	head   eventstore.Place
	to     eventstore.Position // zero: none is known
	record uuid.UUID
}

func (e *extent) beginning() eventstore.Position {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begin
}

func (e *extent) setBeginning(at eventstore.Position) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begin = at
}

func (e *extent) known() stretch {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quiet
}

func (e *extent) learn(s stretch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quiet = s
}

// head returns the place of the store's last event; zero where it has none.
func (b *Backend) head(ctx context.Context) (eventstore.Place, error) {
	found, err := b.look(ctx)
	return found.head, err
}

// look finds the stretch at the log's end. It looks at the log's last record first,
// and then at what was written since the last look.
func (b *Backend) look(ctx context.Context) (stretch, error) {
	last, err := b.lastRecord(ctx)
	if err != nil || last == nil {
		return stretch{}, err
	}
	found := stretch{to: last.position, record: last.id}
	known := b.extent.known()
	switch {
	case b.extend(&found, last):
	case known.to == last.position && known.record == last.id:
		return known, nil
	default:
		if err := b.search(ctx, &found, known); err != nil {
			return stretch{}, err
		}
	}
	b.extent.learn(found)
	return found, nil
}

// mostForward is how many records a search for the head takes from where the last
// one ended. Where there are more, the head is near the log's end.
const mostForward = 64

// extend takes a record into a stretch, if it is an event of the store.
func (b *Backend) extend(s *stretch, read *recorded) bool {
	place, ok := b.place(read)
	if ok {
		s.head = place
		if s.to.Before(read.position) { // it was written after the log's last record was read
			s.to, s.record = read.position, read.id
		}
	}
	return ok
}

// search looks for the store's last event where the log's last record is none.
func (b *Backend) search(ctx context.Context, found *stretch, known stretch) error {
	if known.to.Before(found.to) && !known.to.IsZero() {
		record, err := b.recordAt(ctx, known.to)
		if err != nil {
			return err
		}
		if record != nil && record.id == known.record {
			return b.searchForward(ctx, found, known)
		}
	}
	return b.searchBackward(ctx, found)
}

// searchForward looks from where the last search ended.
func (b *Backend) searchForward(ctx context.Context, found *stretch, known stretch) error {
	found.head = known.head
	received := 0
	err := b.conn.readAll(ctx, known.to, false, b.names.filter(eventstore.Filter{}), mostForward, func(read *recorded) bool {
		received++
		b.extend(found, read)
		return true
	})
	if err != nil || received < mostForward {
		return err
	}
	return b.searchBackward(ctx, found)
}

// searchBackward looks from the log's end. It ends at the store's mark, if the store
// begins there.
func (b *Backend) searchBackward(ctx context.Context, found *stretch) error {
	s := b.newScan(eventstore.ReadAllRequest{Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	if err := s.toEnd(ctx); err != nil {
		return err
	}
	found.head = eventstore.Place{}
	if s.last != nil {
		b.extend(found, s.last)
	}
	return nil
}

// lastRecord returns the last record of $all, hidden or not; nil where there is none.
func (b *Backend) lastRecord(ctx context.Context) (*recorded, error) { return b.endRecord(ctx, true) }

// firstRecord is the same at the log's beginning.
func (b *Backend) firstRecord(ctx context.Context) (*recorded, error) { return b.endRecord(ctx, false) }

func (b *Backend) endRecord(ctx context.Context, backward bool) (found *recorded, err error) {
	err = b.conn.readAll(ctx, eventstore.Position{}, backward, serverFilter{}, 1, func(read *recorded) bool {
		found = read
		return true
	})
	return found, err
}

// recordAt returns the record of $all that begins at a position; nil where none does.
func (b *Backend) recordAt(ctx context.Context, at eventstore.Position) (found *recorded, err error) {
	err = b.conn.readAll(ctx, at, false, serverFilter{}, 1, func(read *recorded) bool {
		if read.position == at {
			found = read
		}
		return true
	})
	if isUnreadablePosition(err) {
		return nil, nil //nolint:nilnil // there is none, which is an answer
	}
	return found, err
}

// Info implements [eventstore.Backend]. The identity is read anew: what answers now
// need not be what answered before.
func (b *Backend) Info(ctx context.Context) (eventstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Info{}, err
	}
	id, err := b.identity(ctx)
	if err != nil {
		return eventstore.Info{}, mapError(ctx, err)
	}
	head, err := b.head(ctx)
	return eventstore.Info{ID: id, Head: head}, mapError(ctx, err)
}

// Seal implements [eventstore.Backend].
func (b *Backend) Seal(context.Context, eventstore.SealRequest) (eventstore.Info, error) {
	return eventstore.Info{}, &eventstore.UnsupportedError{Feature: "sealing", Reason: whyNoSeal}
}
