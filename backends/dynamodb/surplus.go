package dynamodb

import (
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// surplus keeps items of the log that a page of a read had no room for, for the next
// page: an item of a large group would be read, and paid for, once for every page that
// ends in it.
type surplus struct {
	mu    sync.Mutex
	kept  []leftover // the oldest first
	bytes int
}

// leftover is consecutive items of the log, the first of which has the event that the
// page ended with. What follows that event was given to nobody.
type leftover struct {
	after eventstore.Position
	items []*logItem
	bytes int
	at    time.Time
}

// mostSurplusBytes bounds what is kept.
const mostSurplusBytes = 4 << 20

// surplusFor is how long items are kept. A page reads the event that it follows again,
// because the table may have been replaced by another; nobody does that in so short
// a time.
const surplusFor = time.Second

// put keeps items for the page that follows an event.
func (s *surplus) put(after eventstore.Position, items []*logItem, now time.Time) {
	size := 0
	for _, l := range items {
		size += l.bytes()
	}
	if size > mostSurplusBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, leftover{after, items, size, now})
	s.bytes += size
	for s.bytes > mostSurplusBytes {
		s.drop(0)
	}
}

// take returns what was kept for the page that follows an event, which has it for
// itself; nil where nothing was.
func (s *surplus) take(after eventstore.Position, now time.Time) []*logItem {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.kept) > 0 && now.Sub(s.kept[0].at) > surplusFor {
		s.drop(0)
	}
	for i, left := range s.kept {
		if left.after == after {
			s.drop(i)
			return left.items
		}
	}
	return nil
}

func (s *surplus) drop(i int) {
	s.bytes -= s.kept[i].bytes
	s.kept = append(s.kept[:i:i], s.kept[i+1:]...)
}
