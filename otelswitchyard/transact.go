package otelswitchyard

import (
	"context"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchyard-dev/switchyard/decider"
)

// TransactStart implements [decider.Tracer].
func (t *Tracer) TransactStart(ctx context.Context, start decider.TransactStart) context.Context {
	special := []attribute.KeyValue{streamKey.String(start.Stream)}
	if start.Command != uuid.Nil {
		special = append(special, commandKey.String(start.Command.String()))
	}
	ctx, _ = t.start(ctx, "transact", categoryOf(start.Stream), trace.SpanKindInternal, nil, special)
	return ctx
}

// TransactEnd implements [decider.Tracer]. A decision's own refusal is no failure of the
// span.
func (t *Tracer) TransactEnd(ctx context.Context, end decider.TransactEnd) {
	op, ok := ctx.Value(operationKey{}).(*operation)
	if !ok {
		return
	}
	op.span.SetAttributes(
		attemptsKey.Int(end.Attempts), conflictsKey.Int(end.Conflicts), foldedKey.Int(end.Folded),
		duplicateKey.Bool(end.Duplicate), refusedKey.Bool(end.Refused), semconv.MessagingBatchMessageCount(end.Events),
	)
	if end.Err == nil {
		op.span.SetAttributes(versionKey.Int64(int64(end.Version)))
	}
	if !end.Refused {
		op.fail(end.Err)
	}
	op.span.End()
	labels := metric.WithAttributes(op.labels...)
	t.metrics.attempts.Record(ctx, int64(end.Attempts), labels)
	t.metrics.conflicts.Add(ctx, int64(end.Conflicts), labels)
}
