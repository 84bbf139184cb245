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
	heldFor = 40 * time.Millisecond
	// A winner is held for so long at most: a read and the way of an append to here.
	winnerHeldFor = 2 * time.Millisecond
	// A stream on which nothing happened for so long is no hot one any more.
	coolAfter = 200 * time.Millisecond
)

// conflictPacer spaces the answers to those who lost a race for a version. Of many writers that
// read the version of one stream and append to it, one wins and all others come back at
// once, to lose again but for one: most of what the server does is then in vain, and
// the one that could win waits for it. So of the losers of this process one is answered
// for each append that is stored; the others wait for their turn, in their order, for
// heldFor at most. Whoever loses alone is answered at once.
//
// Who won comes back at once too, and would win again as often as not: of eight writers
// some would lose for 100 ms. So where losers wait, the winner is answered when the
// loser whose turn it is has come with its append, after winnerHeldFor at most. The
// winner is behind it then, and the turn goes round (`switchyard bench`, one hot stream).
type conflictPacer struct {
	mu      sync.Mutex
	streams map[string]*race
}

// race is the losers of one stream.
type race struct {
	waiting []chan struct{} // closed when it is a loser's turn
	free    bool            // an append was stored since a loser was answered
	came    chan struct{}   // closed when the loser whose turn it is has come; nil where none is awaited
	cool    *time.Timer
}

// arrived is called with each append before it is sent.
func (p *conflictPacer) arrived(parts []eventstore.StreamAppend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.streams) == 0 {
		return
	}
	for i := range parts {
		r, ok := p.streams[parts[i].Stream]
		if _, exact := parts[i].Expected.Exact(); ok && exact && r.came != nil {
			close(r.came)
			r.came = nil
		}
	}
}

// answered is called with each verdict before its caller hears of it. It may wait.
func (p *conflictPacer) answered(ctx, lifetime context.Context, parts []eventstore.StreamAppend, err error) {
	if err == nil {
		for i := range parts {
			if came := p.stored(parts[i].Stream); came != nil {
				hold(ctx, lifetime, came, winnerHeldFor)
			}
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
	turn := p.lost(conflict.Stream)
	if turn == nil {
		return
	}
	if !hold(ctx, lifetime, turn, heldFor) {
		p.leave(conflict.Stream, turn)
	}
}

// hold waits for what is to come, and says whether it came.
func hold(ctx, lifetime context.Context, what <-chan struct{}, atMost time.Duration) (came bool) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-what:
		return true
	case <-timer.C:
	case <-ctx.Done():
	case <-lifetime.Done():
	}
	return false
}

// stored lets the next loser go, and returns what its winner is to wait for; nil where
// no loser waits.
func (p *conflictPacer) stored(stream string) (came <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.streams[stream]
	if !ok {
		return nil
	}
	r.cool.Reset(coolAfter)
	if len(r.waiting) == 0 {
		r.free = true
		return nil
	}
	close(r.waiting[0])
	r.waiting = r.waiting[1:]
	if r.came == nil {
		r.came = make(chan struct{})
	}
	return r.came
}

// lost returns what a loser is to wait for; nil where it need not.
func (p *conflictPacer) lost(stream string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.streams[stream]
	if !ok {
		r = &race{free: true}
		r.cool = time.AfterFunc(coolAfter, func() { p.cooled(stream, r) })
		if p.streams == nil {
			p.streams = make(map[string]*race)
		}
		p.streams[stream] = r
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
func (p *conflictPacer) leave(stream string, turn chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.streams[stream]
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
func (p *conflictPacer) cooled(stream string, r *race) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.streams[stream] != r:
	case len(r.waiting) > 0: // they are late, as on a busy machine
		r.cool.Reset(coolAfter)
	default:
		delete(p.streams, stream)
	}
}
