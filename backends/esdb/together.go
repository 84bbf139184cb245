package esdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Appends of one process to one stream take turns, or they would refuse each
// other. Those that wait are written as one, where each would simply be written
// after the one before it.

// Bounds of what is written as one: the server tells the position of the last
// event alone, so the others are read back.
const (
	mostTogether      = 256
	mostBytesTogether = 64 << 10
)

// committer forms the groups of appends to one stream.
func (b *Backend) committer(t *tail) *adapter.GroupCommit {
	flush := func(ctx context.Context, group []*adapter.GroupedAppend) { b.flush(ctx, t, group) }
	return adapter.NewGroupCommit(flush, adapter.GroupCommitOptions{
		MaxWeight: mostBytesTogether, Weigh: adapter.WeighEvents(mostBytesTogether / mostTogether), CallerFlushes: true,
		Timeout: 2 * b.conn.settings.writeTimeout,
	})
}

func (b *Backend) flush(ctx context.Context, t *tail, group []*adapter.GroupedAppend) {
	for len(group) > 0 {
		n := t.together(group)
		if n == 1 || !b.writeTogether(ctx, t, group[:n]) {
			n = 1
			group[0].Results, group[0].Err = b.settle(ctx, t, group[0].Parts[0])
		}
		group = group[n:]
	}
}

// together tells how many of the first calls are to be written one after the
// other, by what is known of the stream; at least one.
func (t *tail) together(group []*adapter.GroupedAppend) int {
	at, seen := t.version, make(map[uuid.UUID]bool)
	for n, call := range group {
		part := call.Parts[0]
		if !t.known || !part.Expected.Allows(at) || t.holds(part.Events) {
			return max(n, 1)
		}
		for i := range part.Events {
			if seen[part.Events[i].ID] {
				return n
			}
			seen[part.Events[i].ID] = true
		}
		at += uint64(len(part.Events))
	}
	return len(group)
}

// writeTogether writes calls as one append and gives each its result. It returns
// false where that was refused, and nothing was written: each may fare otherwise alone.
func (b *Backend) writeTogether(ctx context.Context, t *tail, calls []*adapter.GroupedAppend) bool {
	ctx, cancel := context.WithTimeout(ctx, b.conn.settings.writeTimeout)
	defer cancel()
	var events []eventstore.Event
	for _, call := range calls {
		events = append(events, call.Parts[0].Events...)
	}
	written, err := b.write(ctx, t.stream, t.version, events)
	var refusal *wrongVersionError
	if errors.As(err, &refusal) || errors.Is(err, eventstore.ErrInvalid) || isRefusal(err) {
		return false
	}
	var stored []eventstore.RecordedEvent
	if err == nil {
		t.written(b.options.IdempotencyWindow, written, events)
		stored, err = b.positions(ctx, t.stream, written, len(events))
	}
	for _, call := range calls {
		if call.Err = err; err != nil {
			continue
		}
		n := len(call.Parts[0].Events)
		call.Results = []eventstore.AppendResult{{FirstVersion: stored[0].Version, Version: stored[n-1].Version, Position: stored[n-1].Position}}
		stored = stored[n:]
	}
	return true
}

// positions reads back what was written. If it cannot, an append that is stored
// has no answer: making it again finds it.
func (b *Backend) positions(ctx context.Context, stream string, written eventstore.AppendResult, count int) ([]eventstore.RecordedEvent, error) {
	stored, _, err := b.readRange(ctx, stream, written.FirstVersion-1, count)
	if err == nil && (len(stored) != count || stored[0].Version != written.FirstVersion || stored[count-1].Version != written.Version) {
		err = fmt.Errorf("%d of the %d events from version %d on are there", len(stored), count, written.FirstVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read back what was written: %w", eventstore.ErrUnknownOutcome, err)
	}
	return stored, nil
}
