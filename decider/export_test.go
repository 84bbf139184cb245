package decider

import "time"

// WithoutTurns makes a Decider's calls run without waiting for each other.
func WithoutTurns[S, E any](d *Decider[S, E]) { d.turns.off = true }

// Turns counts the streams whose turn is taken.
func Turns[S, E any](d *Decider[S, E]) int {
	d.turns.mu.Lock()
	defer d.turns.mu.Unlock()
	return len(d.turns.waiting)
}

// LongestPause is what the n-th wait lasts at most.
func LongestPause(r Retry, n int) time.Duration { return r.longest(n) }
