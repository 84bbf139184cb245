package dynamodb

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// writer is what a handle knows of the log, so that it need not read before each
// append. What it knows is as of the end of the log at sequence number end: every
// item up to it was written or learned by this handle. It is used by one goroutine
// at a time.
//
// Nothing of it is believed without proof: whoever is not at the end cannot write
// at end+1, and refusals are given only after the log was read once more.
type writer struct {
	b *Backend

	inStep  bool   // end is known
	begun   uint64 // how often the end was found anew
	end     uint64
	events  uint64
	streams uint64
	seal    *eventstore.SealedError
	tails   generations[*tail]

	handle   [8]byte
	attempts uint64 // builds so far

	losses        int // in a row, to other handles
	chunksRefused int // in a row
	pace          pace
}

// knownStreams is how many streams' ends a handle knows, and twice that for a while.
const knownStreams = 5000

// endItems is how many items of the log's end are read by a handle that is not in
// step: what they say of a stream counts, even where its chunk is not visible yet.
const endItems = 4

// forget drops everything: after an unknown outcome nothing is known.
func (w *writer) forget() {
	w.inStep = false
	w.tails.clear()
}

// begin finds the end of the log.
func (w *writer) begin(ctx context.Context) error {
	items, err := w.b.readLogEnd(ctx)
	if err != nil {
		return err
	}
	w.step(items)
	return nil
}

// step makes the end of the log known, from its last items in ascending order.
func (w *writer) step(items []*logItem) {
	w.tails.clear()
	w.end, w.events, w.streams, w.seal = 0, 0, 0, nil
	if len(items) > 0 {
		last := items[len(items)-1]
		w.end, w.events, w.streams, w.seal = last.seq, last.events, last.streams, last.sealed()
	}
	w.b.seen.learn(items...)
	w.inStep = true
	w.begun++
	w.publish()
}

// publish lets readers know the writer's moment.
func (w *writer) publish() {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.b.as = asOf{w.begun, w.end}
}

// readLogEnd reads the last items of the log, in ascending order.
func (b *Backend) readLogEnd(ctx context.Context) ([]*logItem, error) {
	items, _, err := b.client.query(ctx, span{partition: b.keys.log(), low: 1, high: mostSort, backward: true, limit: endItems})
	if err != nil {
		return nil, err
	}
	out := make([]*logItem, len(items))
	for i, it := range items {
		l, err := decodeLogItem(&b.deflater, it)
		if err != nil {
			return nil, err
		}
		out[len(items)-1-i] = l
	}
	return out, nil
}

// learn takes in the item that follows the end, which another handle wrote.
func (w *writer) learn(l *logItem) error {
	if l.seq != w.end+1 {
		return damaged("log item %d follows %d", l.seq, w.end)
	}
	w.took(l)
	if l.attempt.handle() != w.handle {
		w.pace.rival(l.attempt.handle(), time.Now())
	}
	w.b.hint.Notify()
	return nil
}

// took moves the end behind an item of the log.
func (w *writer) took(l *logItem) {
	w.b.seen.learn(l)
	w.end, w.events, w.streams, w.seal = l.seq, l.events, l.streams, l.sealed()
	defer w.publish()
	w.b.tail.add(l)
	for i := range l.runs {
		r := &l.runs[i]
		t, ok := w.tails.get(r.stream)
		if !ok {
			continue
		}
		for j := range r.events {
			switch version := r.first + uint64(j); {
			case version <= t.version: // it was read after this item was written
				continue
			case version > t.version+1: // it was read torn
				w.tails.delete(r.stream)
			default:
				t.add(tailEvent{id: r.events[j].ID, position: l.place(r, j).Position, at: r.at}, w.b.depth(0))
				continue
			}
			break
		}
	}
}

