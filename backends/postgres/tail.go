package postgres

import (
	"bytes"
	"context"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	// tailEvents and tailBytes bound what a tail keeps; a page of it, and so what
	// may come between two wake-ups, is half of that.
	tailEvents, tailBytes = 1024, 4 << 20
	// A tail that nobody has read from for so many wake-ups is given up.
	tailUnused = 100
	// A wake-up waits for the tail's page for so long at most.
	tailWithin = time.Second
)

type pages func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error)

// tail is the end of the log, read once for all live subscriptions of a handle:
// without it ten of them would make ten queries at every wake-up. It is no more
// than a copy of what was read: a subscription that has all of it, or is behind
// it, reads for itself, and so every one that a hint has not reached finds what
// there is within its poll interval, as ever.
type tail struct {
	read pages // the backend's ReadAll

	mu        sync.Mutex
	followers int
	active    bool
	// events are all those after from and up to to; sealed says that nothing can
	// follow them.
	from, to eventstore.Place
	sealed   bool
	events   []eventstore.RecordedEvent
	bytes    int
	unused   int // wake-ups since somebody read from it
}

// follow returns the function that a subscription gets its pages from, and one to
// call at its end.
func (t *tail) follow() (page pages, leave func()) {
	t.mu.Lock()
	t.followers++
	t.mu.Unlock()
	live := false // it has seen the end for itself, and may be told that it is caught up
	page = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		if live && ctx.Err() == nil {
			if page, ok := t.page(req); ok {
				return page, nil
			}
		}
		page, err := t.read(ctx, req)
		if err == nil && page.End {
			live = true
			t.begin(page.Next)
		}
		return page, err
	}
	return page, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.followers--; t.followers < 2 {
			t.giveUp()
		}
	}
}

// begin starts the tail at a place where the log ended a moment ago. One
// subscription alone needs no tail: the server filters for it.
func (t *tail) begin(at eventstore.Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.active && t.followers > 1 {
		t.active, t.from, t.to = true, at, at
	}
}

// giveUp forgets everything; begin starts anew.
func (t *tail) giveUp() {
	t.active, t.sealed, t.events, t.bytes, t.unused = false, false, nil, 0, 0
}

// advance reads what has come since. Where that is more than a page, or the read
// fails, subscriptions read for themselves.
func (t *tail) advance(ctx context.Context) {
	t.mu.Lock()
	if t.unused++; t.unused > tailUnused {
		t.giveUp()
	}
	active, to := t.active, t.to
	t.mu.Unlock()
	if !active {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tailWithin)
	defer cancel()
	size := eventstore.PageSize{MaxEvents: tailEvents / 2, MaxBytes: tailBytes / 2}
	page, err := t.read(ctx, eventstore.ReadAllRequest{After: to, PageSize: size})

	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.active || t.to != to: // it was given up meanwhile
	case err != nil || !page.End:
		t.giveUp()
	default:
		t.add(page)
	}
}

func (t *tail) add(page eventstore.Page) {
	t.to, t.sealed = page.Next, page.Sealed
	t.events = append(t.events, page.Events...)
	for _, event := range page.Events {
		t.bytes += event.Size()
	}
	drop := 0
	for ; len(t.events)-drop > tailEvents || t.bytes > tailBytes; drop++ {
		t.from = t.events[drop].Place()
		t.bytes -= t.events[drop].Size()
	}
	if drop > 0 {
		// Copied to new memory, or what was dropped would stay in the old.
		t.events = append(make([]eventstore.RecordedEvent, 0, tailEvents), t.events[drop:]...)
	}
}

// page answers from the tail. It returns false where that cannot be: the tail
// begins after what is asked for, has nothing that is new, or holds another event in
// its place.
func (t *tail) page(req eventstore.ReadAllRequest) (eventstore.Page, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	after := req.After.Position
	if !t.active || after.Before(t.from.Position) || !after.Before(t.to.Position) {
		return eventstore.Page{}, false
	}
	first := sort.Search(len(t.events), func(i int) bool { return after.Before(t.events[i].Position) })
	held := t.from
	if first > 0 {
		held = t.events[first-1].Place()
	}
	if req.After.Named() && req.After != held {
		return eventstore.Page{}, false
	}
	t.unused = 0
	page := eventstore.Page{End: true, Next: t.to, Sealed: t.sealed}
	size := 0
	for _, event := range t.events[first:] {
		if !req.Filter.Match(event.Stream, event.Type) {
			continue
		}
		if len(page.Events) == req.MaxEvents || size >= req.MaxBytes {
			page.End, page.Sealed, page.Next = false, false, page.Events[len(page.Events)-1].Place()
			break
		}
		event.Data, event.Metadata = bytes.Clone(event.Data), maps.Clone(event.Metadata) // each subscriber may change its own
		page.Events = append(page.Events, event)
		size += event.Size()
	}
	return page, true
}
