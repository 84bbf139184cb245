package otelswitchyard_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/otelswitchyard"
)

// Paid and Shipped are the events of two families.
type (
	Paid    struct{ Cents int64 }
	Shipped struct{ Order string }
)

// shop is an application with telemetry, and what that was told.
type shop struct {
	store     *eventstore.Store
	paid      *codec.Codec[Paid]
	orders    *decider.Decider[int64, Paid]
	shipments *decider.Decider[bool, Shipped]
	telemetry *otelswitchyard.Tracer
	tracers   *sdktrace.TracerProvider
	spans     *tracetest.InMemoryExporter
	meters    *sdkmetric.ManualReader
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{spans: tracetest.NewInMemoryExporter(), meters: sdkmetric.NewManualReader()}
	s.tracers = sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans))
	var err error
	s.telemetry, err = otelswitchyard.New(&otelswitchyard.Options{
		TracerProvider: s.tracers, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.meters)),
	})
	require.NoError(t, err)
	s.store, err = eventstore.New(memory.New(), &eventstore.Options{Tracer: s.telemetry})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.store.Close() })
	metadata := &codec.Options{Metadata: s.telemetry.Metadata}
	s.paid = codec.Must(codec.New[Paid](metadata, codec.Of[Paid]("OrderPaid")))
	shipped := codec.Must(codec.New[Shipped](metadata, codec.Of[Shipped]("OrderShipped")))
	options := &decider.Options{Tracer: s.telemetry}
	s.orders, err = decider.New(s.store, s.paid, func(sum int64, e Paid) int64 { return sum + e.Cents }, options)
	require.NoError(t, err)
	s.shipments, err = decider.New(s.store, shipped, func(bool, Shipped) bool { return true }, options)
	require.NoError(t, err)
	return s
}

func (s *shop) pay(ctx context.Context, stream string) (decider.Result[int64], error) {
	return s.orders.Transact(ctx, stream, func(int64) ([]Paid, error) { return []Paid{{500}}, nil })
}

// fulfil runs the reaction until it has handled what there is.
func (s *shop) fulfil(ctx context.Context, handle func(context.Context, *decider.Cause, Paid) error) error {
	sub := decider.React("fulfilment", s.paid, handle)
	sub.UntilCaughtUp = true
	sub.Retry.Attempts = 1
	return s.store.Run(ctx, sub)
}

// fulfilling runs the reaction until stop is called.
func (s *shop) fulfilling(t *testing.T, handle func(context.Context, *decider.Cause, Paid) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.store.Run(ctx, decider.React("fulfilment", s.paid, handle)) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func (s *shop) ship(ctx context.Context, cause *decider.Cause, _ Paid) error {
	_, err := s.shipments.Do(ctx, cause.Command("shipment-"+strings.TrimPrefix(cause.Stream, "order-"), "ship"), func(bool) ([]Shipped, error) {
		return []Shipped{{cause.Stream}}, nil
	})
	return err
}

// events are those of a stream.
func (s *shop) events(t *testing.T, stream string) []eventstore.RecordedEvent {
	t.Helper()
	var events []eventstore.RecordedEvent
	for e, err := range s.store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		events = append(events, e)
	}
	return events
}

// span returns the only span of a name.
func (s *shop) span(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, span := range s.spans.GetSpans() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	require.Len(t, found, 1, name)
	return found[0]
}

// of are a span's attributes.
func of(span tracetest.SpanStub) map[string]any {
	all := make(map[string]any)
	for _, kv := range span.Attributes {
		all[string(kv.Key)] = kv.Value.AsInterface()
	}
	return all
}

