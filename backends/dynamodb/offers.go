package dynamodb

import "sync"

// offers are the ends of streams that reads have seen, for the writer: who reads a
// stream, decides and appends pays for one read.
type offers struct {
	mu      sync.Mutex
	streams map[string]offer
}

// offer is a stream's end as it was read at a moment of the writer's, or later.
type offer struct {
	tail *tail
	as   asOf
}

// asOf is a moment of a writer: how often it has found the end of the log anew, and
// the end.
type asOf struct{ begun, end uint64 }

// freshFor is how many log items may have been written since an offer. What these say
// of the stream is in seen, which holds more streams than so many items have.
const freshFor = 64

const mostOffers = 1000

// put offers what a read to the end of a stream has seen, if that is enough.
func (o *offers) put(stream string, chunks []*chunk, as asOf, depth uint64) {
	t := &tail{from: 1}
	if len(chunks) > 0 {
		if first := chunks[0].first; first > 1 && chunks[len(chunks)-1].last()-first+1 < depth {
			return
		}
		for last := chunks[len(chunks)-1].last(); len(chunks) > 1 && last-chunks[0].last() >= depth; {
			chunks = chunks[1:]
		}
		t = tailOf(chunks)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.streams == nil || len(o.streams) >= mostOffers {
		o.streams = make(map[string]offer)
	}
	o.streams[stream] = offer{t, as}
}

// take returns a stream's end as it was offered, where nothing was written to the
// stream since; nil otherwise.
func (o *offers) take(stream string, now asOf, seen uint64) *tail {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken, ok := o.streams[stream]
	delete(o.streams, stream)
	if !ok || taken.as.begun != now.begun || now.end-taken.as.end > freshFor || seen > taken.tail.version {
		return nil
	}
	return taken.tail
}
