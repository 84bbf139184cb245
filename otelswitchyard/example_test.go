package otelswitchyard_test

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/otelswitchyard"
)

func Example() {
	ctx := context.Background()
	exporter := tracetest.NewInMemoryExporter() // an application has one that sends spans away
	tracer, err := otelswitchyard.New(&otelswitchyard.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))})
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := eventstore.New(memory.New(), &eventstore.Options{Tracer: tracer})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	events := codec.Must(codec.New[Paid](&codec.Options{Metadata: tracer.Metadata}, codec.Of[Paid]("OrderPaid")))
	orders, err := decider.New(store, events, func(sum int64, e Paid) int64 { return sum + e.Cents }, &decider.Options{Tracer: tracer})
	if err != nil {
		fmt.Println(err)
		return
	}

	if _, err := orders.Transact(ctx, "order-42", func(int64) ([]Paid, error) { return []Paid{{500}}, nil }); err != nil {
		fmt.Println(err)
		return
	}
	err = store.Run(ctx, eventstore.Subscription{
		Name: "report", UntilCaughtUp: true,
		Handler: func(context.Context, eventstore.RecordedEvent) error { return nil },
	})
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.SpanKind, span.Name, len(span.Links))
	}
	fmt.Println(err)
	// Output:
	// producer send order 0
	// internal transact order 0
	// consumer process order 1
	// <nil>
}

func ExampleNew() {
	tracer, err := otelswitchyard.New(nil) // the providers of otel.SetTracerProvider and otel.SetMeterProvider
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := eventstore.New(memory.New(), &eventstore.Options{Tracer: tracer})
	fmt.Println(store != nil, err)
	// Output: true <nil>
}

func ExampleTracer_Metadata() {
	tracer, err := otelswitchyard.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	events := codec.Must(codec.New[Paid](&codec.Options{Metadata: tracer.Metadata}, codec.Of[Paid]("OrderPaid")))
	ctx, span := sdktrace.NewTracerProvider().Tracer("http").Start(context.Background(), "POST /payments")
	defer span.End()
	event, err := events.Encode(ctx, uuid.Nil, Paid{500})
	fmt.Println(event.Metadata["traceparent"] == fmt.Sprintf("00-%s-%s-01", span.SpanContext().TraceID(), span.SpanContext().SpanID()), err)
	// Output: true <nil>
}
