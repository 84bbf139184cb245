package otelswitchyard_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/otelswitchyard"
)

func keys(metadata map[string]string) []string { return slices.Sorted(maps.Keys(metadata)) }

func TestAnEventCarriesTheTraceAndItsState(t *testing.T) {
	s := newShop(t)
	state, err := trace.ParseTraceState("vendor=x")
	require.NoError(t, err)
	at := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceState: state})
	metadata := make(map[string]string)
	set := func(k, v string) { metadata[k] = v }
	s.telemetry.Metadata(trace.ContextWithSpanContext(t.Context(), at), set)
	require.Equal(t, map[string]string{"traceparent": "00-01000000000000000000000000000000-0200000000000000-00", "tracestate": "vendor=x"}, metadata)
	clear(metadata)
	s.telemetry.Metadata(t.Context(), set)
	require.Empty(t, metadata, "there is no trace")
}

func TestAnEventWithoutATraceOrWithABrokenOneHasNoLink(t *testing.T) {
	s := newShop(t)
	for i, parent := range []string{"", "nonsense", "00-00000000000000000000000000000000-0000000000000000-00"} {
		event := eventstore.Event{Type: "OrderPaid", Data: []byte(`{}`)}
		if parent != "" {
			event = event.WithMetadata("traceparent", parent)
		}
		_, err := s.store.Append(t.Context(), fmt.Sprint("order-", i), eventstore.NoStream(), event)
		require.NoError(t, err)
	}
	require.NoError(t, s.fulfil(t.Context(), func(context.Context, *decider.Cause, Paid) error { return nil }))
	handled := 0
	for _, span := range s.spans.GetSpans() {
		if span.Name == "process order" {
			handled++
			require.Empty(t, span.Links)
		}
	}
	require.Equal(t, 3, handled)
}

func TestABatchLinksToEachEventAndNamesACategoryThatAllHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, streams := range map[string][]string{"process order": {"order-1", "order-2", "order-3"}, "process": {"order-1", "shipment-1", "order-2"}} {
			s := newShop(t)
			for _, stream := range streams {
				_, err := s.pay(t.Context(), stream)
				require.NoError(t, err)
			}
			require.NoError(t, s.store.Run(t.Context(), eventstore.Subscription{
				Name: "model", UntilCaughtUp: true, HandleBatch: func(context.Context, eventstore.Batch) error {
					<-time.After(time.Second) // the rest is at hand then
					return nil
				},
			}))
			links := 0
			for _, span := range s.spans.GetSpans() {
				if span.SpanKind == trace.SpanKindConsumer && len(span.Links) > 1 {
					require.Equal(t, name, span.Name)
					require.EqualValues(t, len(span.Links), of(span)["messaging.batch.message_count"])
					require.NotContains(t, of(span), "switchyard.stream")
				}
				for _, link := range span.Links {
					links++
					require.EqualValues(t, "messaging.message.id", link.Attributes[0].Key)
				}
			}
			require.Equal(t, len(streams), links)
			require.Equal(t, int64(len(streams)), s.sum(t, "messaging.client.consumed.messages"))
			require.NoError(t, s.store.Close())
		}
	})
}

func (s *shop) sum(t *testing.T, name string) (n int64) {
	t.Helper()
	sum, ok := s.collect(t)[name].(metricdata.Sum[int64])
	require.True(t, ok, name)
	for _, p := range sum.DataPoints {
		n += p.Value
	}
	return n
}

func TestAnAppendOfSeveralStreamsIsOneSpan(t *testing.T) {
	s := newShop(t)
	event := eventstore.Event{Type: "OrderPaid", Data: []byte(`{}`)}
	_, err := s.store.AppendStreams(t.Context(),
		eventstore.StreamAppend{Stream: "order-1", Expected: eventstore.Any(), Events: []eventstore.Event{event, event}},
		eventstore.StreamAppend{Stream: "order-2", Expected: eventstore.Any(), Events: []eventstore.Event{event}},
		eventstore.StreamAppend{Stream: "customer-1", Expected: eventstore.NoStream()}, // only checked
	)
	require.NoError(t, err)
	sent := of(s.span(t, "send order"))
	require.EqualValues(t, 3, sent["messaging.batch.message_count"])
	require.NotContains(t, sent, "switchyard.stream")
	require.NotContains(t, sent, "switchyard.version")
	require.EqualValues(t, 3, s.sum(t, "messaging.client.sent.messages"))
}

func TestConflictsAndAttemptsOfDecisionsAreCounted(t *testing.T) {
	s := newShop(t)
	overtaken := 0
	_, err := s.orders.Transact(t.Context(), "order-1", func(int64) ([]Paid, error) {
		if overtaken++; overtaken <= 2 {
			_, err := s.store.Append(t.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "OrderPaid", Data: []byte(`{}`)})
			require.NoError(t, err)
		}
		return []Paid{{1}}, nil
	})
	require.NoError(t, err)
	transact := of(s.span(t, "transact order"))
	require.EqualValues(t, 3, transact["switchyard.attempts"])
	require.EqualValues(t, 2, transact["switchyard.conflicts"])
	require.EqualValues(t, 2, transact["switchyard.folded"])
	require.EqualValues(t, 3, transact["switchyard.version"])
	require.EqualValues(t, 2, s.sum(t, "switchyard.transact.conflicts"))
	attempts, ok := s.collect(t)["switchyard.transact.attempts"].(metricdata.Histogram[int64])
	require.True(t, ok)
	require.EqualValues(t, 3, attempts.DataPoints[0].Sum)

	refusal := errors.New("refused")
	_, err = s.orders.Transact(t.Context(), "order-1", func(int64) ([]Paid, error) { return nil, refusal })
	require.ErrorIs(t, err, refusal)
	spans := s.spans.GetSpans()
	require.Equal(t, true, of(spans[len(spans)-1])["switchyard.refused"])
}

