package dynamodb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// CheckReport is what [Check] found, and did.
type CheckReport struct {
	// LogItems, Chunks and Events are what the store holds.
	LogItems, Chunks, Events uint64
	// Problems are what is torn, in words, at most 100 of them; there are none in a
	// store that is whole.
	Problems []string
	// Completed is how many items of streams were made again from the log.
	Completed int
	// CutFrom is the first sequence number that was removed, with everything behind
	// it; 0 where nothing was. CutEvents is how many events that were.
	CutFrom, CutEvents uint64
	// Repaired is true where there were problems and the store is whole now.
	Repaired bool
}

// mostCut is how many log items a repair removes at most: a backup is torn at its
// end alone.
const mostCut = 1000

// Check scans a store's whole table and holds the log against the items of the
// streams, both ways, as is needed once after a restore: a backup may hold a part of
// the last transactions. Where nothing is torn, or repair is asked for and done, the
// table is opened from then on.
//
// A repair makes items of streams again whose events the log has whole, and removes
// the log from the first transaction on that cannot be made whole: that one and what
// was written after it. Nobody may write meanwhile. The memory it takes grows with
// the store, by about 100 bytes for each item of a stream.
func Check(ctx context.Context, api *sdk.Client, table string, opts *Options, repair bool) (*CheckReport, error) {
	options, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	b := newBackend(api, table, options)
	defer b.Close()
	it, err := b.client.get(ctx, keyOf(b.keys.identity(), 0))
	switch {
	case err != nil:
		return nil, fmt.Errorf("check dynamodb store: %w", err)
	case it == nil:
		return nil, &eventstore.InvalidError{Field: "table", Reason: fmt.Sprintf("%q holds no store in namespace %q", table, options.Namespace)}
	}
	if _, err := decodeIdentity(it); err != nil {
		return nil, err
	}
	began := time.Now()
	c := &checker{b: b, chunks: make(map[uint64][]heldChunk), report: &CheckReport{}}
	if err = c.scan(ctx); err == nil {
		err = c.compare(ctx)
	}
	if err == nil && len(c.report.Problems) > 0 && repair {
		err = c.repair(ctx)
	}
	if err != nil {
		return c.report, fmt.Errorf("check dynamodb store: %w", err)
	}
	if len(c.report.Problems) > 0 && !c.report.Repaired {
		return c.report, nil
	}
	description, err := b.describe(ctx)
	if err != nil {
		return c.report, err
	}
	checked := restoredAt(description)
	if description == nil {
		checked = began // the best that is known without the right to ask
	}
	_, _, err = b.client.update(ctx, &sdk.UpdateItemInput{
		Key: keyOf(b.keys.identity(), 0), UpdateExpression: aws.String("SET #checked = :at"), ConditionExpression: aws.String("attribute_exists(pk)"),
		ExpressionAttributeNames: map[string]string{"#checked": attrChecked}, ExpressionAttributeValues: item{":at": signed(checked.UnixMicro())},
	})
	return c.report, err
}

// checker holds the two halves of a store against each other.
type checker struct {
	b      *Backend
	chunks map[uint64][]heldChunk // by sequence number
	report *CheckReport

	last    uint64 // sequence number of the log's last item
	missing []*chunk
	cut     uint64 // the first sequence number that cannot be made whole; 0 where all can
}

// heldChunk is an item of a stream that is in the table.
type heldChunk struct {
	stream       string
	first, count uint64
}

func (c *checker) problem(seq uint64, whole bool, format string, args ...any) {
	if len(c.report.Problems) < 100 {
		c.report.Problems = append(c.report.Problems, fmt.Sprintf(format, args...))
	}
	if !whole && (c.cut == 0 || seq < c.cut) {
		c.cut = seq
	}
}

