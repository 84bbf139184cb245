package dynamodb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// ReadAll implements [eventstore.Backend]. The log is one partition, so a page is a
// query with strong consistency, and the item with the event that it follows is its
// first.
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	r := &logReader{b: b, req: req, page: pageBuilder{size: req.PageSize}, next: req.After}
	read := r.forward
	if req.Backward {
		r.next = eventstore.Place{Position: req.Before}
		read = r.backward
	}
	if err := read(ctx); err != nil {
		return eventstore.Page{}, err
	}
	if err := b.dereference(ctx, r.page.events, r.references); err != nil {
		return eventstore.Page{}, err
	}
	return eventstore.Page{Events: r.page.events, End: r.end, Next: r.next, Sealed: r.end && r.sealed}, nil
}

// logReader reads one page of the log.
type logReader struct {
	b          *Backend
	req        eventstore.ReadAllRequest
	page       pageBuilder
	references []reference
	next       eventstore.Place // considered last
	considered bool
	end        bool
	sealed     bool
	shared     bool // the items are others' too
}

// reference says where the content of a page's event is.
type reference struct {
	event int // in the page
	chunk uint64
}

// limit is how many items a query asks for. A filter passes over most of what it sees.
func (r *logReader) limit() int {
	limit := r.b.logDensity.items(r.page.size.MaxEvents) + 1
	if !r.req.Filter.IsZero() {
		limit *= 8
	}
	return limit
}

// forward reads what follows the request's After.
func (r *logReader) forward(ctx context.Context) error {
	after, _ := r.req.After.Position.Words()
	for low := max(after, 1); ; {
		items, more, err := r.following(ctx, low)
		if err != nil {
			return err
		}
		if low == max(after, 1) {
			if err := r.check(ctx, items); err != nil {
				return err
			}
		}
		done := r.takeForward(items)
		if len(items) > 0 {
			last := items[len(items)-1]
			r.sealed = last.sealed() != nil
			low = last.seq + 1
		}
		switch {
		case done:
			r.leave(items)
			return nil
		case !more:
			r.end = true
			return r.seenSeal(ctx, items)
		case r.considered:
			r.leave(items)
			return nil
		}
	}
}

// following returns items from a sequence number on: at first those that the page
// before has left over.
func (r *logReader) following(ctx context.Context, low uint64) (items []*logItem, more bool, err error) {
	if after, _ := r.req.After.Position.Words(); low == after {
		if items = r.b.surplus.take(r.req.After.Position, time.Now()); items != nil {
			return items, true, nil
		}
	}
	return r.query(ctx, low)
}

// leave leaves for the next page what this one had no room for.
func (r *logReader) leave(items []*logItem) {
	seq, _ := r.next.Position.Words()
	for len(items) > 0 && items[0].seq < seq {
		items = items[1:]
	}
	if !r.end && len(items) > 0 && items[0].seq == seq {
		r.b.surplus.put(r.next.Position, items, time.Now())
	}
}

// seenSeal looks for the seal where a page behind the end of the log has not met
// the log's last item.
func (r *logReader) seenSeal(ctx context.Context, items []*logItem) error {
	if len(items) > 0 || r.req.After.Position.IsZero() || r.considered {
		return nil
	}
	last, err := r.b.lastItem(ctx)
	if err == nil && last != nil {
		r.sealed = last.sealed() != nil
	}
	return err
}

// query reads items from a sequence number on, up to one that is not visible yet.
func (r *logReader) query(ctx context.Context, low uint64) (items []*logItem, more bool, err error) {
	type answer struct {
		items []*logItem
		more  bool
	}
	got, err := untorn(ctx, func() (answer, string, error) {
		raw, more, err := r.b.client.query(ctx, span{partition: r.b.keys.log(), low: low, high: mostSort, limit: r.limit()})
		if err != nil {
			return answer{}, "", err
		}
		out, whole, err := r.decode(raw, func(seq uint64, i int) bool { return seq == low+uint64(i) })
		if err != nil {
			return answer{}, "", err
		}
		if !whole && len(out) == 0 {
			return answer{}, fmt.Sprintf("the log lacks item %d", low), nil
		}
		return answer{out, more || !whole}, "", nil
	})
	return got.items, got.more, err
}

// decode decodes items as long as each follows the one before. A query is not of one
// moment: where it skips one, that is visible by now.
func (r *logReader) decode(raw []item, follows func(seq uint64, i int) bool) (items []*logItem, whole bool, err error) {
	for i, it := range raw {
		l, err := decodeLogItem(&r.b.deflater, it)
		if err != nil {
			return nil, false, err
		}
		if !follows(l.seq, i) {
			r.b.seen.learn(items...)
			return items, false, nil
		}
		items = append(items, l)
		r.b.logDensity.saw(int(l.count()))
	}
	r.b.seen.learn(items...)
	return items, true, nil
}

// check holds the request's After against what is there.
func (r *logReader) check(ctx context.Context, items []*logItem) error {
	if !r.req.After.Named() {
		return nil
	}
	seq, index := r.req.After.Position.Words()
	var found eventstore.Place
	head := r.req.After.Position // it is not ahead where something follows it
	if len(items) > 0 && items[0].seq == seq {
		found = items[0].placeAt(index)
		if found.IsZero() && len(items) == 1 {
			head = items[0].lastPlace().Position
		}
	} else {
		place, err := r.b.head(ctx)
		if err != nil {
			return err
		}
		head = place.Position
	}
	return adapter.CheckPlace(r.req.After, found, head, r.b.id)
}

