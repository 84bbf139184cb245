package eventstore_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
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

// endless is a tracer that breaks at every end.
type endless struct{}

func (endless) TraceStart(ctx context.Context, _ eventstore.TraceStart) context.Context {
	return ctx
}

func (endless) TraceEnd(context.Context, eventstore.TraceEnd) { panic("full") }

func TestATracerThatPanicsAtAnEndTakesNoOutcome(t *testing.T) {
	var log bytes.Buffer
	store := newScripted().open(t, &eventstore.Options{Tracer: endless{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	res, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A"))
	require.NoError(t, err)
	require.Equal(t, uint64(1), res.Version)
	require.Contains(t, log.String(), "operation=append panic=full")
	require.Contains(t, log.String(), "tracer_test.go")
	require.Len(t, collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})), 1)
	handled := 0
	require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
		Name: "billing", UntilCaughtUp: true, Retry: eventstore.HandlerRetry{Attempts: 1},
		Handler: func(context.Context, eventstore.RecordedEvent) error {
			handled++
			return nil
		},
	}))
	require.Equal(t, 1, handled)
	require.PanicsWithValue(t, "reader", func() { // which stays the reader's
		for _, err := range store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{}) {
			require.NoError(t, err)
			panic("reader")
		}
	})
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

func TestATracerIsToldHowManyEventsThereWereAndWhetherAllWereStoredBefore(t *testing.T) {
	var seen traces
	store := newScripted().open(t, &eventstore.Options{Tracer: &seen})
	ended := func() eventstore.TraceEnd { return seen.ends[len(seen.ends)-1] }
	events := func(n int) []eventstore.Event {
		all := make([]eventstore.Event, n)
		for i := range all {
			all[i] = event("A")
			all[i].ID = uuid.New()
		}
		return all
	}
	first := eventstore.StreamAppend{Stream: "order-1", Expected: eventstore.NoStream(), Events: events(3)}
	second := eventstore.StreamAppend{Stream: "order-2", Expected: eventstore.NoStream(), Events: events(2)}
	third := eventstore.StreamAppend{Stream: "order-4", Expected: eventstore.NoStream(), Events: events(1)}
	check := eventstore.StreamAppend{Stream: "order-3", Expected: eventstore.NoStream()}
	for _, step := range []struct {
		parts     []eventstore.StreamAppend
		events    int
		duplicate bool
	}{
		{[]eventstore.StreamAppend{first}, 3, false},
		{[]eventstore.StreamAppend{first, second, check}, 5, false}, // a part of it was stored before
		{[]eventstore.StreamAppend{third, first}, 4, false},
		{[]eventstore.StreamAppend{second, first, check}, 5, true},
		{[]eventstore.StreamAppend{check, second}, 2, true},
	} {
		_, err := store.AppendStreams(t.Context(), step.parts...)
		require.NoError(t, err)
		require.Equal(t, eventstore.TraceEnd{Operation: eventstore.OperationAppend, Events: step.events, Attempts: 1, Duplicate: step.duplicate}, ended())
	}
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), events(2)...)
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Zero(t, ended().Events, "nothing was appended")
	require.False(t, ended().Duplicate)

	for left := 1; left <= 3; left++ { // a read that is left counts what it yielded
		n := 0
		for _, err := range store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{}) {
			require.NoError(t, err)
			if n++; n == left {
				break
			}
		}
		require.Equal(t, eventstore.TraceEnd{Operation: eventstore.OperationRead, Events: left}, ended())
	}
	filter := eventstore.Filter{StreamPrefixes: []string{"order-1"}} // behind its last event is progress
	for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{Filter: filter}) {
		require.NoError(t, err)
		if message.Kind == eventstore.MessageCaughtUp {
			break
		}
	}
	require.Equal(t, eventstore.TraceEnd{Operation: eventstore.OperationSubscribe, Events: 3}, ended())
}

func TestATracerIsToldHowManyEventsABatchHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen traces
		backend := newScripted()
		fill(t, backend.open(t, nil), 7)
		var sizes []int
		require.NoError(t, backend.open(t, &eventstore.Options{Tracer: &handlersOnly{Tracer: &seen}}).Run(t.Context(), eventstore.Subscription{
			Name: "report", UntilCaughtUp: true,
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				<-time.After(time.Millisecond)
				sizes = append(sizes, len(b.Events))
				return nil
			},
		}))
		var told []int
		for i, end := range seen.ends {
			require.Len(t, seen.starts[i].Events, end.Events)
			told = append(told, end.Events)
		}
		require.Equal(t, sizes, told)
		require.Greater(t, slices.Max(told), 1)
	})
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
