package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	// A loser is held for so long at most, whatever happens.
	heldFor = 10 * time.Millisecond
	// A stream on which nothing happened for so long is no hot one any more.
	coolAfter = 50 * time.Millisecond
)

// hot spaces the answers to those who lost a race for a version. Of many writers that
// read the version of one stream and append to it, one wins and all others come back at
// once, to lose again but for one: most of what the server does is then in vain, and
// the one that could win waits for it. So of the losers of this process one is answered
// for each append that is stored; the others wait for their turn, in their order, for
// heldFor at most. Whoever loses alone is answered at once.
type hot struct {
	mu      sync.Mutex
	streams map[string]*race
}

// race is the losers of one stream.
type race struct {
	waiting []chan struct{} // closed when it is a loser's turn
	free    bool            // an append was stored since a loser was answered
	cool    *time.Timer
}

// answered is called with each verdict before its caller hears of it. It may wait.
func (h *hot) answered(ctx, lifetime context.Context, parts []eventstore.StreamAppend, err error) {
	if err == nil {
		for i := range parts {
			h.stored(parts[i].Stream)
		}
		return
	}
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return
	}
	if version, exact := conflict.Expected.Exact(); !exact || version == 0 {
		return // there is no next version to race for
	}
	turn := h.lost(conflict.Stream)
	if turn == nil {
		return
	}
	timer := time.NewTimer(heldFor)
	defer timer.Stop()
	select {
	case <-turn:
	case <-timer.C:
		h.leave(conflict.Stream, turn)
	case <-ctx.Done():
		h.leave(conflict.Stream, turn)
	case <-lifetime.Done():
	}
}

// stored lets the next loser go.
func (h *hot) stored(stream string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.streams[stream]
	if !ok {
		return
	}
	r.cool.Reset(coolAfter)
	if len(r.waiting) == 0 {
		r.free = true
		return
	}
	close(r.waiting[0])
	r.waiting = r.waiting[1:]
}

// lost returns what a loser is to wait for; nil where it need not.
func (h *hot) lost(stream string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.streams[stream]
	if !ok {
		r = &race{free: true}
		r.cool = time.AfterFunc(coolAfter, func() { h.cooled(stream, r) })
		if h.streams == nil {
			h.streams = make(map[string]*race)
		}
		h.streams[stream] = r
	}
	r.cool.Reset(coolAfter)
	if r.free {
		r.free = false
		return nil
	}
	turn := make(chan struct{})
	r.waiting = append(r.waiting, turn)
	return turn
}

// leave takes out a loser that does not wait any more.
func (h *hot) leave(stream string, turn chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.streams[stream]
	if !ok {
		return
	}
	for i, waiting := range r.waiting {
		if waiting == turn {
			r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
			return
		}
	}
}

// cooled forgets a stream on which nothing happens.
func (h *hot) cooled(stream string, r *race) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[stream] == r && len(r.waiting) == 0 {
		delete(h.streams, stream)
	}
}