// take adds the events of items to the page, in their order. within tells whether an
// event is in the range, and whether the range is over. done says that the page is
// finished; that sets the end too, where nothing matched beyond it.
func (r *logReader) take(items []*logItem, within func(l *logItem, index int) (in, over bool)) (done bool) {
	all := r.req.Filter.IsZero()
	for _, l := range items {
		for i := range l.runs {
			run := &l.runs[i]
			for j := range run.events {
				in, over := within(l, int(run.index)+j)
				switch {
				case over:
					r.end = true
					return true
				case !in:
					continue
				case r.page.full():
					return true
				}
				r.considered = true
				r.next = l.place(run, j)
				event := &run.events[j]
				if !all && !r.req.Filter.Match(run.stream, event.Type) {
					continue
				}
				if event.chunk != 0 {
					r.references = append(r.references, reference{len(r.page.events), event.chunk})
				}
				recorded := l.recorded(run, j)
				if r.shared {
					recorded = own(recorded)
				}
				r.page.add(recorded, event.bytes())
			}
		}
	}
	return false
}

func (r *logReader) takeForward(items []*logItem) (done bool) {
	return r.take(items, func(l *logItem, i int) (bool, bool) {
		at := l.seqPosition(i)
		if !r.req.After.Position.Before(at) {
			return false, false
		}
		return true, !r.req.Before.IsZero() && !at.Before(r.req.Before)
	})
}

func (l *logItem) seqPosition(index int) eventstore.Position {
	return eventstore.NewPosition(l.seq, uint64(index))
}

// backward reads what comes before the request's Before, last first.
func (r *logReader) backward(ctx context.Context) error {
	high := uint64(mostSort)
	if !r.req.Before.IsZero() {
		seq, _ := r.req.Before.Words()
		high = min(high, seq)
	}
	for first := true; high > 0; first = false {
		items, err := r.queryBackward(ctx, high, !first)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			break
		}
		if high == mostSort {
			r.sealed = items[0].sealed() != nil
		}
		if r.takeBackward(items) {
			return nil
		}
		high = items[len(items)-1].seq - 1
		if high > 0 && r.considered {
			return nil
		}
	}
	r.end = true
	return nil
}

// queryBackward reads items from a sequence number down, up to one that is not visible
// yet. known says that there is an item with that number.
func (r *logReader) queryBackward(ctx context.Context, high uint64, known bool) ([]*logItem, error) {
	return untorn(ctx, func() ([]*logItem, string, error) {
		raw, _, err := r.b.client.query(ctx, span{partition: r.b.keys.log(), low: 1, high: high, backward: true, limit: r.limit()})
		if err != nil {
			return nil, "", err
		}
		next := high
		items, _, err := r.decode(raw, func(seq uint64, i int) bool {
			follows := seq == next || (i == 0 && !known)
			next = seq - 1
			return follows
		})
		if err == nil && known && len(items) == 0 {
			return nil, fmt.Sprintf("the log lacks item %d", high), nil
		}
		return items, "", err
	})
}

func (r *logReader) takeBackward(items []*logItem) (done bool) {
	for _, l := range items {
		reversed := *l
		reversed.runs = nil
		for _, run := range slices.Backward(l.runs) {
			for j := range slices.Backward(run.events) {
				one := run
				one.first += uint64(j)
				one.index += uint64(j)
				one.events = run.events[j : j+1 : j+1]
				reversed.runs = append(reversed.runs, one)
			}
		}
		done := r.take([]*logItem{&reversed}, func(l *logItem, i int) (bool, bool) {
			at := l.seqPosition(i)
			if !r.req.Before.IsZero() && !at.Before(r.req.Before) {
				return false, false
			}
			return true, !r.req.After.Position.IsZero() && !r.req.After.Position.Before(at)
		})
		if done {
			return true
		}
	}
	return false
}

// dereference reads the content of events that the log only refers to.
func (b *Backend) dereference(ctx context.Context, events []eventstore.RecordedEvent, references []reference) error {
	if len(references) == 0 {
		return nil
	}
	type chunkKey struct {
		stream string
		first  uint64
	}
	wanted := make(map[chunkKey][]int) // events of the page
	for _, ref := range references {
		k := chunkKey{events[ref.event].Stream, ref.chunk}
		wanted[k] = append(wanted[k], ref.event)
	}
	for batch := range slices.Chunk(slices.Collect(maps.Keys(wanted)), mostBatch) {
		_, err := untorn(ctx, func() (struct{}, string, error) {
			keys := make([]item, len(batch))
			for i, k := range batch {
				keys[i] = keyOf(b.keys.stream(k.stream), k.first)
			}
			items, err := b.client.batchGet(ctx, keys)
			if err != nil {
				return struct{}{}, "", err
			}
			for _, it := range items {
				c, err := decodeChunk(b.keys, &b.deflater, it)
				if err != nil {
					return struct{}{}, "", err
				}
				k := chunkKey{c.stream, c.first}
				if err := c.fill(events, wanted[k]); err != nil {
					return struct{}{}, "", err
				}
				batch = slices.DeleteFunc(batch, func(other chunkKey) bool { return other == k })
			}
			if len(batch) > 0 {
				return struct{}{}, fmt.Sprintf("stream %q lacks its item %d, which the log refers to", batch[0].stream, batch[0].first), nil
			}
			return struct{}{}, "", nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fill puts the content of the chunk's events into those of a page.
func (c *chunk) fill(events []eventstore.RecordedEvent, which []int) error {
	for _, i := range which {
		at := events[i].Version - c.first
		if at >= uint64(len(c.events)) || c.events[at].ID != events[i].ID {
			return damaged("item %d of stream %q holds other events than the log says", c.first, c.stream)
		}
		position := events[i].Position
		events[i] = c.recorded(int(at))
		if events[i].Position != position {
			return damaged("item %d of stream %q says another position than the log", c.first, c.stream)
		}
	}
	return nil
}
