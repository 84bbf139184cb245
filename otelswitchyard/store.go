package otelswitchyard

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Attributes of spans that the conventions have no name for.
const (
	streamKey    = attribute.Key("switchyard.stream")
	versionKey   = attribute.Key("switchyard.version")
	expectedKey  = attribute.Key("switchyard.expected_version")
	attemptKey   = attribute.Key("switchyard.attempt") // of a handler with an event
	attemptsKey  = attribute.Key("switchyard.attempts")
	duplicateKey = attribute.Key("switchyard.duplicate")
	conflictsKey = attribute.Key("switchyard.conflicts")
	foldedKey    = attribute.Key("switchyard.folded")
	refusedKey   = attribute.Key("switchyard.refused")
	commandKey   = attribute.Key("switchyard.command.id")
)

// operation is what a context carries from an operation's start to its end.
type operation struct {
	span     trace.Span
	began    time.Time
	labels   []attribute.KeyValue // of metrics
	messages int
	version  uint64 // that an append leaves its stream at; zero where that is not known
	handled  func() // ends what the lag is measured by
}

type operationKey struct{}

// subscribedKey is that of the function which ends a durable subscription's lag.
type subscribedKey struct{}

// start starts a span, and what its end needs. common are attributes of span and metrics
// alike, special ones of the span alone.
func (t *Tracer) start(ctx context.Context, name, category string, kind trace.SpanKind, common, special []attribute.KeyValue, links ...trace.Link) (context.Context, *operation) {
	common = append(common, semconv.MessagingSystemKey.String("switchyard"))
	if category != "" {
		name += " " + category
		common = append(common, semconv.MessagingDestinationName(category))
	}
	op := &operation{began: time.Now(), labels: common, handled: func() {}}
	ctx, op.span = t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(common...), trace.WithAttributes(special...), trace.WithLinks(links...))
	return context.WithValue(ctx, operationKey{}, op), op
}

// TraceStart implements [eventstore.Tracer].
func (t *Tracer) TraceStart(ctx context.Context, start eventstore.TraceStart) context.Context {
	switch start.Operation {
	case eventstore.OperationAppend:
		return t.startSend(ctx, start.Parts)
	case eventstore.OperationHandle:
		return t.startProcess(ctx, start)
	case eventstore.OperationSubscribe:
		if start.Subscription != "" {
			return context.WithValue(ctx, subscribedKey{}, t.lags.subscribed(start.Subscription))
		}
	case eventstore.OperationRead:
	}
	return ctx
}

// TraceEnd implements [eventstore.Tracer].
func (t *Tracer) TraceEnd(ctx context.Context, end eventstore.TraceEnd) {
	if end.Operation == eventstore.OperationSubscribe {
		if over, ok := ctx.Value(subscribedKey{}).(func()); ok {
			over()
		}
		return
	}
	if end.Operation != eventstore.OperationAppend && end.Operation != eventstore.OperationHandle {
		return // ctx may be that of an append or a handler around it
	}
	op, ok := ctx.Value(operationKey{}).(*operation)
	if !ok {
		return
	}
	if end.Operation == eventstore.OperationAppend {
		op.span.SetAttributes(attemptsKey.Int(end.Attempts), duplicateKey.Bool(end.Duplicate))
		if op.version > 0 && end.Err == nil {
			op.span.SetAttributes(versionKey.Int64(int64(op.version)))
		}
	} else {
		op.handled()
	}
	op.fail(end.Err)
	op.span.End()
	took, labels := time.Since(op.began).Seconds(), metric.WithAttributes(op.labels...)
	if end.Operation == eventstore.OperationAppend {
		t.metrics.duration.Record(ctx, took, labels)
		t.metrics.sent.Add(ctx, int64(op.messages), labels)
		return
	}
	t.metrics.processed.Record(ctx, took, labels)
	t.metrics.consumed.Add(ctx, int64(op.messages), labels)
}

func (t *Tracer) startSend(ctx context.Context, parts []eventstore.StreamAppend) context.Context {
	var streams []string
	var events []eventstore.Event
	for _, part := range parts {
		if len(part.Events) > 0 { // without, it checks a stream and sends nothing
			streams, events = append(streams, part.Stream), append(events, part.Events...)
		}
	}
	special := messages(len(events), func() eventstore.Event { return events[0] })
	var version uint64
	if len(parts) == 1 {
		expected := parts[0].Expected
		special = append(special, streamKey.String(parts[0].Stream), expectedKey.String(expected.String()))
		if exact, ok := expected.Exact(); ok {
			version = exact + uint64(len(events))
		}
	}
	common := []attribute.KeyValue{semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("send")}
	ctx, op := t.start(ctx, "send", categoryOf(streams...), trace.SpanKindProducer, common, special)
	op.messages, op.version = len(events), version
	return ctx
}

func (t *Tracer) startProcess(ctx context.Context, start eventstore.TraceStart) context.Context {
	events := start.Events
	special := append(messages(len(events), func() eventstore.Event { return events[0].Event }), attemptKey.Int(start.Attempt))
	if len(events) == 1 {
		special = append(special, streamKey.String(events[0].Stream), versionKey.Int64(int64(events[0].Version)))
	}
	var links []trace.Link
	var streams []string
	oldest := time.Now() // the database's clock may be ahead: no lag is negative
	for _, event := range events {
		if link, ok := linkTo(event); ok {
			link.Attributes = []attribute.KeyValue{semconv.MessagingMessageID(event.ID.String())}
			links = append(links, link)
		}
		streams = append(streams, event.Stream)
		if event.RecordedAt.Before(oldest) {
			oldest = event.RecordedAt
		}
	}
	common := []attribute.KeyValue{semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"), semconv.MessagingConsumerGroupName(start.Subscription)}
	ctx, op := t.start(ctx, "process", categoryOf(streams...), trace.SpanKindConsumer, common, special, links...)
	if start.Retried { // the checkpoint is beyond it, however long ago it was parked
		oldest = time.Now()
	}
	op.messages, op.handled = len(events), t.lags.begin(start.Subscription, oldest, events[len(events)-1].Position)
	return ctx
}

// messages are a span's attributes of one event, or of a batch.
func messages(n int, one func() eventstore.Event) []attribute.KeyValue {
	if n != 1 {
		return []attribute.KeyValue{semconv.MessagingBatchMessageCount(n)}
	}
	event := one()
	attributes := []attribute.KeyValue{semconv.MessagingMessageID(event.ID.String())}
	if id := event.CorrelationID(); id != "" {
		attributes = append(attributes, semconv.MessagingMessageConversationID(id))
	}
	return attributes
}

// categoryOf returns the category that streams have in common, or "". A stream whose ID
// has no '-' has none: its ID is not to be in metrics.
func categoryOf(streams ...string) string {
	common := ""
	for i, stream := range streams {
		category, _, found := strings.Cut(stream, "-")
		if !found || i > 0 && category != common {
			return ""
		}
		common = category
	}
	return common
}
