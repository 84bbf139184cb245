package dynamodb

import (
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Attributes of a chunk, and of the events in it.
const (
	attrSeq    = "q" // N: of the log item
	attrCount  = "c" // N: of its events
	attrUpTo   = "l" // N: version of the transaction's last event in the stream, where another chunk has it
	attrPlain  = "e" // L of M: the events
	attrPacked = "z" // B: the events, packed

	attrID          = "i" // B
	attrType        = "t" // S
	attrData        = "d" // S where it is JSON, else B
	attrIndex       = "x" // N: in the log item
	attrContentType = "c" // S unless it is JSON
	attrMetadata    = "m" // M of S
)

// chunk is consecutive events of one stream from one transaction.
type chunk struct {
	stream string
	first  uint64 // version
	seq    uint64
	at     int64  // microseconds; that of its first event
	upTo   uint64 // version of the transaction's last event in the stream
	events []chunkEvent
}

type chunkEvent struct {
	*eventstore.Event
	index uint64 // in the log item
	at    int64
}

func (c *chunk) last() uint64 { return c.first + uint64(len(c.events)) - 1 }

// encode returns the chunk's item: readable where that costs no write unit more
// than packed.
func (c *chunk) encode(k keys, d *deflater) item {
	head := func() item {
		it := keyOf(k.stream(c.stream), c.first)
		it[attrSeq], it[attrCount], it[attrTime] = number(c.seq), number(uint64(len(c.events))), signed(c.at)
		if c.upTo > c.last() {
			it[attrUpTo] = number(c.upTo)
		}
		return it
	}
	plain := head()
	plain[attrPlain] = c.plain()
	size := itemSize(plain)
	if size <= writeUnit {
		return plain
	}
	packed := head()
	packed[attrPacked] = binary(d.seal(c.packed()))
	if units(itemSize(packed)) < units(size) {
		return packed
	}
	return plain
}

func (c *chunk) plain() types.AttributeValue {
	list := make([]types.AttributeValue, len(c.events))
	for i, event := range c.events {
		m := item{attrID: binary(event.ID[:]), attrType: text(event.Type), attrIndex: number(event.index)}
		if event.IsJSON() && utf8.Valid(event.Data) {
			m[attrData] = text(string(event.Data))
		} else {
			m[attrData] = binary(event.Data)
		}
		if event.ContentType != eventstore.JSONContentType {
			m[attrContentType] = text(event.ContentType)
		}
		if len(event.Metadata) > 0 {
			metadata := make(item, len(event.Metadata))
			for name, value := range event.Metadata {
				metadata[name] = text(value)
			}
			m[attrMetadata] = &types.AttributeValueMemberM{Value: metadata}
		}
		if event.at != c.at {
			m[attrTime] = signed(event.at)
		}
		list[i] = &types.AttributeValueMemberM{Value: m}
	}
	return &types.AttributeValueMemberL{Value: list}
}

func (c *chunk) packed() []byte {
	p := packer{b: make([]byte, 1, 1024)}
	for _, event := range c.events {
		flags := contentFlags(event.Event)
		if event.at != c.at {
			flags |= flagTime
		}
		p.byte(flags)
		p.raw(event.ID[:])
		p.text(event.Type)
		p.uint(event.index)
		if event.at != c.at {
			p.int(event.at - c.at)
		}
		p.content(event.Event)
	}
	return p.b
}

// decodeChunk reads a chunk. What it returns shares no memory with the item.
func decodeChunk(k keys, d *deflater, it item) (*chunk, error) {
	a := attributes{of: it}
	c := &chunk{first: a.number(sortKey)}
	partition := a.text(partitionKey)
	stream, ok := strings.CutPrefix(partition, k.streams())
	if !ok {
		a.fail(partitionKey, "that of a stream")
	}
	c.stream, c.seq, c.at = stream, a.number(attrSeq), a.signed(attrTime)
	count := a.number(attrCount)
	if count == 0 || count > mostItem {
		a.fail(attrCount, "how many events it has")
	}
	switch {
	case a.err != nil:
	case a.has(attrPacked):
		a.err = c.unpack(d, a.binary(attrPacked), int(count))
	default:
		a.err = c.unlist(it[attrPlain], int(count))
	}
	c.upTo = c.first + count - 1
	if a.has(attrUpTo) {
		c.upTo = a.number(attrUpTo)
	}
	if a.err != nil {
		return nil, damaged("item %d of stream %q: %w", c.first, c.stream, a.err)
	}
	return c, nil
}

func (c *chunk) unpack(d *deflater, body []byte, count int) error {
	packed, err := d.unseal(body)
	if err != nil {
		return err
	}
	u := unpacker{b: packed}
	c.events = make([]chunkEvent, count)
	for i := range c.events {
		event := &eventstore.Event{}
		flags := u.byte()
		event.ID, event.Type = u.id(), u.text()
		c.events[i] = chunkEvent{Event: event, index: u.uint(), at: c.at}
		if flags&flagTime != 0 {
			c.events[i].at += u.int()
		}
		u.content(event, flags)
	}
	return u.err
}

func (c *chunk) unlist(value types.AttributeValue, count int) error {
	list, ok := value.(*types.AttributeValueMemberL)
	if !ok || len(list.Value) != count {
		return errShort
	}
	c.events = make([]chunkEvent, count)
	for i, element := range list.Value {
		m, ok := element.(*types.AttributeValueMemberM)
		if !ok {
			return errShort
		}
		a := attributes{of: m.Value}
		event := &eventstore.Event{ID: a.id(attrID), Type: a.text(attrType), ContentType: eventstore.JSONContentType}
		c.events[i] = chunkEvent{Event: event, index: a.number(attrIndex), at: c.at}
		if data, ok := m.Value[attrData].(*types.AttributeValueMemberS); ok {
			event.Data = []byte(data.Value)
		} else {
			event.Data = append([]byte{}, a.binary(attrData)...)
		}
		if a.has(attrContentType) {
			event.ContentType = a.text(attrContentType)
		}
		if a.has(attrTime) {
			c.events[i].at = a.signed(attrTime)
		}
		if a.has(attrMetadata) {
			metadata, ok := m.Value[attrMetadata].(*types.AttributeValueMemberM)
			if !ok {
				return errShort
			}
			pairs := attributes{of: metadata.Value}
			event.Metadata = make(map[string]string, len(metadata.Value))
			for name := range metadata.Value {
				event.Metadata[name] = pairs.text(name)
			}
			a.err = firstError(a.err, pairs.err)
		}
		if a.err != nil {
			return a.err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// recorded is an event of the chunk as readers get it.
func (c *chunk) recorded(i int) eventstore.RecordedEvent {
	event := &c.events[i]
	return eventstore.RecordedEvent{
		Event: *event.Event, Stream: c.stream, Version: c.first + uint64(i),
		Position: eventstore.NewPosition(c.seq, event.index), RecordedAt: fromMicros(event.at),
	}
}