func TestARepeatedCommandIsADuplicateWithTheCommandsID(t *testing.T) {
	s := newShop(t)
	cmd := decider.Command{Stream: "order-1", ID: uuid.New()}
	for range 2 {
		_, err := s.orders.Do(t.Context(), cmd, func(int64) ([]Paid, error) { return []Paid{{1}, {2}}, nil })
		require.NoError(t, err)
	}
	var transacts []map[string]any
	for _, span := range s.spans.GetSpans() {
		if span.Name == "transact order" {
			transacts = append(transacts, of(span))
		}
	}
	require.Len(t, transacts, 2)
	for i, want := range []struct {
		duplicate bool
		attempts  int
	}{{false, 1}, {true, 0}} {
		require.Equal(t, cmd.ID.String(), transacts[i]["switchyard.command.id"])
		require.Equal(t, want.duplicate, transacts[i]["switchyard.duplicate"])
		require.EqualValues(t, want.attempts, transacts[i]["switchyard.attempts"])
		require.EqualValues(t, 2, transacts[i]["messaging.batch.message_count"])
	}
}

// sending begins an append of one event.
func (s *shop) sending(t *testing.T) context.Context {
	t.Helper()
	return s.telemetry.TraceStart(t.Context(), eventstore.TraceStart{
		Operation: eventstore.OperationAppend, Parts: []eventstore.StreamAppend{{Stream: "order-1", Events: []eventstore.Event{{ID: uuid.New()}}}},
	})
}

func TestSpansTellAttemptsAndDuplicates(t *testing.T) {
	s := newShop(t)
	ctx := s.sending(t)
	s.telemetry.TraceEnd(ctx, eventstore.TraceEnd{Operation: eventstore.OperationAppend, Attempts: 3, Duplicate: true})
	sent := of(s.span(t, "send order"))
	require.EqualValues(t, 3, sent["switchyard.attempts"])
	require.Equal(t, true, sent["switchyard.duplicate"])

	ctx = s.telemetry.TraceStart(t.Context(), eventstore.TraceStart{
		Operation: eventstore.OperationHandle, Subscription: "billing", Attempt: 2, Events: []eventstore.RecordedEvent{{Stream: "order-1", Version: 1}},
	})
	s.telemetry.TraceEnd(ctx, eventstore.TraceEnd{Operation: eventstore.OperationHandle, Events: 1})
	require.EqualValues(t, 2, of(s.span(t, "process order"))["switchyard.attempt"])
}

func TestAnErrorsKindIsInItsSpanAndInTheMetrics(t *testing.T) {
	for kind, err := range map[string]error{
		"unknown_outcome": &eventstore.UnknownOutcomeError{Err: eventstore.ErrUnavailable},
		"conflict":        &eventstore.ConflictError{Stream: "order-1"},
		"event_id_reused": eventstore.ErrEventIDReused,
		"invalid":         &eventstore.InvalidError{Field: "stream"},
		"unknown_event":   &codec.UnknownEventError{Type: "OrderLost"},
		"unsupported":     &eventstore.UnsupportedError{Feature: "it"},
		"sealed":          eventstore.ErrSealed,
		"closed":          errors.Join(eventstore.ErrClosed, eventstore.ErrUnavailable),
		"lease_lost":      &eventstore.LeaseLostError{Name: "billing"},
		"canceled":        errors.Join(context.Canceled, eventstore.ErrUnavailable),
		"timeout":         errors.Join(context.DeadlineExceeded, eventstore.ErrUnavailable),
		"unavailable":     eventstore.ErrUnavailable,
		"panic":           &eventstore.PanicError{Value: 1},
		"_OTHER":          errors.New("order-1 has no stock"),
	} {
		t.Run(kind, func(t *testing.T) {
			s := newShop(t)
			ctx := s.sending(t)
			s.telemetry.TraceEnd(ctx, eventstore.TraceEnd{Operation: eventstore.OperationAppend, Err: fmt.Errorf("append: %w", err)})
			require.Equal(t, kind, of(s.span(t, "send order"))["error.type"])
			for _, name := range []string{"messaging.client.operation.duration", "messaging.client.sent.messages"} {
				labels := s.points(t)[name]
				require.Len(t, labels, 1, name)
				found, _ := labels[0].Value("error.type")
				require.Equal(t, kind, found.AsString(), name)
			}
		})
	}
}

func TestTheGlobalProvidersAreTheDefault(t *testing.T) {
	tracer, err := otelswitchyard.New(nil)
	require.NoError(t, err)
	ctx := tracer.TraceStart(t.Context(), eventstore.TraceStart{Operation: eventstore.OperationAppend, Parts: []eventstore.StreamAppend{{Stream: "order-1"}}})
	tracer.TraceEnd(ctx, eventstore.TraceEnd{Operation: eventstore.OperationAppend})
	tracer.TraceEnd(t.Context(), eventstore.TraceEnd{Operation: eventstore.OperationAppend}) // of which no start was heard
	tracer.TransactEnd(t.Context(), decider.TransactEnd{})
}
