package dynamodb

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Attributes of a log item.
const (
	attrAttempt = "x"  // B: the handle's ID and the number of its attempt, 8 bytes each
	attrTime    = "at" // N: microseconds since 1970
	attrEvents  = "n"  // N: events up to and with this item
	attrStreams = "s"  // N: streams up to and with this item
	attrBody    = "b"  // B: the events, where it has any
	attrKind    = "k"  // S: seal or unseal, where it has none
	attrReason  = "r"  // S: the seal's
)

const (
	kindSeal   = "seal"
	kindUnseal = "unseal"
)

// attempt names one build of a transaction, so that its outcome can be told.
type attempt [16]byte

func (a attempt) handle() [8]byte { return [8]byte(a[:8]) }

// token is the attempt's ClientRequestToken: the same in all its sends, and no
// other's.
func (a attempt) token() string { return uuid.UUID(a).String() }

// logItem is one commit: what a transaction added to the log.
type logItem struct {
	seq     uint64
	attempt attempt
	at      int64 // microseconds
	events  uint64
	streams uint64
	seal    string // kindSeal or kindUnseal, or empty
	reason  string
	runs    []run
	size    int // of the item in the table, in bytes; 0 before it is encoded
}

// run is consecutive events of one stream in a log item.
type run struct {
	stream string
	first  uint64 // version
	at     int64  // microseconds
	index  uint64 // of the first event in the log item
	events []logEvent
}

func (r *run) last() uint64 { return r.first + uint64(len(r.events)) - 1 }

// logEvent is an event in the log, or a reference to it.
type logEvent struct {
	*eventstore.Event
	// chunk is the version at which the event's chunk begins; where it is not
	// zero, data, content type and metadata are only there.
	chunk uint64
	size  int // as Event.Size counts, of a reference
}

func (e *logEvent) bytes() int {
	if e.chunk != 0 {
		return e.size
	}
	return e.Size()
}

// count is how many events the item has.
func (l *logItem) count() uint64 {
	if len(l.runs) == 0 {
		return 0
	}
	last := &l.runs[len(l.runs)-1]
	return last.index + uint64(len(last.events))
}

// place is that of an event of the item.
func (l *logItem) place(r *run, i int) eventstore.Place {
	return eventstore.Place{
		Position: eventstore.NewPosition(l.seq, r.index+uint64(i)),
		Stream:   r.stream, Version: r.first + uint64(i), ID: r.events[i].ID,
	}
}

// lastPlace is that of the item's last event; zero where it has none.
func (l *logItem) lastPlace() eventstore.Place {
	if len(l.runs) == 0 {
		return eventstore.Place{}
	}
	r := &l.runs[len(l.runs)-1]
	return l.place(r, len(r.events)-1)
}

// placeAt is that of the event with an index; zero where there is none.
func (l *logItem) placeAt(index uint64) eventstore.Place {
	for i := range l.runs {
		r := &l.runs[i]
		if index >= r.index && index-r.index < uint64(len(r.events)) {
			return l.place(r, int(index-r.index))
		}
	}
	return eventstore.Place{}
}

// sealed returns the seal that stands where this item is the log's last.
func (l *logItem) sealed() *eventstore.SealedError {
	if l.seal != kindSeal {
		return nil
	}
	return &eventstore.SealedError{Reason: l.reason}
}

func (l *logItem) encode(k keys, d *deflater) item {
	it := l.attributes(k, d)
	l.size = itemSize(it)
	return it
}

func (l *logItem) attributes(k keys, d *deflater) item {
	it := keyOf(k.log(), l.seq)
	it[attrAttempt] = binary(l.attempt[:])
	it[attrTime] = signed(l.at)
	it[attrEvents], it[attrStreams] = number(l.events), number(l.streams)
	if l.seal != "" {
		it[attrKind] = text(l.seal)
		if l.reason != "" {
			it[attrReason] = text(l.reason)
		}
		return it
	}
	it[attrBody] = binary(d.seal(l.body()))
	return it
}

// body packs the runs, behind a byte for the format.
func (l *logItem) body() []byte {
	p := packer{b: make([]byte, 1, 1024)}
	p.uint(uint64(len(l.runs)))
	for i := range l.runs {
		r := &l.runs[i]
		p.text(r.stream)
		p.uint(r.first)
		p.int(r.at - l.at)
		p.uint(uint64(len(r.events)))
		for j := range r.events {
			event := &r.events[j]
			if event.chunk == 0 {
				p.byte(contentFlags(event.Event))
				p.raw(event.ID[:])
				p.text(event.Type)
				p.content(event.Event)
				continue
			}
			p.byte(flagReference)
			p.raw(event.ID[:])
			p.text(event.Type)
			p.uint(r.first + uint64(j) - event.chunk)
			p.uint(uint64(event.Size()))
		}
	}
	return p.b
}

// decodeLogItem reads a log item. What it returns shares no memory with it.
func decodeLogItem(d *deflater, it item) (*logItem, error) {
	a := attributes{of: it}
	l := &logItem{seq: a.number(sortKey), size: itemSize(it)}
	l.attempt, l.at, l.events, l.streams = a.id(attrAttempt), a.signed(attrTime), a.number(attrEvents), a.number(attrStreams)
	switch {
	case a.has(attrKind):
		if l.seal = a.text(attrKind); l.seal != kindSeal && l.seal != kindUnseal {
			a.fail(attrKind, "one that this version knows")
		}
		if a.has(attrReason) {
			l.reason = a.text(attrReason)
		}
	case a.err == nil:
		if body := a.binary(attrBody); a.err == nil {
			a.err = l.unpack(d, body)
		}
	}
	if a.err != nil {
		return nil, damaged("log item %d: %w", l.seq, a.err)
	}
	return l, nil
}

func (l *logItem) unpack(d *deflater, body []byte) error {
	packed, err := d.unseal(body)
	if err != nil {
		return err
	}
	u := unpacker{b: packed}
	l.runs = make([]run, u.count())
	index := uint64(0)
	for i := range l.runs {
		r := &l.runs[i]
		r.stream, r.first, r.at, r.index = u.text(), u.uint(), l.at+u.int(), index
		r.events = make([]logEvent, u.count())
		index += uint64(len(r.events))
		if len(r.events) == 0 || r.first == 0 {
			u.fail()
		}
		events := make([]eventstore.Event, len(r.events))
		for j := range r.events {
			event := &events[j]
			flags := u.byte()
			event.ID, event.Type = u.id(), u.text()
			r.events[j].Event = event
			if flags&flagReference == 0 {
				u.content(event, flags)
				continue
			}
			back := u.uint()
			if back >= r.first+uint64(j) {
				u.fail()
			}
			r.events[j].chunk = r.first + uint64(j) - back
			r.events[j].size = int(u.uint())
		}
	}
	if u.err == nil && len(u.b) > 0 {
		return fmt.Errorf("%d bytes follow its events", len(u.b))
	}
	return u.err
}

// recorded is an event of the log as readers get it.
func (l *logItem) recorded(r *run, i int) eventstore.RecordedEvent {
	place := l.place(r, i)
	return eventstore.RecordedEvent{
		Event: *r.events[i].Event, Stream: r.stream, Version: place.Version, Position: place.Position, RecordedAt: fromMicros(r.at),
	}
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