func TestACommandItsEventAReactionAndItsEventAreTraced(t *testing.T) {
	s := newShop(t)
	ctx, request := s.tracers.Tracer("http").Start(codec.WithCorrelation(t.Context(), "conversation-1"), "POST /payments")
	member, err := baggage.NewMember("secret", "token")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	_, err = s.pay(baggage.ContextWithBaggage(ctx, bag), "order-42")
	require.NoError(t, err)
	request.End()
	require.NoError(t, s.fulfil(t.Context(), s.ship))

	transact, send := s.span(t, "transact order"), s.span(t, "send order")
	process := s.span(t, "process order")
	transact2, send2 := s.span(t, "transact shipment"), s.span(t, "send shipment")
	require.Len(t, s.spans.GetSpans(), 6, "reads and the subscription have no spans")
	for _, step := range []struct {
		span   tracetest.SpanStub
		kind   trace.SpanKind
		parent trace.SpanContext
	}{
		{transact, trace.SpanKindInternal, request.SpanContext()},
		{send, trace.SpanKindProducer, transact.SpanContext},
		{process, trace.SpanKindConsumer, trace.SpanContext{}},
		{transact2, trace.SpanKindInternal, process.SpanContext},
		{send2, trace.SpanKindProducer, transact2.SpanContext},
	} {
		require.Equal(t, step.kind, step.span.SpanKind, step.span.Name)
		require.Equal(t, step.parent.SpanID(), step.span.Parent.SpanID(), step.span.Name)
		require.Equal(t, codes.Unset, step.span.Status.Code, step.span.Name)
		require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", step.span.InstrumentationScope.SchemaURL)
	}
	require.NotEqual(t, request.SpanContext().TraceID(), process.SpanContext.TraceID(), "a reaction is not part of the trace that caused it")
	require.Len(t, process.Links, 1)
	require.Equal(t, transact.SpanContext.TraceID(), process.Links[0].SpanContext.TraceID(), "it links there")
	require.Equal(t, transact.SpanContext.SpanID(), process.Links[0].SpanContext.SpanID())
	require.Empty(t, transact2.Links)

	paid, shipped := s.events(t, "order-42")[0], s.events(t, "shipment-42")[0]
	require.Equal(t, []string{"$correlationId", "traceparent"}, keys(paid.Metadata), "no baggage")
	require.Contains(t, shipped.Metadata["traceparent"], transact2.SpanContext.SpanID().String())

	system := map[string]any{"messaging.system": "switchyard", "messaging.destination.name": "order"}
	require.Equal(t, with(system, map[string]any{
		"switchyard.stream": "order-42", "switchyard.version": int64(1), "switchyard.attempts": int64(1), "switchyard.conflicts": int64(0),
		"switchyard.folded": int64(0), "switchyard.duplicate": false, "switchyard.refused": false, "messaging.batch.message_count": int64(1),
	}), of(transact))
	require.Equal(t, with(system, map[string]any{
		"messaging.operation.name": "send", "messaging.operation.type": "send", "messaging.message.id": paid.ID.String(), "messaging.message.conversation_id": "conversation-1",
		"switchyard.stream": "order-42", "switchyard.version": int64(1), "switchyard.expected_version": "none", "switchyard.attempts": int64(1), "switchyard.duplicate": false,
	}), of(send))
	require.Equal(t, with(system, map[string]any{
		"messaging.operation.name": "process", "messaging.operation.type": "process", "messaging.consumer.group.name": "fulfilment",
		"messaging.message.id": paid.ID.String(), "messaging.message.conversation_id": "conversation-1",
		"switchyard.stream": "order-42", "switchyard.version": int64(1), "switchyard.attempt": int64(1),
	}), of(process))
	require.Contains(t, of(transact2), "switchyard.command.id")
}

func with(common, more map[string]any) map[string]any {
	for k, v := range common {
		more[k] = v
	}
	return more
}

