package transfer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// newStore returns a store as the command line opens one, over a backend or a
// new memory store.
func newStore(t *testing.T, backend eventstore.Backend) *eventstore.Store {
	t.Helper()
	if backend == nil {
		backend = memory.New()
	}
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// fill appends n events to streams 0 … streams-1 in turn, each with a record
// time of its own, and returns their IDs.
func fill(t *testing.T, store *eventstore.Store, streams, n int) {
	t.Helper()
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	for i := range n {
		event := eventstore.Event{
			ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)), Type: "Counted",
			Data: fmt.Appendf(nil, `{"n":%d}`, i), Metadata: map[string]string{"$correlationId": fmt.Sprint(i)},
		}
		_, err := store.AppendStreams(t.Context(), eventstore.StreamAppend{
			Stream: fmt.Sprintf("counter-%d", i%streams), Expected: eventstore.Exactly(uint64(i / streams)),
			Events: []eventstore.Event{event}, RecordedAt: new(at.Add(time.Duration(i) * time.Millisecond)),
		})
		require.NoError(t, err)
	}
}

func all(t *testing.T, store *eventstore.Store) []eventstore.RecordedEvent {
	t.Helper()
	var events []eventstore.RecordedEvent
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		events = append(events, event)
	}
	return events
}

func requireSame(t *testing.T, a, b *eventstore.Store) {
	t.Helper()
	report, err := Verify(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, report.Equal(), "first difference: %+v", report.First)
	require.Equal(t, report.A, report.B)
	left, right := all(t, a), all(t, b)
	for i := range left {
		require.Equal(t, left[i].Stream, right[i].Stream, "the order is the same")
		require.Equal(t, left[i].RecordedAt, right[i].RecordedAt, "record times are kept")
	}
}

// forgetful is a memory store that recognises no event ID but the last one of a
// stream, as a backend with a short idempotency window does.
type forgetful struct{ *memory.Backend }

func (f forgetful) Capabilities() eventstore.Capabilities {
	caps := f.Backend.Capabilities()
	caps.IdempotencyWindow = 1
	caps.MultiStreamAppend = eventstore.No("this double has none")
	caps.PreservedRecordTime = eventstore.No("this double has none")
	return caps
}

func (f forgetful) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	part := req.Parts[0]
	page, err := f.ReadStream(ctx, eventstore.ReadStreamRequest{Stream: part.Stream, Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	if err != nil {
		return nil, err
	}
	if len(page.Events) > 0 && page.Events[0].ID != part.Events[len(part.Events)-1].ID && !part.Expected.Allows(page.Events[0].Version) {
		return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: page.Events[0].Version}
	}
	return f.Backend.Append(ctx, req)
}
