package decider

import (
	"context"
	"slices"
	"sync"
	"time"
)

// longestPatience is how long a decision waits for its turn at most.
const longestPatience = 100 * time.Millisecond

// patience is at most a quarter of the time that a context leaves, so that somebody else's
// slow decision does not use up the time for one's own.
func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return longestPatience
	}
	return min(longestPatience, time.Until(deadline)/4)
}

// turns lets decisions on one stream in one after the other. That is a courtesy which
// saves conflicts, and never a lock: who has waited long enough goes on without, so
// decisions within decisions cannot deadlock.
type turns struct {
	mu      sync.Mutex
	waiting map[string][]chan struct{} // by stream whose turn is taken; who waits, in order
	off     bool                       // for a benchmark
}

// take waits for the turn on a stream, as long as there is patience, and tells whether it
// was given. If so, it must be left.
func (t *turns) take(ctx context.Context, stream string, patience time.Duration) bool {
	if t.off {
		return false
	}
	t.mu.Lock()
	queue, taken := t.waiting[stream]
	if !taken {
		t.waiting[stream] = nil
		t.mu.Unlock()
		return true
	}
	given := make(chan struct{})
	t.waiting[stream] = append(queue, given)
	t.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-given:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return !t.giveUp(stream, given)
}

// giveUp ends a wait. It returns false where the turn was given meanwhile.
func (t *turns) giveUp(stream string, given chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.waiting[stream]
	i := slices.Index(queue, given)
	if i < 0 {
		return false
	}
	t.waiting[stream] = slices.Delete(queue, i, i+1)
	return true
}

// leave gives the turn to who has waited longest.
func (t *turns) leave(stream string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.waiting[stream]
	if len(queue) == 0 {
		delete(t.waiting, stream)
		return
	}
	close(queue[0])
	t.waiting[stream] = queue[1:]
}
