package otelswitchyard

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const scope = "github.com/switchyard-dev/switchyard/otelswitchyard"

// Options configures a [Tracer]. The zero value, like nil, means the defaults.
type Options struct {
	// TracerProvider and MeterProvider take the spans and metrics; nil means the global
	// ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Tracer is one for the options of a store and of deciders; see the package's
// documentation. It is safe for concurrent use, by several stores too.
type Tracer struct {
	tracer  trace.Tracer
	metrics metrics
	lags    lags
}

// New returns a Tracer. The error is the meter provider's.
func New(opts *Options) (*Tracer, error) {
	if opts == nil {
		opts = &Options{}
	}
	tracers, meters := opts.TracerProvider, opts.MeterProvider
	if tracers == nil {
		tracers = otel.GetTracerProvider()
	}
	if meters == nil {
		meters = otel.GetMeterProvider()
	}
	t := &Tracer{tracer: tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))}
	if err := t.metrics.make(meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)), &t.lags); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	return t, nil
}

// Metadata adds the trace of ctx to an event's metadata, as the keys traceparent and
// tracestate of W3C Trace Context: for codec.Options. Events are read years later and by
// other programs, so the form does not depend on the process's propagator; and baggage,
// which may hold anything, is never stored.
func (t *Tracer) Metadata(ctx context.Context, set func(key, value string)) {
	propagation.TraceContext{}.Inject(ctx, carrier(set))
}

// carrier is metadata that is written.
type carrier func(key, value string)

func (c carrier) Set(key, value string) { c(key, value) }
func (carrier) Get(string) string       { return "" }
func (carrier) Keys() []string          { return nil }

// linkTo returns a link to the trace in which an event was encoded.
func linkTo(event eventstore.RecordedEvent) (trace.Link, bool) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(event.Metadata))
	at := trace.SpanContextFromContext(ctx)
	return trace.Link{SpanContext: at}, at.IsValid()
}
