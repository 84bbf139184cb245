package dynamodb

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// logTail is a copy of the end of the log that a handle's subscriptions share, while
// it has any: whoever is near the end costs no read of his own. Each look at the
// table holds the last item of the copy against the one that is there.
type logTail struct {
	b *Backend

	mu      sync.Mutex
	kept    bool       // somebody subscribes
	items   []*logItem // consecutive
	bytes   int        // of their events
	running *lookup
	next    *lookup // begins when the running one is over
}

// lookup is one look at the table, for all who ask before it begins.
type lookup struct {
	verify bool // somebody wants the copy's last item to be held against the table's
	done   chan struct{}
	news   bool
	err    error
}

// mostTailBytes bounds the copy.
const mostTailBytes = 4 << 20

// lookTimeout bounds a look, which no caller's context ends: others wait for it too.
const lookTimeout = 10 * time.Second

// keep begins or ends keeping a copy.
func (t *logTail) keep(kept bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = kept
	t.drop()
}

func (t *logTail) drop() { t.items, t.bytes = nil, 0 }

// add takes in an item of this handle's own, if it continues the copy.
func (t *logTail) add(l *logItem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.items) > 0 {
		t.append(l)
	}
}

func (t *logTail) append(l *logItem) {
	if !t.kept || (len(t.items) > 0 && t.items[len(t.items)-1].seq+1 != l.seq) {
		return
	}
	t.items = append(t.items, l)
	t.bytes += l.bytes()
	drop := 0
	for ; t.bytes > mostTailBytes && drop < len(t.items)-1; drop++ {
		t.bytes -= t.items[drop].bytes()
	}
	if drop > 0 {
		t.items = append([]*logItem(nil), t.items[drop:]...)
	}
}

func (l *logItem) bytes() int {
	const overhead = 128
	total := overhead
	for i := range l.runs {
		for j := range l.runs[i].events {
			total += overhead + l.runs[i].events[j].Size()
		}
	}
	return total
}

// since returns the copy's items from that with a position on; ok is false where it
// does not reach back so far.
func (t *logTail) since(after eventstore.Position) (items []*logItem, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.items) == 0 {
		return nil, false
	}
	seq, _ := after.Words()
	low := t.items[0].seq
	if after.IsZero() {
		return t.items, low == 1
	}
	if seq < low || seq > t.items[len(t.items)-1].seq {
		return nil, false
	}
	return t.items[seq-low:], true
}

// before tells whether a position lies before the copy.
func (t *logTail) before(after eventstore.Position) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq, _ := after.Words()
	return len(t.items) > 0 && seq < t.items[0].seq
}

// page is ReadAll for subscriptions.
func (t *logTail) page(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := t.b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	items, ok := t.since(req.After.Position)
	if seq, _ := req.After.Position.Words(); ok && items[len(items)-1].seq > seq && hasEventAfter(items, seq) {
		return t.b.pageOf(ctx, req, items, false)
	}
	if !ok && t.before(req.After.Position) {
		return t.b.ReadAll(ctx, req) // catching up
	}
	if _, err := t.look(ctx, true); err != nil {
		return eventstore.Page{}, err
	}
	if items, ok = t.since(req.After.Position); ok {
		return t.b.pageOf(ctx, req, items, true)
	}
	return t.b.ReadAll(ctx, req)
}

func hasEventAfter(items []*logItem, seq uint64) bool {
	for _, l := range items {
		if l.seq > seq && len(l.runs) > 0 {
			return true
		}
	}
	return false
}

// pageOf makes a page of items, the first of which has the event that it follows.
func (b *Backend) pageOf(ctx context.Context, req eventstore.ReadAllRequest, items []*logItem, end bool) (eventstore.Page, error) {
	r := &logReader{b: b, req: req, page: pageBuilder{size: req.PageSize}, next: req.After, shared: true}
	if err := r.check(ctx, items); err != nil {
		return eventstore.Page{}, err
	}
	if done := r.takeForward(items); !done {
		r.end = end
	}
	r.sealed = items[len(items)-1].sealed() != nil
	if err := b.dereference(ctx, r.page.events, r.references); err != nil {
		return eventstore.Page{}, err
	}
	return eventstore.Page{Events: r.page.events, End: r.end, Next: r.next, Sealed: r.end && r.sealed}, nil
}

// look brings the copy up to date, by a read that begins after this call. Where it is
// not to be verified, and nothing follows it, that costs a read unit at most.
func (t *logTail) look(ctx context.Context, verify bool) (news bool, err error) {
	t.mu.Lock()
	mine := t.next
	if mine == nil {
		mine = &lookup{done: make(chan struct{})}
		t.next = mine
	}
	mine.verify = mine.verify || verify
	if t.running == nil {
		t.start()
	}
	t.mu.Unlock()
	select {
	case <-mine.done:
		return mine.news, mine.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// start begins the next look. The lock is held.
func (t *logTail) start() {
	t.running, t.next = t.next, nil
	go func(l *lookup) {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		l.news, l.err = t.refresh(ctx, l.verify)
		if ctx.Err() != nil && l.err != nil {
			l.err = tooLate(l.err)
		}
		close(l.done)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.running = nil
		if t.next != nil {
			t.start()
		}
	}(t.running)
}

// refresh reads from the copy's last item on, or the last items where there is no
// copy. Where another item stands there the copy is dropped.
func (t *logTail) refresh(ctx context.Context, verify bool) (news bool, err error) {
	t.mu.Lock()
	var last *logItem
	if n := len(t.items); n > 0 {
		last = t.items[n-1]
	}
	t.mu.Unlock()
	if last != nil && last.size > readUnit && !verify {
		next, _, err := t.b.client.query(ctx, span{partition: t.b.keys.log(), low: last.seq + 1, high: mostSort, limit: 1})
		if err != nil || len(next) == 0 {
			return false, err
		}
	}
	var items []*logItem
	if last == nil {
		items, err = t.b.readLogEnd(ctx)
	} else {
		items, err = t.b.readLogFrom(ctx, last.seq)
	}
	if err != nil {
		return false, err
	}
	t.b.seen.learn(items...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if last != nil {
		if len(items) == 0 || items[0].seq != last.seq || items[0].attempt != last.attempt {
			t.drop()
			t.b.hint.Notify()
			return true, nil
		}
		items = items[1:]
	}
	for _, l := range items {
		t.append(l)
	}
	if len(items) > 0 {
		t.b.hint.Notify() // whoever looked, the others hear of it
	}
	return len(items) > 0, nil
}

// readLogFrom reads a page of consecutive items.
func (b *Backend) readLogFrom(ctx context.Context, seq uint64) ([]*logItem, error) {
	raw, _, err := b.client.query(ctx, span{partition: b.keys.log(), low: seq, high: mostSort})
	if err != nil {
		return nil, err
	}
	var items []*logItem
	for i, it := range raw {
		l, err := decodeLogItem(&b.deflater, it)
		if err != nil {
			return nil, err
		}
		if l.seq != seq+uint64(i) {
			break
		}
		items = append(items, l)
	}
	return items, nil
}

// own makes an event whose memory is the caller's.
func own(event eventstore.RecordedEvent) eventstore.RecordedEvent {
	event.Data = bytes.Clone(event.Data)
	event.Metadata = maps.Clone(event.Metadata)
	return event
}
