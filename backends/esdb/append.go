package esdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// maxRounds bounds how often one append is judged anew because others wrote in
// between. In one handle appends to a stream take turns, so it is others that must
// win as often.
const maxRounds = 100

// Append implements [eventstore.Backend].
//
// The server's own idempotency is not enough: it writes twice what expects the
// current revision, and knows the IDs of Any from a cache alone. So an append is
// judged here, against what is known of the stream's end, and written with the exact revision it
// was judged at, whatever its expectation. What was judged too early the server
// refuses; such a write was certainly not stored, and is judged again.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	part := req.Parts[0] // the only one: several streams are declared absent
	name, err := b.names.writable(part.Stream)
	if err != nil {
		return nil, err
	}
	for i := range part.Events {
		if part.Events[i].Type == tombstoneType {
			return nil, &eventstore.InvalidError{Field: "type", Reason: fmt.Sprintf("%q is the type of the record that ends a stream in EventStoreDB, and readers pass over it; choose another type", tombstoneType)}
		}
	}
	t := b.cache.get(name)
	since := t.now()
	results, err := t.appends.Append(ctx, req)
	if errors.Is(err, errStale) {
		results, err = b.settleStale(ctx, t, part, since)
	}
	if errors.Is(err, errTombstoned) {
		err = fmt.Errorf("%w: %w", &eventstore.SealedError{Stream: part.Stream, Reason: "it was deleted for good (tombstoned); choose another ID"}, err)
	}
	return results, mapError(ctx, err)
}

// settle makes one append, in the stream's turn. since is the number of the last read
// or write of the stream's end when its caller asked, or before.
func (b *Backend) settle(ctx context.Context, t *cachedStream, part eventstore.StreamAppend, since uint64) ([]eventstore.PartResult, error) {
	ctx, cancel := context.WithTimeout(ctx, b.conn.settings.writeTimeout)
	defer cancel()
	var refusal *wrongVersionError
	for range maxRounds {
		at, decision, err := b.judge(ctx, t, part, since, refusal)
		if err != nil {
			return nil, err
		}
		if !decision.Write {
			return []eventstore.PartResult{{Recorded: decision.Recorded, Duplicate: true}}, nil
		}
		recorded, err := b.write(ctx, t, at, part.Events)
		if !errors.As(err, &refusal) {
			return []eventstore.PartResult{{Recorded: recorded}}, err
		}
	}
	return nil, fmt.Errorf("%w: other processes wrote to the stream %d times while this append was judged; nothing was written: %w", eventstore.ErrUnavailable, maxRounds, refusal)
}

// judge decides on an append and says at which version a write is to be pinned.
// refusal is the server's answer to the last attempt, nil at the first.
func (b *Backend) judge(ctx context.Context, t *cachedStream, part eventstore.StreamAppend, since uint64, refusal *wrongVersionError) (at uint64, d adapter.Decision, err error) {
	exact, isExact := part.Expected.Exact()
	if refusal == nil {
		if err := t.conflicts(since, part); err != nil {
			return 0, d, err
		}
		switch {
		case t.known && part.Expected.Allows(t.version) && !t.holds(part.Events):
			return t.version, adapter.Decision{Write: true}, nil
		case !t.known && isExact && exact == 0:
			// Only an absent stream accepts it, and that holds no IDs.
			return 0, adapter.Decision{Write: true}, nil
		}
	}
	hidden, err := b.refresh(ctx, t)
	if err != nil {
		return 0, d, err
	}
	at = t.version
	if hidden {
		at = hiddenVersion(part.Expected, refusal)
	}
	stored, err := b.originals(ctx, t, part.Events)
	if err != nil {
		return 0, d, err
	}
	decisions, err := adapter.Judge([]eventstore.StreamAppend{part}, adapter.Streams{
		Version: func(string) (uint64, error) { return at, nil },
		Find: func(_ string, event eventstore.Event) (adapter.Met, error) {
			found, ok := stored[event.ID]
			return adapter.Met{Found: ok, Recorded: recordedAt(found), Same: ok && event.SameContent(found.Event)}, nil
		},
	})
	if err != nil {
		return 0, d, err
	}
	return at, decisions[0], nil
}

func recordedAt(event eventstore.RecordedEvent) eventstore.Recorded {
	return eventstore.Recorded{Version: event.Version, Position: event.Position, RecordedAt: event.RecordedAt}
}

// hiddenVersion is the version of a stream whose events can no longer be read,
// because they are truncated or too old, while the stream goes on. Only the
// server's refusal tells it, so the first attempt is a guess that it can refuse.
func hiddenVersion(expected eventstore.ExpectedVersion, refusal *wrongVersionError) uint64 {
	if refusal != nil {
		return refusal.actual
	}
	if exact, ok := expected.Exact(); ok {
		return exact
	}
	return 1
}

