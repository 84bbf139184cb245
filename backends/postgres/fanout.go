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
	// fanOutEvents and fanOutBytes bound what is kept; a page of that, and so what
	// may come between two wake-ups, is half of that.
	fanOutEvents, fanOutBytes = 1024, 4 << 20
	// What nobody has read from for so many wake-ups is given up.
	fanOutUnused = 100
	// A wake-up waits for the page for so long at most.
	fanOutWithin = time.Second
)

type pages func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error)

// fanOut is the end of the log, read once for all live subscriptions of a handle:
// without it ten of them would make ten queries at every wake-up. It is no more
// than a copy of what was read: a subscription that has all of it, or is behind
// it, reads for itself, and so every one that a hint has not reached finds what
// there is within its poll interval, as ever.
type fanOut struct {
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
func (f *fanOut) follow() (page pages, leave func()) {
	f.mu.Lock()
	f.followers++
	f.mu.Unlock()
	live := false // it has seen the end for itself, and may be told that it is caught up
	page = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		if live && ctx.Err() == nil {
			if page, ok := f.page(req); ok {
				return page, nil
			}
		}
		page, err := f.read(ctx, req)
		if err == nil && page.End {
			live = true
			f.begin(page.Next)
		}
		return page, err
	}
	return page, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.followers--; f.followers < 2 {
			f.giveUp()
		}
	}
}

// begin starts at a place where the log ended a moment ago. One
// subscription alone needs none: the server filters for it.
func (f *fanOut) begin(at eventstore.Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.active && f.followers > 1 {
		f.active, f.from, f.to = true, at, at
	}
}

// giveUp forgets everything; begin starts anew.
func (f *fanOut) giveUp() {
	f.active, f.sealed, f.events, f.bytes, f.unused = false, false, nil, 0, 0
}

// advance reads what has come since. Where that is more than a page, or the read
// fails, subscriptions read for themselves.
func (f *fanOut) advance(ctx context.Context) {
	f.mu.Lock()
	if f.unused++; f.unused > fanOutUnused {
		f.giveUp()
	}
	active, to := f.active, f.to
	f.mu.Unlock()
	if !active {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fanOutWithin)
	defer cancel()
	size := eventstore.PageSize{MaxEvents: fanOutEvents / 2, MaxBytes: fanOutBytes / 2}
	page, err := f.read(ctx, eventstore.ReadAllRequest{After: to, PageSize: size})

	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.active || f.to != to: // it was given up meanwhile
	case err != nil || !page.End:
		f.giveUp()
	default:
		f.add(page)
	}
}

func (f *fanOut) add(page eventstore.Page) {
	f.to, f.sealed = page.Next, page.Sealed
	f.events = append(f.events, page.Events...)
	for _, event := range page.Events {
		f.bytes += event.Size()
	}
	drop := 0
	for ; len(f.events)-drop > fanOutEvents || f.bytes > fanOutBytes; drop++ {
		f.from = f.events[drop].Place()
		f.bytes -= f.events[drop].Size()
	}
	if drop > 0 {
		// Copied to new memory, or what was dropped would stay in the old.
		f.events = append(make([]eventstore.RecordedEvent, 0, fanOutEvents), f.events[drop:]...)
	}
}

// page answers from what is kept. It returns false where that cannot be: that
// begins after what is asked for, has nothing that is new, or holds another event in
// its place.
func (f *fanOut) page(req eventstore.ReadAllRequest) (eventstore.Page, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := req.After.Position
	if !f.active || after.Before(f.from.Position) || !after.Before(f.to.Position) {
		return eventstore.Page{}, false
	}
	first := sort.Search(len(f.events), func(i int) bool { return after.Before(f.events[i].Position) })
	held := f.from
	if first > 0 {
		held = f.events[first-1].Place()
	}
	if req.After.Named() && req.After != held {
		return eventstore.Page{}, false
	}
	f.unused = 0
	page := eventstore.Page{End: true, Next: f.to, Sealed: f.sealed}
	size := 0
	for _, event := range f.events[first:] {
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
