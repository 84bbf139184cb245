package dynamodb

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Bounds of a transaction. DynamoDB's are 100 items, 4 MB and 400 KB an item; what
// an append may hold by the declared limits fits, also where it is alone.
const (
	mostChunks     = 99
	mostBatchBytes = 3500 << 10
	mostBody       = 350 << 10
	chunkBytes     = 64 << 10
	largeChunk     = 350 << 10 // where the usual size would make more than mostChunks
	inlineBytes    = 2 << 10   // of an event that is in the log, and not by reference
	eventOverhead  = 48        // ID, lengths and numbers
)

// batch is what one transaction writes: an item of the log, and chunks.
type batch struct {
	log     logItem
	streams map[string]*pending
	order   []*pending
	count   uint64 // events
	bytes   int
	inline  int
	chunks  int
}

// pending is what a batch adds to a stream.
type pending struct {
	stream  string
	first   uint64 // version
	events  []chunkEvent
	filling int // bytes of the chunk that is being filled
}

func newBatch(seq uint64, name attempt, now time.Time) *batch {
	return &batch{
		log:     logItem{seq: seq, attempt: name, at: now.UnixMicro()},
		streams: make(map[string]*pending),
	}
}

// cost is what an append adds to a batch.
type cost struct{ bytes, inline, chunks int }

func chunkSize(event *eventstore.Event) int {
	return eventOverhead + len(event.Type) + contentSize(event)
}

// cost returns what the parts that are written would add.
func (b *batch) cost(parts []eventstore.StreamAppend, write func(part int) bool) cost {
	var c cost
	filling := make(map[string]int, len(parts))
	for i, part := range parts {
		if !write(i) {
			continue
		}
		full, ok := filling[part.Stream]
		if p := b.streams[part.Stream]; !ok && p != nil {
			full = p.filling
		}
		c.inline += len(part.Stream) + eventOverhead
		c.bytes += 2 * len(part.Stream)
		for j := range part.Events {
			size := chunkSize(&part.Events[j])
			c.bytes += size
			c.inline += inlineSize(&part.Events[j])
			if full == 0 || full+size > chunkBytes {
				c.chunks++
				c.bytes += 2 * (len(part.Stream) + eventOverhead)
				full = 0
			}
			full += size
		}
		filling[part.Stream] = full
	}
	return c
}

// inlineSize is what an event takes in the log's item.
func inlineSize(event *eventstore.Event) int {
	if content := contentSize(event); content <= inlineBytes {
		return eventOverhead + len(event.Type) + content
	}
	return eventOverhead + len(event.Type)
}

// fits tells whether there is room for an append; where a batch is empty there is.
func (b *batch) fits(c cost) bool {
	return b.count == 0 || (b.chunks+c.chunks <= mostChunks && b.bytes+c.bytes+b.inline+c.inline <= mostBatchBytes && b.inline+c.inline <= mostBody)
}

func (b *batch) add(c cost) {
	b.bytes += c.bytes
	b.inline += c.inline
	b.chunks += c.chunks
}

// write adds a part's events, the first one with a version.
func (b *batch) write(part *eventstore.StreamAppend, first uint64) []eventstore.Recorded {
	at := b.log.at
	if part.RecordedAt != nil {
		at = part.RecordedAt.UnixMicro()
	}
	p := b.streams[part.Stream]
	if p == nil {
		p = &pending{stream: part.Stream, first: first}
		b.streams[part.Stream] = p
		b.order = append(b.order, p)
	}
	r := run{stream: part.Stream, first: first, at: at, index: b.count}
	recorded := make([]eventstore.Recorded, len(part.Events))
	for i := range part.Events {
		event := &part.Events[i]
		size := chunkSize(event)
		if p.filling > 0 && p.filling+size > chunkBytes {
			p.filling = 0
		}
		p.filling += size
		p.events = append(p.events, chunkEvent{Event: event, index: b.count, at: at})
		r.events = append(r.events, logEvent{Event: event})
		recorded[i] = eventstore.Recorded{
			Version: first + uint64(i), Position: eventstore.NewPosition(b.log.seq, b.count), RecordedAt: fromMicros(at),
		}
		b.count++
	}
	b.log.runs = append(b.log.runs, r)
	return recorded
}

// find looks for an event's ID among what the batch adds to a stream.
func (b *batch) find(stream string, id uuid.UUID) (version uint64, event *chunkEvent) {
	p := b.streams[stream]
	if p == nil {
		return 0, nil
	}
	for i := range p.events {
		if p.events[i].ID == id {
			return p.first + uint64(i), &p.events[i]
		}
	}
	return 0, nil
}

// version is that of a stream after the batch; ok is false where it adds nothing.
func (b *batch) version(stream string) (version uint64, ok bool) {
	p := b.streams[stream]
	if p == nil {
		return 0, false
	}
	return p.first + uint64(len(p.events)) - 1, true
}

// split divides what a stream gets into chunks of so many bytes at most, or of one
// event.
func (p *pending) split(seq uint64, most int) []*chunk {
	var out []*chunk
	full := 0
	for i, event := range p.events {
		size := chunkSize(event.Event)
		if len(out) == 0 || full+size > most {
			out = append(out, &chunk{stream: p.stream, first: p.first + uint64(i), seq: seq, at: event.at})
			full = 0
		}
		full += size
		last := out[len(out)-1]
		last.events = append(last.events, event)
		last.upTo = p.first + uint64(len(p.events)) - 1
	}
	return out
}

func (b *batch) split() []*chunk {
	for _, most := range []int{chunkBytes, largeChunk} {
		var out []*chunk
		for _, p := range b.order {
			out = append(out, p.split(b.log.seq, most)...)
		}
		if len(out) <= mostChunks || most == largeChunk {
			return out
		}
	}
	return nil
}

// refer makes references of the events that do not go into the log's item.
func (b *batch) refer(chunks []*chunk) {
	first := make(map[uint64]uint64, b.count) // from an event's index to its chunk's first version
	for _, c := range chunks {
		for _, event := range c.events {
			first[event.index] = c.first
		}
	}
	all := b.inline > mostBody
	for i := range b.log.runs {
		r := &b.log.runs[i]
		for j := range r.events {
			event := &r.events[j]
			if all || contentSize(event.Event) > inlineBytes {
				event.chunk, event.size = first[r.index+uint64(j)], event.Size()
			}
		}
	}
}

// build returns the transaction. Its items are refused where their keys are taken:
// the log's decides who is next, and a chunk's is a second guard.
func (b *batch) build(k keys, d *deflater, table string, events, streams uint64) *sdk.TransactWriteItemsInput {
	chunks := b.split()
	b.refer(chunks)
	for _, p := range b.order {
		if p.first == 1 {
			streams++
		}
	}
	b.log.events, b.log.streams = events+b.count, streams
	in := b.log.transaction(k, d, table)
	for _, c := range chunks {
		in.TransactItems = append(in.TransactItems, putNew(table, c.encode(k, d)))
	}
	return in
}

// transaction returns one that writes the item of the log alone.
func (l *logItem) transaction(k keys, d *deflater, table string) *sdk.TransactWriteItemsInput {
	put := putNew(table, l.encode(k, d))
	put.Put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	return &sdk.TransactWriteItemsInput{
		TransactItems:      []types.TransactWriteItem{put},
		ClientRequestToken: aws.String(l.attempt.token()),
	}
}

func putNew(table string, it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{
		TableName: &table, Item: it, ConditionExpression: aws.String("attribute_not_exists(pk)"),
	}}
}