// write appends at a version, and says where and when the events were stored. The
// server tells the last one's position alone: where there are others they are read
// back.
func (b *Backend) write(ctx context.Context, t *cachedStream, at uint64, events []eventstore.Event) ([]eventstore.Recorded, error) {
	now := time.Now().UTC().Truncate(timePrecision)
	data, err := encodeAll(events, now, b.options.MaxAppendSize)
	if err != nil {
		return nil, err
	}
	number := t.beginWrite()
	version, position, err := b.conn.appendTo(ctx, t.stream, at, data)
	if err != nil {
		t.endWrite(number, nil)
		return nil, err
	}
	t.wrote(number, b.options.IdempotencyWindow, version, events)
	t.endWrite(number, b.lastPage(t, version, position, &data[len(data)-1]))
	if len(events) == 1 && !position.IsZero() {
		return []eventstore.Recorded{{Version: version, Position: position, RecordedAt: now}}, nil
	}
	return b.readBack(ctx, written{stream: t.stream, version: version, position: position, count: len(events)})
}

// lastPage is a page of the last event of an append that succeeded, as a read shows
// it; nil where it cannot be told.
func (b *Backend) lastPage(t *cachedStream, version uint64, position eventstore.Position, sent *proposed) func() eventstore.Page {
	if position.IsZero() || sent.eventType == linkType {
		return nil
	}
	return func() eventstore.Page {
		stream, _ := b.names.visible(t.stream)
		return eventstore.Page{Events: []eventstore.RecordedEvent{decode(&recorded{
			revision: version - 1, eventType: sent.eventType, json: sent.json, data: sent.data, meta: sent.meta, position: position,
		}, stream)}}
	}
}

// wrote takes an append of this handle into the cached stream.
func (t *cachedStream) wrote(number uint64, window int, version uint64, events []eventstore.Event) {
	if !t.known || t.version+uint64(len(events)) != version { // a first append, or a soft-deleted stream's next life
		t.forget()
	}
	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	t.saw(number, window, version, ids)
}

// refresh brings a cached stream up to date. hidden tells that the stream has a version
// though no event of it can be read; the cached stream then stays unknown.
func (b *Backend) refresh(ctx context.Context, t *cachedStream) (hidden bool, err error) {
	window := b.options.IdempotencyWindow
	if t.known && t.version > 0 {
		number := t.begin()
		news, state, err := b.readRange(ctx, t.stream, t.version, window)
		if err != nil {
			return false, err
		}
		if state == streamThere && len(news) < window && continues(t.version, news) {
			t.saw(number, window, t.version+uint64(len(news)), idsOf(news))
			return false, nil
		}
	}
	t.forget()
	number := t.begin()
	last, state, err := b.readBackward(ctx, t.stream, window)
	switch {
	case err != nil:
		return false, err
	case state == streamAbsent:
		t.saw(number, window, 0, nil)
		return false, nil
	case len(last) == 0:
		return true, nil
	}
	slices.Reverse(last)
	t.saw(number, window, last[len(last)-1].Version, idsOf(last))
	return false, nil
}

func idsOf(events []eventstore.RecordedEvent) []uuid.UUID {
	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	return ids
}

// continues tells whether events follow a version without a hole, which a
// truncation by another client would make.
func continues(version uint64, events []eventstore.RecordedEvent) bool {
	return len(events) == 0 || events[0].Version == version+1
}

// originals reads the stored events whose IDs an append has. Where the window
// begins in the middle of what may be the original append, it reads on from
// there, so that an append is met whole or not at all.
func (b *Backend) originals(ctx context.Context, t *cachedStream, events []eventstore.Event) (map[uuid.UUID]eventstore.RecordedEvent, error) {
	var low, high uint64
	for i := range events {
		version, ok := t.find(events[i].ID)
		if !ok {
			continue
		}
		first := version - min(uint64(i), version-1)
		if low == 0 || first < low {
			low = first
		}
		high = max(high, version)
	}
	if high == 0 {
		return nil, nil
	}
	stored, _, err := b.readRange(ctx, t.stream, low-1, int(high-low)+1)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]eventstore.RecordedEvent, len(stored))
	for i := range stored {
		found[stored[i].ID] = stored[i]
	}
	return found, nil
}

// streamState says how a stream answered a read.
type streamState uint8

const (
	streamThere  streamState = iota // it is there, though nothing may be readable
	streamAbsent                    // never written, or soft-deleted
)

// readRange reads up to count events after a version, links as links.
func (b *Backend) readRange(ctx context.Context, name string, after uint64, count int) ([]eventstore.RecordedEvent, streamState, error) {
	return b.readEvents(ctx, streamRead{stream: name, from: after, count: uint64(count)})
}

// readBackward reads up to count events from the stream's end, the last first.
func (b *Backend) readBackward(ctx context.Context, name string, count int) ([]eventstore.RecordedEvent, streamState, error) {
	return b.readEvents(ctx, streamRead{stream: name, backward: true, from: fromEnd, count: uint64(count)})
}

func (b *Backend) readEvents(ctx context.Context, r streamRead) ([]eventstore.RecordedEvent, streamState, error) {
	stream, _ := b.names.visible(r.stream)
	var events []eventstore.RecordedEvent
	err := b.conn.readStream(ctx, r, func(read *recorded) bool {
		events = append(events, decode(read, stream))
		return true
	})
	if errors.Is(err, errNoStream) {
		return nil, streamAbsent, nil
	}
	return events, streamThere, err
}
