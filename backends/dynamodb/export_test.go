package dynamodb

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// SetPatience shortens how long a transaction's answer is waited for, and how long it
// is sent again.
func (b *Backend) SetPatience(send, resend time.Duration) {
	b.patience.send, b.patience.resend = send, resend
}

// SetSealPatience shortens how long a seal is tried for.
func (b *Backend) SetSealPatience(most time.Duration) { b.patience.seal = most }

// Flush writes appends as one group.
func (b *Backend) Flush(ctx context.Context, requests []eventstore.AppendRequest) []*adapter.GroupedAppend {
	group := make([]*adapter.GroupedAppend, len(requests))
	for i, request := range requests {
		group[i] = &adapter.GroupedAppend{AppendRequest: request}
	}
	b.flush(ctx, group)
	return group
}

// BelieveWritten is a writer that is broken: it takes an append for stored.
func (b *Backend) BelieveWritten(stream string, events ...eventstore.Event) {
	w := <-b.writer
	defer func() { b.writer <- w }()
	t, ok := w.tails.get(stream)
	if !ok {
		t = &tail{from: 1}
	}
	for _, event := range events {
		t.add(tailEvent{id: event.ID, position: eventstore.NewPosition(w.end+1, 0)}, b.depth(0))
	}
	w.inStep = true
	w.end++
	w.tails.put(stream, t)
}

// HashNames replaces the hash that places checkpoints.
func (b *Backend) HashNames(hash func(name string) uint64) { b.hashName = hash }

// ID is the store's identity.
func (b *Backend) ID() uuid.UUID { return b.id }