func TestMetricsHaveNoStreamNoIDAndNoTextOfAnError(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	failed := errors.New("no stock in order-42")
	for _, stream := range []string{"order-42", "order-43", "alone", "a-b"} {
		_, err := s.pay(ctx, stream)
		require.NoError(t, err)
	}
	_, err := s.orders.Transact(ctx, "order-42", func(int64) ([]Paid, error) { return nil, failed })
	require.ErrorIs(t, err, failed)
	_, err = s.orders.Do(ctx, decider.Command{Stream: "order-42", Expected: eventstore.NoStream()}, func(int64) ([]Paid, error) { return nil, nil })
	require.ErrorIs(t, err, eventstore.ErrConflict)
	event := eventstore.Event{ID: uuid.New(), Type: "OrderPaid", Data: []byte("{}")}
	_, err = s.store.Append(ctx, "order-42", eventstore.NoStream(), event)
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.ErrorIs(t, s.fulfil(ctx, func(context.Context, *decider.Cause, Paid) error { return failed }), failed)
	require.Error(t, s.fulfil(ctx, func(context.Context, *decider.Cause, Paid) error { panic(failed) }))
	shipped := make(chan struct{})
	stop := s.fulfilling(t, func(ctx context.Context, cause *decider.Cause, e Paid) error {
		defer func() { shipped <- struct{}{} }()
		return s.ship(ctx, cause, e)
	})
	for range 4 {
		<-shipped
	}
	collected := s.points(t) // with the lag, which is gone when it stops
	stop()

	for name, points := range collected {
		for _, labels := range points {
			for _, kv := range labels.ToSlice() {
				require.Contains(t, map[attribute.Key][]string{
					"messaging.system":              {"switchyard"},
					"messaging.destination.name":    {"order", "shipment", "a"},
					"messaging.operation.name":      {"send", "process"},
					"messaging.operation.type":      {"send", "process"},
					"messaging.consumer.group.name": {"fulfilment"},
					"error.type":                    {"conflict", "panic", "_OTHER"},
				}[kv.Key], kv.Value.AsString(), "%s: %s", name, kv.Key)
			}
		}
	}
	var names []string
	for name := range collected {
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{
		"messaging.client.operation.duration", "messaging.client.sent.messages", "messaging.client.consumed.messages", "messaging.process.duration",
		"switchyard.transact.attempts", "switchyard.transact.conflicts", "switchyard.subscription.lag",
	}, names)
	kinds := make(map[string]int)
	for _, span := range s.spans.GetSpans() {
		if span.Status.Code == codes.Error {
			kind, _ := of(span)["error.type"].(string)
			kinds[span.Name+": "+kind]++
			require.NotEmpty(t, span.Status.Description)
			if span.SpanKind != trace.SpanKindConsumer {
				require.NotContains(t, of(span), "switchyard.version", "%s stored nothing", span.Name)
			}
		} else {
			require.NotContains(t, of(span), "error.type")
		}
	}
	require.Equal(t, map[string]int{"transact order: conflict": 1, "send order: conflict": 1, "process order: _OTHER": 1, "process order: panic": 1}, kinds, "a refusal is none")
}

// points are the attributes of each metric's points, by its name.
func (s *shop) points(t *testing.T) map[string][]attribute.Set {
	t.Helper()
	all := make(map[string][]attribute.Set)
	for name, data := range s.collect(t) {
		switch data := data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				all[name] = append(all[name], p.Attributes)
			}
		case metricdata.Histogram[int64]:
			for _, p := range data.DataPoints {
				all[name] = append(all[name], p.Attributes)
			}
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				all[name] = append(all[name], p.Attributes)
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				all[name] = append(all[name], p.Attributes)
			}
		default:
			t.Fatalf("%s: %T", name, data)
		}
	}
	return all
}

func (s *shop) collect(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var collected metricdata.ResourceMetrics
	require.NoError(t, s.meters.Collect(t.Context(), &collected))
	all := make(map[string]metricdata.Aggregation)
	for _, scope := range collected.ScopeMetrics {
		require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", scope.Scope.SchemaURL)
		for _, m := range scope.Metrics {
			all[m.Name] = m.Data
		}
	}
	return all
}
