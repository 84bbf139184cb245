package eventstore_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// traces notes what a tracer is told, by one goroutine.
type traces struct {
	starts []eventstore.TraceStart
	ends   []eventstore.TraceEnd
}

type tracedKey struct{}

func (tr *traces) TraceStart(ctx context.Context, start eventstore.TraceStart) context.Context {
	tr.starts = append(tr.starts, start)
	return context.WithValue(ctx, tracedKey{}, start.Operation)
}

func (tr *traces) TraceEnd(ctx context.Context, end eventstore.TraceEnd) {
	if ctx.Value(tracedKey{}) != end.Operation {
		panic("the context of TraceStart was lost")
	}
	tr.ends = append(tr.ends, end)
}

func TestATracerHearsOfAppendsReadsAndSubscriptions(t *testing.T) {
	var seen traces
	store := newScripted().open(t, &eventstore.Options{Tracer: &seen})
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A").WithCorrelationID("c"))
	require.NoError(t, err)
	_, err = store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A"))
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Len(t, collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})), 1)
	require.Len(t, collect(t, store.ReadAll(t.Context(), eventstore.ReadAllOptions{})), 1)
	for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
		require.NoError(t, err)
		if message.Kind == eventstore.MessageCaughtUp {
			break
		}
	}
	require.Len(t, seen.starts, 5)
	require.Equal(t, eventstore.OperationAppend, seen.starts[0].Operation)
	require.Equal(t, "order", seen.starts[0].Category)
	require.Equal(t, "c", seen.starts[0].Parts[0].Events[0].CorrelationID())
	require.NotZero(t, seen.starts[0].Parts[0].Events[0].ID)
	require.Equal(t, eventstore.TraceEnd{Operation: eventstore.OperationAppend, Events: 1, Attempts: 1}, seen.ends[0])
	require.ErrorIs(t, seen.ends[1].Err, eventstore.ErrConflict)
	require.Equal(t, "order-1", seen.starts[2].Stream)
	for i, operation := range []eventstore.Operation{eventstore.OperationRead, eventstore.OperationRead, eventstore.OperationSubscribe} {
		require.Equal(t, eventstore.TraceEnd{Operation: operation, Events: 1}, seen.ends[i+2])
	}
}

func TestATracerHearsOfEachCallOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen traces
		backend := newScripted()
		fill(t, backend.open(t, nil), 1)
		handled := 0
		err := backend.open(t, &eventstore.Options{Tracer: &handlersOnly{Tracer: &seen}}).Run(t.Context(), eventstore.Subscription{
			Name: "billing", UntilCaughtUp: true,
			Handler: func(ctx context.Context, _ eventstore.RecordedEvent) error {
				require.Equal(t, eventstore.OperationHandle, ctx.Value(tracedKey{}))
				if handled++; handled == 1 {
					return errBroken
				}
				return nil
			},
		})
		require.NoError(t, err)
		require.Len(t, seen.starts, 2)
		require.Equal(t, "billing", seen.starts[0].Subscription)
		require.Equal(t, "order", seen.starts[0].Category)
		require.Equal(t, 2, seen.starts[1].Attempt)
		require.ErrorIs(t, seen.ends[0].Err, errBroken)
		require.NoError(t, seen.ends[1].Err)
	})
}

// handlersOnly passes on what happens in the handler's goroutine.
type handlersOnly struct{ eventstore.Tracer }

func (h *handlersOnly) TraceStart(ctx context.Context, start eventstore.TraceStart) context.Context {
	if start.Operation != eventstore.OperationHandle {
		return ctx
	}
	return h.Tracer.TraceStart(ctx, start)
}

func (h *handlersOnly) TraceEnd(ctx context.Context, end eventstore.TraceEnd) {
	if end.Operation == eventstore.OperationHandle {
		h.Tracer.TraceEnd(ctx, end)
	}
}
