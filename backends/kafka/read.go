package kafka

import (
	"context"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// readAtOnce is how many events of a stream are read together, while their sizes are
// not known.
const readAtOnce = 32

// ReadStream implements [eventstore.Backend]. The index says where the events are;
// they come from memory or, a few at a time, from the log.
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	if !b.log.holds(req) {
		if err := b.view(ctx); err != nil {
			return eventstore.Page{}, err
		}
	}
	p := newPage(req.PageSize)
	low, high, err := b.log.bounds(req)
	if err != nil {
		return eventstore.Page{}, err
	}
	for low < high && !p.full() {
		n := min(high-low, p.atOnce())
		first := low // versions first+1 … first+n
		if req.Backward {
			first = high - n
		}
		if err := b.readVersions(ctx, req, first, n, p); err != nil {
			return eventstore.Page{}, b.readError(ctx, err)
		}
		if req.Backward {
			high -= n
		} else {
			low += n
		}
	}
	return eventstore.Page{Events: p.events, End: low >= high && !p.cut}, nil
}

// holds tells whether a page can be read from what is folded, whatever was
// acknowledged since: it does not come to the stream's end.
func (l *folded) holds(req eventstore.ReadStreamRequest) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	version := l.state.Version(req.Stream)
	if req.Before != 0 && req.Before-1 <= version {
		return true
	}
	return !req.Backward && version > req.After && version-req.After > uint64(req.MaxEvents)
}

// bounds returns the versions that a page is of: low < version <= high.
func (l *folded) bounds(req eventstore.ReadStreamRequest) (low, high uint64, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	high = l.state.Version(req.Stream)
	if req.Before != 0 {
		high = min(high, req.Before-1)
	}
	return min(req.After, high), high, l.halted
}

// readVersions adds the events of a stream after a version to a page, in the page's
// order.
func (b *Backend) readVersions(ctx context.Context, req eventstore.ReadStreamRequest, after, n uint64, p *page) error {
	places := make([]fold.Place, n)
	offsets := make([]int64, n)
	b.log.mu.RLock()
	for i := range n {
		places[i], _ = b.log.state.Place(req.Stream, after+1+i)
		offsets[i] = places[i].Offset
	}
	b.log.mu.RUnlock()
	records, err := b.records(ctx, offsets)
	if err != nil {
		return err
	}
	for i := range n {
		if p.full() {
			p.cut = true
			return nil
		}
		at := i
		if req.Backward {
			at = n - 1 - i
		}
		place := places[at]
		found, err := eventAt(records[place.Offset], place.Index)
		if err == nil && (found.event.ID != place.ID || found.stream != req.Stream) {
			err = errOtherRecord
		}
		if err != nil {
			return b.log.halt(&fold.HaltError{Offset: place.Offset, Reason: err.Error()})
		}
		p.add(records[place.Offset].recorded(found, after+1+at))
	}
	return nil
}

// page collects events up to a size.
type page struct {
	size   eventstore.PageSize
	events []eventstore.RecordedEvent
	bytes  int
	cut    bool // events were read and left out
}

func newPage(size eventstore.PageSize) *page { return &page{size: size} }

func (p *page) full() bool {
	return len(p.events) >= p.size.MaxEvents || (p.bytes >= p.size.MaxBytes && len(p.events) > 0)
}

func (p *page) add(event eventstore.RecordedEvent) {
	p.bytes += event.Size()
	p.events = append(p.events, event)
}

// atOnce is how many more events to read together: as many as are likely to fit.
func (p *page) atOnce() uint64 {
	n := min(readAtOnce, p.size.MaxEvents-len(p.events))
	if read := len(p.events); read > 0 {
		average := max(1, p.bytes/read)
		n = min(8*readAtOnce, p.size.MaxEvents-read, (p.size.MaxBytes-p.bytes)/average+1)
	} else if p.size.MaxBytes < 64<<10 {
		n = min(n, 4)
	}
	return uint64(max(1, n))
}
