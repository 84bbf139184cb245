package otelswitchyard

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// fail notes an error, where there is one: its text in the span, its kind in the metrics
// too.
func (op *operation) fail(err error) {
	if err == nil {
		return
	}
	kind := semconv.ErrorTypeKey.String(errorType(err))
	op.span.SetStatus(codes.Error, err.Error())
	op.span.SetAttributes(kind)
	op.labels = append(op.labels, kind)
}

// errorType is an error's kind: one of few.
func errorType(err error) string {
	for _, known := range []struct {
		err  error
		kind string
	}{
		{eventstore.ErrUnknownOutcome, "unknown_outcome"},
		{eventstore.ErrConflict, "conflict"},
		{eventstore.ErrEventIDReused, "event_id_reused"},
		{eventstore.ErrInvalid, "invalid"},
		{codec.ErrUnknownEvent, "unknown_event"},
		{eventstore.ErrUnsupported, "unsupported"},
		{eventstore.ErrSealed, "sealed"},
		{eventstore.ErrClosed, "closed"},
		{eventstore.ErrLeaseLost, "lease_lost"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
		{eventstore.ErrUnavailable, "unavailable"},
	} {
		if errors.Is(err, known.err) {
			return known.kind
		}
	}
	if panicked := (*eventstore.PanicError)(nil); errors.As(err, &panicked) {
		return "panic"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}
