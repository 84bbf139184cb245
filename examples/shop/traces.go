package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/switchyard-dev/switchyard/otelswitchyard"
)

// openTraces tells OpenTelemetry of the shop's work. A real service gives the provider
// an exporter to its collector; this one adds a line to a file for each span, where
// there is to be one.
func openTraces(name string) (*otelswitchyard.Tracer, func(), error) {
	if name == "" {
		tracer, err := otelswitchyard.New(nil)
		return tracer, func() {}, err
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	provider := trace.NewTracerProvider(trace.WithSyncer(printer{file}))
	tracer, err := otelswitchyard.New(&otelswitchyard.Options{TracerProvider: provider})
	return tracer, func() { _ = file.Close() }, err
}

// printer writes the trace and the name of each span that has ended, and the traces
// that it is linked to.
type printer struct{ out io.Writer }

func (p printer) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	for _, span := range spans {
		line := fmt.Sprintf("%s %s", span.SpanContext().TraceID(), span.Name())
		for _, link := range span.Links() {
			line += ", linked to " + link.SpanContext.TraceID().String()
		}
		if _, err := fmt.Fprintln(p.out, line); err != nil {
			return err
		}
	}
	return nil
}

func (printer) Shutdown(context.Context) error { return nil }

// traced lets a request go on with its sender's trace.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
