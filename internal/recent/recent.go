// Package recent holds the last events of a log in memory, so that many live
// subscriptions of a handle need not each read them from the database. It is a copy
// of what was read and nothing more: a subscription that it cannot answer reads for
// itself.
package recent

import (
	"bytes"
	"maps"
	"sort"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Bounds of what a Log keeps.
const (
	MaxEvents = 1024
	MaxBytes  = 4 << 20
)

// Log is the end of a log. The zero Log knows nothing, and answers nothing.
type Log struct {
	mu    sync.Mutex
	known bool
	// events are all those after from and up to to.
	from, to eventstore.Place
	events   []eventstore.RecordedEvent
	bytes    int
}

// Begin makes the log know that nothing follows a place, which is that of the last
// event.
func (l *Log) Begin(at eventstore.Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.from, l.to, l.events, l.bytes = true, at, at, nil, 0
}

// End returns the place of the last event, and whether the log knows any.
func (l *Log) End() (eventstore.Place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to, l.known
}

// Add takes events in that follow each other, and all that is known. Those that
// the log has already are passed over: what is read in two ways may come twice. It
// tells whether any was new. The events are the log's to keep.
func (l *Log) Add(events ...eventstore.RecordedEvent) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		return false
	}
	fresh := sort.Search(len(events), func(i int) bool { return l.to.Position.Before(events[i].Position) })
	if fresh == len(events) {
		return false
	}
	for _, event := range events[fresh:] {
		l.events = append(l.events, event)
		l.bytes += event.Size()
	}
	l.to = events[len(events)-1].Place()
	l.shorten()
	return true
}

func (l *Log) shorten() {
	drop := 0
	for ; len(l.events)-drop > MaxEvents || l.bytes > MaxBytes; drop++ {
		l.from = l.events[drop].Place()
		l.bytes -= l.events[drop].Size()
		l.events[drop] = eventstore.RecordedEvent{}
	}
	l.events = l.events[drop:] // append moves them to new memory in its time
}

// Page answers a read forward. It returns false where it cannot: it knows nothing,
// or begins after what is asked for, or the place to go on from is not one of its.
// An answer is all that follows the place, up to the last event known.
func (l *Log) Page(req eventstore.ReadAllRequest) (eventstore.Page, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after := req.After.Position
	if !l.known || after.Before(l.from.Position) || l.to.Position.Before(after) {
		return eventstore.Page{}, false
	}
	first := sort.Search(len(l.events), func(i int) bool { return after.Before(l.events[i].Position) })
	at := l.from
	if first > 0 {
		at = l.events[first-1].Place()
	}
	if req.After.Named() && req.After != at {
		return eventstore.Page{}, false
	}
	page := eventstore.Page{End: true, Next: req.After}
	if first < len(l.events) {
		page.Next = l.to
	}
	size := 0
	for i, event := range l.events[first:] {
		if len(page.Events) == req.MaxEvents || (size >= req.MaxBytes && size > 0) {
			page.End, page.Next = false, l.events[first+i-1].Place()
			break
		}
		if !req.Filter.Match(event.Stream, event.Type) {
			continue
		}
		event.Data, event.Metadata = bytes.Clone(event.Data), maps.Clone(event.Metadata) // each subscriber may change its own
		page.Events = append(page.Events, event)
		size += event.Size()
	}
	return page, true
}
