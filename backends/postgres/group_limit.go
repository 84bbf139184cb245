package postgres

import (
	"sync"
)

// groupLimit tells how many groups of this process should be under way, from the
// positions that they were given: those have no gaps, so a process that finds
// positions of others between its own is not the only writer.
//
// A process alone sends its next group while one commits, so that the lock is
// never free without need. Where another process writes too, its group is the one
// that waits at the lock. A second one of ours would only have left earlier, with
// fewer appends in it, and the commits, which are what the store's rate depends
// on, would each carry less: two processes halve their groups and their rate.
type groupLimit struct {
	mu sync.Mutex
	// last is the last position that this process has written.
	last uint64
	// met rises with each group that found others before it, and falls more
	// slowly with each that did not: two groups in a row of the same process, or
	// two that are answered in the wrong order, prove nothing.
	met    int
	shared bool
}

const (
	metOthers = 3
	metMax    = 24
)

// wrote notes a group's positions and returns how many groups should be under way.
func (l *groupLimit) wrote(first, last uint64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last > l.last { // it is not late, behind the answer to a later group
		if l.last > 0 && first > l.last+1 {
			l.met = min(metMax, l.met+metOthers)
		} else {
			l.met = max(0, l.met-1)
		}
		l.last = last
	}
	switch l.met {
	case metMax:
		l.shared = true
	case 0:
		l.shared = false
	}
	if l.shared {
		return 1
	}
	return groups
}
