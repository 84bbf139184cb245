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

// cachedStream is what this handle knows of a stream's end. It may be old: a write is
// pinned to its version, so one that was judged by what is old is refused by the
// server, and no conflict is reported before the end was seen anew.
//
// The end is seen by a write that succeeded as well as by a read. Each is numbered
// when it begins, before it is sent, so whoever came before it began may take what it
// saw for how the stream was while he waited.
type cachedStream struct {
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
func (t *cachedStream) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return t.begun
}

// now returns the number of the last read or write that has begun: those with a
// greater one are later than now.
func (t *cachedStream) now() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun
}

// conflicts tells whether an append cannot be stored, and is no repetition, by what
// was seen of the stream since a number: that is how it was while the caller waited.
func (t *cachedStream) conflicts(since uint64, part eventstore.StreamAppend) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known || t.seen <= since || part.Expected.Allows(t.version) || t.holds(part.Events) {
		return nil
	}
	return &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: t.version}
}

// find returns the version of the event with this ID.
func (t *cachedStream) find(id uuid.UUID) (uint64, bool) {
	i := slices.Index(t.recent, id)
	return t.version - uint64(len(t.recent)) + uint64(i) + 1, i >= 0
}

// holds tells whether any of the events' IDs is known.
func (t *cachedStream) holds(events []eventstore.Event) bool {
	for i := range events {
		if _, ok := t.find(events[i].ID); ok {
			return true
		}
	}
	return false
}

// saw takes in what the read or write of this number saw: events that follow what was
// known, with the version of the last one.
func (t *cachedStream) saw(number uint64, window int, version uint64, ids []uuid.UUID) {
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
func (t *cachedStream) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.version, t.recent = false, 0, nil
}

// tell wakes those who wait for the stream's end to be seen, or for a write to end.
func (t *cachedStream) tell() {
	if t.told != nil {
		close(t.told)
		t.told = nil
	}
}

// lock takes the stream's turn.
func (t *cachedStream) lock(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *cachedStream) unlock() { <-t.turn }

// find returns what is known of a stream, nil where there is none.
func (t *streamCache) find(stream string) *cachedStream {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byStream[stream]
	if !ok {
		return nil
	}
	return e.Value.(*cachedStream) //nolint:forcetypeassert // the list holds nothing else
}

// streamCache keeps the cached streams of the streams that were written last.
type streamCache struct {
	most   int
	create func(stream string) *cachedStream

	mu       sync.Mutex
	order    *list.List // of *cachedStream, the last used first
	byStream map[string]*list.Element
}

// cacheMemory bounds the IDs that all the cached streams hold: 4 MiB.
const cacheMemory = 1 << 18

func newStreamCache(window int, create func(stream string) *cachedStream) *streamCache {
	return &streamCache{most: max(cacheMemory/window, 64), create: create, order: list.New(), byStream: make(map[string]*list.Element)}
}

// get returns what is known of a stream. One that was dropped while an append held it only
// costs the next append a refusal.
func (t *streamCache) get(stream string) *cachedStream {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byStream[stream]; ok {
		t.order.MoveToFront(e)
		return e.Value.(*cachedStream) //nolint:forcetypeassert // the list holds nothing else
	}
	fresh := t.create(stream)
	t.byStream[stream] = t.order.PushFront(fresh)
	if t.order.Len() > t.most {
		oldest := t.order.Back()
		t.order.Remove(oldest)
		delete(t.byStream, oldest.Value.(*cachedStream).stream) //nolint:forcetypeassert // as above
	}
	return fresh
}
