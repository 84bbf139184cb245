package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	// readWithin bounds the tries to read what is in the log, while leaders change.
	readWithin = 5 * time.Second
	// fetchesAtOnce is how many records of a stream are fetched at the same time.
	fetchesAtOnce = 8
)

// fetch reads records of the log that are known to be there, from an offset on, one
// at least.
func (b *Backend) fetch(ctx context.Context, from int64, maxBytes int) ([]connection.Record, error) {
	var records []connection.Record
	err := b.conn.Again(ctx, readWithin, func() error {
		fetched, err := b.conn.Fetch(ctx, b.topic, from, connection.FetchOptions{MaxBytes: maxBytes, Wait: time.Second})
		records = fetched.Records
		return err
	})
	switch {
	case err != nil:
		return nil, b.haltIfTruncated(ctx, from, err)
	case len(records) == 0:
		return nil, fmt.Errorf("offset %d of topic %s: %w", from, b.topic, errNoRecord)
	case records[0].Offset != from:
		return nil, b.log.halt(&fold.HaltError{Offset: from, Reason: fmt.Sprintf("the next record is at %d: records are missing, the log was truncated or compacted", records[0].Offset)})
	}
	return records, nil
}

// readFrom reads folded records from an offset on, one at least, up to about so many
// bytes.
func (b *Backend) readFrom(ctx context.Context, from int64, maxBytes int) ([]connection.Record, error) {
	b.log.mu.RLock()
	records, next := b.log.recent.from(from, maxBytes), b.log.state.Next()
	b.log.mu.RUnlock()
	if len(records) > 0 {
		return records, nil
	}
	records, err := b.fetch(ctx, from, maxBytes)
	if err != nil {
		return nil, err
	}
	// What is not folded yet has no verdict.
	if most := next - from; int64(len(records)) > most {
		records = records[:most]
	}
	return records, nil
}

// decoded is a record of the log with what is in it.
type decoded struct {
	offset int64
	events []located
}

// located is an event as its record has it. It was stored there if its stream's
// index says so.
type located struct {
	index  int
	stream string
	part   fold.Part
	event  fold.Event
}

// decode reads a record; one that is no append has no events.
func decode(record connection.Record) *decoded {
	d := &decoded{offset: record.Offset}
	var frame fold.Record
	if frame.Decode(record.Value) != nil || frame.Kind != fold.KindAppend {
		return d
	}
	for _, part := range frame.Parts {
		stream := string(part.Stream)
		for _, event := range part.Events {
			d.events = append(d.events, located{index: len(d.events), stream: stream, part: part, event: event})
		}
	}
	return d
}

func (d *decoded) recorded(e located, version uint64) eventstore.RecordedEvent {
	return eventstore.RecordedEvent{
		Event:      e.event.Decode(),
		Stream:     e.stream,
		Version:    version,
		Position:   fold.Place{Offset: d.offset, Index: e.index}.Position(),
		RecordedAt: fold.At(e.part.Time),
	}
}

// errOtherRecord says that the log does not have what was folded.
var errOtherRecord = errors.New("another record is there than was folded: the log was truncated, restored or replaced")

// records reads the records at these offsets, which are folded.
func (b *Backend) records(ctx context.Context, offsets []int64) (map[int64]*decoded, error) {
	within, cancel := b.within(ctx)
	defer cancel()
	wanted := make(map[int64]bool, len(offsets))
	found := make(map[int64]*decoded, len(offsets))
	b.log.mu.RLock()
	var near []connection.Record
	for _, offset := range offsets {
		if value, ok := b.log.recent.get(offset); ok {
			near = append(near, connection.Record{Offset: offset, Value: value})
		} else {
			wanted[offset] = true
		}
	}
	b.log.mu.RUnlock()
	for _, record := range near {
		if found[record.Offset] == nil {
			found[record.Offset] = decode(record)
		}
	}
	for len(wanted) > 0 {
		batches, err := b.fetchSome(within, slices.Sorted(maps.Keys(wanted)))
		if err != nil {
			return nil, err
		}
		for _, records := range batches {
			for _, record := range records {
				if wanted[record.Offset] {
					delete(wanted, record.Offset)
					found[record.Offset] = decode(record)
				}
			}
		}
	}
	return found, nil
}

// fetchSome fetches batches that hold some of the offsets, far apart from each other:
// neighbours often are in one batch.
func (b *Backend) fetchSome(ctx context.Context, offsets []int64) ([][]connection.Record, error) {
	n := min(len(offsets), fetchesAtOnce)
	batches := make([][]connection.Record, n)
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() (err error) {
			batches[i], err = b.fetch(ctx, offsets[i*len(offsets)/n], 1)
			return err
		})
	}
	return batches, group.Wait()
}

// eventAt returns an event of a record.
func eventAt(record *decoded, index int) (located, error) {
	if record == nil || index >= len(record.events) {
		return located{}, errOtherRecord
	}
	return record.events[index], nil
}

// offsetOf returns the offset of a position's record. Callers may give positions that
// no log reaches.
func offsetOf(p eventstore.Position) int64 {
	hi, _ := p.Words()
	return int64(min(hi, math.MaxInt64-1))
}
