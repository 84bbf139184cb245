package esdb

import (
	"container/list"
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// tail is what this handle knows of a stream's end. It may be old: a write is
// pinned to its version, so one that was judged by an old tail is refused by the
// server, and no conflict is reported before the tail was read anew.
type tail struct {
	stream  string
	turn    chan struct{} // for the saves of a record: one at a time, or they would refuse each other
	appends *adapter.GroupCommit

	fresh   bool        // it was read, or written, since the appends now in turn were made
	known   bool        // version and recent were read, or written, by this handle
	version uint64      // the stream's
	recent  []uuid.UUID // the IDs of the last events, at most a window; the last one is at version
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

// add takes events in that follow the tail.
func (t *tail) add(window int, version uint64, ids ...uuid.UUID) {
	t.known, t.version = true, version
	t.recent = append(t.recent, ids...)
	if over := len(t.recent) - window; over > 0 {
		t.recent = slices.Delete(t.recent, 0, over)
	}
}

func (t *tail) forget() { t.fresh, t.known, t.version, t.recent = false, false, 0, nil }

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

// tails keeps the tails of the streams that were written last.
type tails struct {
	most      int
	committer func(*tail) *adapter.GroupCommit

	mu       sync.Mutex
	order    *list.List // of *tail, the last used first
	byStream map[string]*list.Element
}

// tailMemory bounds the IDs that all the tails hold: 4 MiB.
const tailMemory = 1 << 18

func newTails(window int, committer func(*tail) *adapter.GroupCommit) *tails {
	return &tails{most: max(tailMemory/window, 64), committer: committer, order: list.New(), byStream: make(map[string]*list.Element)}
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
	fresh := &tail{stream: stream, turn: make(chan struct{}, 1)}
	fresh.appends = t.committer(fresh)
	t.byStream[stream] = t.order.PushFront(fresh)
	if t.order.Len() > t.most {
		oldest := t.order.Back()
		t.order.Remove(oldest)
		delete(t.byStream, oldest.Value.(*tail).stream) //nolint:forcetypeassert // as above
	}
	return fresh
}
