package esdb

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Appends of one process to one stream take turns, or they would refuse each
// other. Those that wait are written as one, where each would simply be written
// after the one before it.

// Bounds of what is written as one.
const (
	maxGroupEvents = 256
	maxGroupBytes  = 64 << 10
)

// newCachedStream returns what is known of a stream that nothing is known of.
func (b *Backend) newCachedStream(stream string) *cachedStream {
	t := &cachedStream{stream: stream, turn: make(chan struct{}, 1), timeout: b.conn.settings.writeTimeout}
	flush := func(ctx context.Context, group []*adapter.GroupedAppend) { b.flush(ctx, t, group) }
	t.appends = adapter.NewGroupCommit(flush, adapter.GroupCommitOptions{
		MaxWeight: maxGroupBytes, Weigh: adapter.WeighEvents(maxGroupBytes / maxGroupEvents), CallerFlushes: true,
		Timeout: 2 * t.timeout,
	})
	id, _ := b.names.visible(stream)
	t.readLast = func(ctx context.Context) (eventstore.Page, error) {
		return b.readStream(ctx, eventstore.ReadStreamRequest{Stream: id, Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	}
	return t
}

// flush writes and answers a group. All of it was asked for before now, so what is
// seen of the stream from here on is how it was while they waited: a conflict with
// that needs no look of its own. They waited together and none is before another, so
// those that can be written go first, and the others see what that made of the stream.
func (b *Backend) flush(ctx context.Context, t *cachedStream, group []*adapter.GroupedAppend) {
	if err := t.lock(ctx); err != nil {
		for _, call := range group {
			call.Err = err
		}
		return
	}
	defer t.unlock()
	since := t.now()
	for len(group) > 0 {
		next, rest := t.partition(group)
		switch {
		case len(next) > 1 && b.writeGroup(ctx, t, next):
			group = rest
			continue
		case len(next) == 0 && t.seen <= since && t.isStale(group[0].Parts[0]):
			group[0].Err = errStale
			group = group[1:]
			continue
		case len(next) > 0:
			group = append(slices.Clip(next), rest...)
		}
		group[0].Results, group[0].Err = b.settle(ctx, t, group[0].Parts[0], since)
		group = group[1:]
	}
}

// partition parts calls into those that are to be written one after the other, by what
// is known of the stream, and the others.
func (t *cachedStream) partition(group []*adapter.GroupedAppend) (next, rest []*adapter.GroupedAppend) {
	if !t.known {
		return nil, group
	}
	at, seen := t.version, make(map[uuid.UUID]bool)
	for _, call := range group {
		part := call.Parts[0]
		fits := part.Expected.Allows(at) && !t.holds(part.Events)
		for i := 0; fits && i < len(part.Events); i++ {
			fits = !seen[part.Events[i].ID]
		}
		if !fits {
			rest = append(rest, call)
			continue
		}
		for i := range part.Events {
			seen[part.Events[i].ID] = true
		}
		next = append(next, call)
		at += uint64(len(part.Events))
	}
	return next, rest
}

// writeGroup writes calls as one append and gives each its result. It returns
// false where that was refused, and nothing was written: each may fare otherwise alone.
func (b *Backend) writeGroup(ctx context.Context, t *cachedStream, calls []*adapter.GroupedAppend) bool {
	ctx, cancel := context.WithTimeout(ctx, b.conn.settings.writeTimeout)
	defer cancel()
	var events []eventstore.Event
	for _, call := range calls {
		events = append(events, call.Parts[0].Events...)
	}
	recorded, err := b.write(ctx, t, t.version, events)
	var refusal *wrongVersionError
	if errors.As(err, &refusal) || errors.Is(err, eventstore.ErrInvalid) || isRefusal(err) {
		return false
	}
	for _, call := range calls {
		if call.Err = err; err != nil {
			continue
		}
		n := len(call.Parts[0].Events)
		call.Results = []eventstore.PartResult{{Recorded: recorded[:n:n]}}
		recorded = recorded[n:]
	}
	return true
}
