package decider

import (
	"context"
	"time"
)

// WithoutTurns makes a Decider's calls run without waiting for each other.
func WithoutTurns[S, E any](d *Decider[S, E]) { d.turns.off = true }

// Turns counts the streams whose turn is taken.
func Turns[S, E any](d *Decider[S, E]) int {
	d.turns.mu.Lock()
	defer d.turns.mu.Unlock()
	return len(d.turns.waiting)
}

// Wait pauses as after a first conflict.
func Wait(ctx context.Context, r Retry) error { return r.wait(ctx, 1) }

// LongestPause is what the n-th wait lasts at most.
func LongestPause(r Retry, n int) time.Duration { return r.longest(n) }

// Defaults is what a Retry of zeros means.
func Defaults() (r Retry, err error) {
	err = r.fill()
	return r, err
}
