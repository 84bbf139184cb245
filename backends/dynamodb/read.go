package dynamodb

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ReadStream implements [eventstore.Backend]. A page is whole: it is read again where
// it shows a transaction in part.
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	low, high := req.After+1, uint64(mostSort) // inclusive
	if req.Before != 0 {
		high = min(high, req.Before-1)
	}
	if low > high {
		return eventstore.Page{End: true}, nil
	}
	read := b.streamForward
	if req.Backward {
		read = b.streamBackward
	}
	as := b.moment()
	page, err := untorn(ctx, func() (streamPage, string, error) { return read(ctx, req.Stream, low, high, req.PageSize) })
	if err != nil {
		return eventstore.Page{}, err
	}
	if page.End && !req.Backward && req.Before == 0 {
		b.offers.put(req.Stream, page.chunks, as, b.depth(0))
	}
	return page.Page, nil
}

// streamPage is a page and what it was made of, in the order of the read.
type streamPage struct {
	eventstore.Page
	chunks []*chunk
}

// streamForward reads versions low to high, in ascending order.
func (b *Backend) streamForward(ctx context.Context, stream string, low, high uint64, size eventstore.PageSize) (page streamPage, torn string, err error) {
	want := min(b.seen.version(stream), high)
	partition := b.keys.stream(stream)
	p := pageBuilder{size: size}
	next := low
	for {
		chunks, more, err := b.chunksFrom(ctx, partition, next, high, size.MaxEvents)
		if err != nil {
			return page, "", err
		}
		for _, c := range chunks {
			switch {
			case c.last() < next: // it lies before the range, and may be the stream's end
				page.chunks = append(page.chunks[:0], c)
				continue
			case c.first > next:
				return page, missing(stream, next, c.first-1), nil
			}
			page.chunks = append(page.chunks, c)
			for ; next <= min(c.last(), high); next++ {
				if p.full() {
					page.Events = p.events
					return page, "", nil
				}
				event := c.recorded(int(next - c.first))
				p.add(event, event.Size())
			}
		}
		page.Events, page.End = p.events, !more || next > high
		if n := len(chunks); n > 0 {
			want = max(want, min(chunks[n-1].upTo, high))
		}
		switch {
		case page.End && next <= want:
			return page, missing(stream, next, want), nil
		case page.End || len(p.events) > 0:
			return page, "", nil
		}
	}
}

// chunksFrom reads the chunk with the event at next, and some that follow it.
func (b *Backend) chunksFrom(ctx context.Context, partition string, next, high uint64, events int) (chunks []*chunk, more bool, err error) {
	// The chunk with the first version begins there or before. That it begins at the
	// version before costs nothing to ask, and spares a request where the last read
	// ended with a chunk of one event.
	if next < high || next == 1 {
		from := max(next-1, 1)
		if chunks, more, err = b.queryChunks(ctx, span{partition: partition, low: from, high: high, limit: b.chunkDensity.items(events) + 1}); err != nil {
			return nil, false, err
		}
	}
	if next == 1 || (len(chunks) > 0 && chunks[0].first <= next) {
		return chunks, more, nil
	}
	before, _, err := b.queryChunks(ctx, span{partition: partition, low: 1, high: next, backward: true, limit: 1})
	if err != nil {
		return nil, false, err
	}
	if len(before) > 0 && (len(chunks) == 0 || before[0].first < chunks[0].first) {
		chunks = append(before, chunks...)
	}
	return chunks, more, nil
}

// streamBackward reads versions high to low, in descending order.
func (b *Backend) streamBackward(ctx context.Context, stream string, low, high uint64, size eventstore.PageSize) (page streamPage, torn string, err error) {
	want := min(b.seen.version(stream), high)
	chunks, more, err := b.queryChunks(ctx, span{partition: b.keys.stream(stream), low: 1, high: high, backward: true, limit: b.chunkDensity.items(size.MaxEvents)})
	if err != nil {
		return page, "", err
	}
	p := pageBuilder{size: size}
	next := uint64(0) // the version that comes next; 0 before the first chunk
	for _, c := range chunks {
		last := min(c.last(), high)
		if next == 0 {
			want = max(want, min(c.upTo, high))
		}
		switch {
		case next == 0 && last < want:
			return page, missing(stream, last+1, want), nil
		case next == 0:
			next = last
		case c.last() != next:
			return page, missing(stream, c.last()+1, next), nil
		}
		for ; next >= max(c.first, low); next-- {
			if p.full() {
				return streamPage{Page: eventstore.Page{Events: p.events}}, "", nil
			}
			event := c.recorded(int(next - c.first))
			p.add(event, event.Size())
		}
		if next < low {
			break
		}
	}
	switch end := !more || next < low; {
	case len(chunks) == 0 && want >= low:
		return page, missing(stream, low, want), nil
	case end && next >= low:
		return page, missing(stream, low, next), nil
	default:
		return streamPage{Page: eventstore.Page{Events: p.events, End: end}}, "", nil
	}
}

func (b *Backend) queryChunks(ctx context.Context, s span) ([]*chunk, bool, error) {
	items, more, err := b.client.query(ctx, s)
	if err != nil {
		return nil, false, err
	}
	chunks := make([]*chunk, len(items))
	for i, it := range items {
		if chunks[i], err = decodeChunk(b.keys, &b.deflater, it); err != nil {
			return nil, false, err
		}
		b.chunkDensity.saw(len(chunks[i].events))
	}
	return chunks, more, nil
}
