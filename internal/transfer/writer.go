package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The most that goes into one append; less where the backend's limits say so.
const batchEvents, batchBytes = 1000, 4 << 20

// Result counts what a transfer did.
type Result struct {
	// Read counts the events that were looked at; Stored those that were new to
	// the target, and Duplicates those that it had already.
	Read, Stored, Duplicates int
}

// Loss is something of the source that a target does not keep, and why.
type Loss struct {
	What, Why string
}

// Losses says what of an event a target with these capabilities does not keep.
// Versions, IDs, types, content types and metadata are always kept, and so is data
// at least as JSON: a target that cannot refuses the event. Positions never are,
// for they are the target's own order.
func Losses(target eventstore.Capabilities) []Loss {
	var losses []Loss
	if !target.PreservedRecordTime.Supported() {
		losses = append(losses, Loss{What: "record times", Why: target.PreservedRecordTime.Reason()})
	}
	if !target.ExactData.Supported() {
		losses = append(losses, Loss{What: "the exact bytes of JSON data", Why: target.ExactData.Reason()})
	}
	return losses
}

// writer appends records to a store in their order. It is used by one goroutine.
type writer struct {
	store     *eventstore.Store
	maxEvents int
	maxBytes  int
	maxParts  int
	multi     bool // several streams in one append
	keepTimes bool
	result    Result
	// reached is where in its store the last record came from.
	reached eventstore.Place
	// wrote, where not nil, hears of each append's new events.
	wrote func(ctx context.Context, stored []eventstore.RecordedEvent) error
}

func newWriter(store *eventstore.Store) *writer {
	caps, limits := store.Capabilities(), store.Limits()
	return &writer{
		store:     store,
		maxEvents: min(batchEvents, limits.MaxAppendEvents),
		maxBytes:  min(batchBytes, limits.MaxAppendBytes),
		maxParts:  limits.MaxAppendParts,
		multi:     caps.MultiStreamAppend.Supported(),
		keepTimes: caps.PreservedRecordTime.Supported(),
	}
}

// full tells whether a batch of so much takes no further event.
func (w *writer) full(events, bytes int) bool {
	return events >= w.maxEvents || bytes >= w.maxBytes
}

// write stores records that are at most one batch long. When it fails, every
// record before the one that the error names is stored, and none after it.
func (w *writer) write(ctx context.Context, records []Record) error {
	for len(records) > 0 {
		n := w.group(records)
		if err := w.writeGroup(ctx, records[:n]); err != nil {
			return err
		}
		w.reached = records[n-1].origin()
		records = records[n:]
	}
	return nil
}

// group returns how many of the records may go into one append.
func (w *writer) group(records []Record) int {
	bytes, parts := 0, 1
	for i, r := range records {
		bytes += r.Size()
		if i == 0 {
			continue
		}
		if !w.continues(records[i-1], r) {
			parts++
		}
		if i >= w.maxEvents || bytes > w.maxBytes || parts > w.maxParts || (parts > 1 && !w.multi) {
			return i
		}
	}
	return len(records)
}

// continues tells whether two records can be in one part of an append.
func (w *writer) continues(before, r Record) bool {
	next := r.Version == before.Version+1 && before.Version > 0 || r.Version == 0 && before.Version == 0
	return next && r.Stream == before.Stream && (!w.keepTimes || sameTime(r.RecordedAt, before.RecordedAt))
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

func (w *writer) parts(records []Record) []eventstore.StreamAppend {
	parts := make([]eventstore.StreamAppend, 0, len(records))
	for i, r := range records {
		if i > 0 && w.continues(records[i-1], r) {
			last := &parts[len(parts)-1]
			last.Events = append(last.Events, r.Event)
			continue
		}
		part := eventstore.StreamAppend{Stream: r.Stream, Expected: eventstore.Any(), Events: []eventstore.Event{r.Event}}
		if r.Version > 0 {
			part.Expected = eventstore.Exactly(r.Version - 1)
		}
		if w.keepTimes {
			part.RecordedAt = r.RecordedAt
		}
		parts = append(parts, part)
	}
	return parts
}

// writeGroup appends a group at once. Where the store refuses it, which leaves
// nothing written, the records go one by one: those that are stored already are
// passed over, and the one that is wrong is found.
func (w *writer) writeGroup(ctx context.Context, records []Record) error {
	parts := w.parts(records)
	results, err := w.store.AppendStreams(ctx, parts...)
	switch {
	case err == nil:
		return w.accept(ctx, records, results)
	case !refused(err):
		return located(records[0], err)
	case len(records) == 1:
		return w.settle(ctx, records[0], err)
	}
	for i := range records {
		if err := w.writeGroup(ctx, records[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// refused tells whether the store judged an append and wrote nothing.
func refused(err error) bool {
	return errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrEventIDReused)
}

// accept counts what an append did, and holds the versions that it gave against
// those that the records ask for.
func (w *writer) accept(ctx context.Context, records []Record, results []eventstore.AppendResult) error {
	i := 0
	var stored []eventstore.RecordedEvent
	for _, result := range results {
		first, n := records[i], len(result.Events)
		if got := result.Events[0].Version; first.Version > 0 && got != first.Version {
			return located(first, fmt.Errorf("the target has event %s at version %d of stream %q, not at version %d",
				first.ID, got, clip(first.Stream), first.Version))
		}
		if result.Duplicate {
			w.result.Duplicates += n
		} else {
			w.result.Stored += n
			stored = append(stored, result.Events...)
		}
		i += n
	}
	w.result.Read += len(records)
	if w.wrote == nil {
		return nil
	}
	return w.wrote(ctx, stored)
}

// settle looks at a single record that the store refused: it may be stored
// already, further back than the store recognises an ID.
func (w *writer) settle(ctx context.Context, r Record, refusal error) error {
	var conflict *eventstore.ConflictError
	if !errors.As(refusal, &conflict) || r.Version == 0 {
		return located(r, refusal)
	}
	if conflict.Actual < r.Version {
		return located(r, fmt.Errorf("version %d of stream %q is to be stored, but the target has %d events of it: the ones between are missing: %w",
			r.Version, clip(r.Stream), conflict.Actual, refusal))
	}
	stored, ok, err := eventAt(ctx, w.store, r.Stream, r.Version)
	if err != nil {
		return located(r, err)
	}
	if field := w.difference(r, stored); !ok || field != "" {
		return located(r, fmt.Errorf("the target has another event at version %d of stream %q (it differs in %s): %w",
			r.Version, clip(r.Stream), field, refusal))
	}
	w.result.Read++
	w.result.Duplicates++
	return nil
}

// eventAt returns the event of a stream at a version, and whether there is one.
func eventAt(ctx context.Context, store *eventstore.Store, stream string, version uint64) (eventstore.RecordedEvent, bool, error) {
	if version == 0 {
		return eventstore.RecordedEvent{}, false, nil
	}
	for event, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{After: version - 1, Limit: 1}) {
		return event, err == nil, err
	}
	return eventstore.RecordedEvent{}, false, nil
}

// difference names the first field in which a stored event is not the record;
// "" where it is. The record time is not compared: not every store keeps it.
func (w *writer) difference(r Record, stored eventstore.RecordedEvent) string {
	return Difference(eventstore.RecordedEvent{Event: r.Event, Stream: r.Stream, Version: r.Version}, stored, !keepsBytes(w.store))
}

// located adds to an error which record it is about.
func located(r Record, err error) error {
	if r.line > 0 {
		return &LineError{Line: r.line, Err: err}
	}
	return fmt.Errorf("%s: %w", r.place(), err)
}