// scan notes every item of a stream.
func (c *checker) scan(ctx context.Context) error {
	in := &sdk.ScanInput{
		TableName: &c.b.client.table, ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		FilterExpression: aws.String("begins_with(pk, :p)"), ProjectionExpression: aws.String("pk, sk, #q, #c"),
		ExpressionAttributeNames:  map[string]string{"#q": attrSeq, "#c": attrCount},
		ExpressionAttributeValues: item{":p": text(c.b.keys.streams())},
	}
	for {
		out, err := c.b.client.api.Scan(ctx, in, kept)
		if err != nil {
			c.b.client.counted(opScan, err)
			return mapped(ctx, opScan, c.b.client.table, err)
		}
		c.b.client.countedOne(opScan, out.ConsumedCapacity)
		for _, it := range out.Items {
			a := attributes{of: it}
			stream := strings.TrimPrefix(a.text(partitionKey), c.b.keys.streams())
			seq, held := a.number(attrSeq), heldChunk{stream: stream, first: a.number(sortKey), count: a.number(attrCount)}
			if a.err != nil {
				return damaged("item %d of stream %q: %w", held.first, stream, a.err)
			}
			c.chunks[seq] = append(c.chunks[seq], held)
			c.report.Chunks++
			c.report.Events += held.count
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// compare reads the log in its order.
func (c *checker) compare(ctx context.Context) error {
	next := uint64(1)
	for {
		raw, more, err := c.b.client.query(ctx, span{partition: c.b.keys.log(), low: next, high: mostSort})
		if err != nil {
			return err
		}
		for _, it := range raw {
			l, err := decodeLogItem(&c.b.deflater, it)
			if err != nil {
				return err
			}
			if l.seq != next {
				c.problem(next, false, "the log lacks its items %d to %d", next, l.seq-1)
			}
			c.compareItem(l)
			c.report.LogItems++
			c.last, next = l.seq, l.seq+1
		}
		if !more {
			break
		}
	}
	for _, seq := range slices.Sorted(func(yield func(uint64) bool) { // what no log item has claimed
		for seq := range c.chunks {
			if !yield(seq) {
				return
			}
		}
	}) {
		for _, held := range c.chunks[seq] {
			c.problem(seq, false, "item %d of stream %q belongs to log item %d, which is not there or does not know it", held.first, held.stream, seq)
		}
	}
	return nil
}

// compareItem holds a log item against the chunks that name it, and claims them.
func (c *checker) compareItem(l *logItem) {
	held := c.chunks[l.seq]
	var left []heldChunk
	wanted := make(map[string]*pending)
	var order []*pending
	whole := make(map[string]bool) // its events are all in the log
	for i := range l.runs {
		r := &l.runs[i]
		p := wanted[r.stream]
		if p == nil {
			p = &pending{stream: r.stream, first: r.first}
			wanted[r.stream], whole[r.stream] = p, true
			order = append(order, p)
		}
		for j := range r.events {
			p.events = append(p.events, chunkEvent{Event: r.events[j].Event, index: r.index + uint64(j), at: r.at})
			whole[r.stream] = whole[r.stream] && r.events[j].chunk == 0
		}
	}
	reached := make(map[string]uint64)
	slices.SortFunc(held, func(a, b heldChunk) int {
		return cmp.Or(strings.Compare(a.stream, b.stream), cmp.Compare(a.first, b.first))
	})
	for _, h := range held {
		p := wanted[h.stream]
		if p == nil || h.first < p.first || h.first+h.count > p.first+uint64(len(p.events)) {
			left = append(left, h)
			continue
		}
		reached[h.stream] += h.count
	}
	if len(left) == 0 {
		delete(c.chunks, l.seq)
	} else {
		c.chunks[l.seq] = left
	}
	for _, p := range order {
		if reached[p.stream] == uint64(len(p.events)) {
			continue
		}
		c.problem(l.seq, whole[p.stream], "log item %d has versions %d to %d of stream %q, and the stream has %d of them",
			l.seq, p.first, p.first+uint64(len(p.events))-1, p.stream, reached[p.stream])
		if !whole[p.stream] {
			continue
		}
		for _, made := range p.split(l.seq, chunkBytes) {
			if !slices.ContainsFunc(held, func(h heldChunk) bool { return h.stream == made.stream && h.first == made.first }) {
				c.missing = append(c.missing, made)
			}
		}
	}
}

// repair completes what can be made whole, and cuts off the rest.
func (c *checker) repair(ctx context.Context) error {
	if c.cut != 0 && c.last >= c.cut+mostCut {
		return damaged("it is torn at log item %d of %d, and a backup is torn at its end alone: restore to another point in time", c.cut, c.last)
	}
	for _, made := range c.missing {
		if c.cut != 0 && made.seq >= c.cut {
			continue
		}
		if _, err := c.b.client.put(ctx, &sdk.PutItemInput{Item: made.encode(c.b.keys, &c.b.deflater)}); err != nil {
			return err
		}
		c.report.Completed++
	}
	if c.cut != 0 {
		if err := c.cutOff(ctx); err != nil {
			return err
		}
	}
	again := &checker{b: c.b, chunks: make(map[uint64][]heldChunk), report: &CheckReport{}}
	if err := again.scan(ctx); err != nil {
		return err
	}
	if err := again.compare(ctx); err != nil {
		return err
	}
	if len(again.report.Problems) > 0 {
		return damaged("after the repair %s", again.report.Problems[0])
	}
	c.report.LogItems, c.report.Chunks, c.report.Events = again.report.LogItems, again.report.Chunks, again.report.Events
	c.report.Repaired = true
	return nil
}

// cutOff removes the log from a sequence number on: items of streams first, the log
// from its end, so that a cut that is broken off can be made again.
func (c *checker) cutOff(ctx context.Context) error {
	scan := &checker{b: c.b, chunks: make(map[uint64][]heldChunk), report: &CheckReport{}}
	if err := scan.scan(ctx); err != nil {
		return err
	}
	c.report.CutFrom = c.cut
	for seq, held := range scan.chunks {
		if seq < c.cut {
			continue
		}
		for _, h := range held {
			if err := c.b.client.delete(ctx, keyOf(c.b.keys.stream(h.stream), h.first)); err != nil {
				return err
			}
			c.report.CutEvents += h.count
		}
	}
	for seq := c.last; seq >= c.cut; seq-- {
		if err := c.b.client.delete(ctx, keyOf(c.b.keys.log(), seq)); err != nil {
			return err
		}
	}
	return nil
}
