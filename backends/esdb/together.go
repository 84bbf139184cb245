package esdb

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Appends of one process to one stream take turns, or they would refuse each
// other. Those that wait are written as one, where each would simply be written
// after the one before it.

// Bounds of what is written as one.
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

// flush writes and answers a group. All of it was asked for before now, so what is
// learned of the stream from here on is how it was while they waited: a conflict
// with that needs no look of its own.
func (b *Backend) flush(ctx context.Context, t *tail, group []*adapter.GroupedAppend) {
	t.fresh = false
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