// catchUp reads what others wrote behind the end. found is nil unless the item of
// this attempt is among it. Where it is more than a page, everything is forgotten
// and read anew.
func (w *writer) catchUp(ctx context.Context, own *attempt) (news, found bool, err error) {
	items, more, err := w.b.client.query(ctx, span{partition: w.b.keys.log(), low: w.end + 1, high: mostSort})
	if err != nil {
		return false, false, err
	}
	for _, it := range items {
		l, err := decodeLogItem(&w.b.deflater, it)
		if err != nil {
			return news, found, err
		}
		if l.seq != w.end+1 {
			break // a query is not of one moment: what is missing is there for the next one
		}
		if own != nil && l.attempt == *own {
			found = true
		}
		if err := w.learn(l); err != nil {
			return news, found, err
		}
		news = true
	}
	if more {
		w.forget()
		return true, found, w.begin(ctx)
	}
	return news, found, nil
}

// most streams whose ends are read at once.
const tailsAtOnce = 16

// prepare makes known what the appends are judged against.
func (w *writer) prepare(ctx context.Context, parts func(yield func(eventstore.StreamAppend) bool)) error {
	if !w.inStep {
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	wanted := make(map[string]uint64)
	for part := range parts {
		depth := w.b.depth(len(part.Events))
		t, ok := w.tails.get(part.Stream)
		if !ok {
			if t = w.b.offers.take(part.Stream, asOf{w.begun, w.end}, w.b.seen.version(part.Stream)); t != nil {
				w.tails.put(part.Stream, t)
			}
		}
		if t == nil || !t.reaches(depth) {
			wanted[part.Stream] = max(wanted[part.Stream], depth)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	var failed error
	room := make(chan struct{}, tailsAtOnce)
	for stream, depth := range wanted {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			t, err := w.b.loadTail(ctx, stream, depth)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			w.tails.put(stream, t)
		})
	}
	all.Wait()
	return failed
}

// depth is how many events before a stream's end are looked at for the IDs of an
// append of so many events: the window, and more for an append that is larger than
// half of it, so that its repetition is recognised.
func (b *Backend) depth(events int) uint64 {
	window := b.opts.IdempotencyWindow
	return uint64(max(window, window/2+events))
}

// next returns a new attempt's name.
func (w *writer) next() attempt {
	w.attempts++
	var a attempt
	copy(a[:8], w.handle[:])
	for i := range 8 {
		a[15-i] = byte(w.attempts >> (8 * i))
	}
	return a
}

// pace keeps handles that write at the same time from taking each other's turns.
type pace struct {
	usual  time.Duration // a commit takes, lately
	rivals map[[8]byte]time.Time
	until  time.Time // no commit before it
}

// rivalFor is how long another handle counts as one that writes.
const rivalFor = 3 * time.Second

func (p *pace) rival(handle [8]byte, now time.Time) {
	if p.rivals == nil {
		p.rivals = make(map[[8]byte]time.Time)
	}
	p.rivals[handle] = now
	if len(p.rivals) > 1000 {
		p.count(now)
	}
}

// count is how many other handles wrote lately.
func (p *pace) count(now time.Time) int {
	for handle, at := range p.rivals {
		if now.Sub(at) > rivalFor {
			delete(p.rivals, handle)
		}
	}
	return len(p.rivals)
}

// won notes a commit: where there are others, the next one leaves them time, or the
// winner would go on winning.
func (p *pace) won(took time.Duration, now time.Time) {
	if p.usual == 0 {
		p.usual = took
	}
	p.usual += (took - p.usual) / 8
	p.until = time.Time{}
	if p.count(now) > 0 {
		p.until = now.Add(p.usual + spread(p.usual))
	}
}

// lost returns how long to wait after another handle took the turn.
func (p *pace) lost(now time.Time) time.Duration {
	return spread(max(p.usual, time.Millisecond) * time.Duration(1+p.count(now)))
}

// wait waits until the next commit may begin.
func (p *pace) wait(ctx context.Context) error {
	if pause := time.Until(p.until); pause > 0 {
		return sleep.For(ctx, pause)
	}
	return nil
}

func spread(most time.Duration) time.Duration {
	return rand.N(max(most, 1)) //nolint:gosec // not a secret: it keeps handles apart
}
