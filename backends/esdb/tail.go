package esdb

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// tail is what this handle knows of a stream's end. It may be old: a write is
// pinned to its version, so one that was judged by an old tail is refused by the
// server, and no conflict is reported before the end was seen anew.
//
// The end is seen by a write that succeeded as well as by a read. Each is numbered
// when it begins, before it is sent, so whoever came before it began may take what it
// saw for how the stream was while he waited.
type tail struct {
	stream  string
	turn    chan struct{} // one writes, or one change of a record is made, at a time, or they would refuse each other
	appends *adapter.GroupCommit
	// readLast reads a page of the last event. timeout is for one that no caller makes.
	readLast func(context.Context) (eventstore.Page, error)
	timeout  time.Duration

	mu      sync.Mutex    // the fields below: who has the turn changes them, others may look
	begun   uint64        // the number of the last read or write of the end that began
	seen    uint64        // the number of the last one that told what is below
	told    chan struct{} // closed when seen rises, or a write ends; nil where nobody waits for that
	known   bool          // version and recent were read, or written, by this handle
	version uint64        // the stream's
	recent  []uuid.UUID   // the IDs of the last events, at most a window; the last one is at version
	readers lastReaders
}

// begin numbers a read of the stream's end that is about to be sent.
func (t *tail) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return t.begun
}

// now returns the number of the last read or write that has begun: those with a
// greater one are later than now.
func (t *tail) now() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun
}

// conflicts tells whether an append cannot be stored, and is no repetition, by what
// was seen of the stream since a number: that is how it was while the caller waited.
func (t *tail) conflicts(since uint64, part eventstore.StreamAppend) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known || t.seen <= since || part.Expected.Allows(t.version) || t.holds(part.Events) {
		return nil
	}
	return &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: t.version}
}

// find returns the version of the event with this ID.
func (t *tail) find(id uuid.UUID) (uint64, bool) {
	i := slices.Index(t.recent, id)
	return t.version - uint64(len(t.recent)) + uint64(i) + 1, i >= 0
}

// holds tells whether any of the events' IDs is in the tail.
func (t *tail) holds(events []eventstore.Event) bool {
	for i := range events {
		if _, ok := t.find(events[i].ID); ok {
			return true
		}
	}
	return false
}

// saw takes in what the read or write of this number saw: events that follow what was
// known, with the version of the last one.
func (t *tail) saw(number uint64, window int, version uint64, ids []uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen, t.known, t.version = number, true, version
	t.recent = append(t.recent, ids...)
	if over := len(t.recent) - window; over > 0 {
		t.recent = slices.Delete(t.recent, 0, over)
	}
	t.tell()
}

// forget is for what is no longer so.
func (t *tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.version, t.recent = false, 0, nil
}

// tell wakes those who wait for the stream's end to be seen, or for a write to end.
func (t *tail) tell() {
	if t.told != nil {
		close(t.told)
		t.told = nil
	}
}

// lock takes the stream's turn.
func (t *tail) lock(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *tail) unlock() { <-t.turn }

// find returns a stream's tail, nil where there is none.
func (t *tails) find(stream string) *tail {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byStream[stream]
	if !ok {
		return nil
	}
	return e.Value.(*tail) //nolint:forcetypeassert // the list holds nothing else
}

// tails keeps the tails of the streams that were written last.
type tails struct {
	most   int
	create func(stream string) *tail

	mu       sync.Mutex
	order    *list.List // of *tail, the last used first
	byStream map[string]*list.Element
}

// tailMemory bounds the IDs that all the tails hold: 4 MiB.
const tailMemory = 1 << 18

func newTails(window int, create func(stream string) *tail) *tails {
	return &tails{most: max(tailMemory/window, 64), create: create, order: list.New(), byStream: make(map[string]*list.Element)}
}

// get returns a stream's tail. One that was dropped while an append held it only
// costs the next append a refusal.
func (t *tails) get(stream string) *tail {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byStream[stream]; ok {
		t.order.MoveToFront(e)
		return e.Value.(*tail) //nolint:forcetypeassert // the list holds nothing else
	}
	fresh := t.create(stream)
	t.byStream[stream] = t.order.PushFront(fresh)
	if t.order.Len() > t.most {
		oldest := t.order.Back()
		t.order.Remove(oldest)
		delete(t.byStream, oldest.Value.(*tail).stream) //nolint:forcetypeassert // as above
	}
	return fresh
}
