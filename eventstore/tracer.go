package eventstore

import (
	"context"
	"runtime/debug"
)

// Operation is what a [Tracer] is told of.
type Operation uint8

const (
	// OperationAppend is one append with all its attempts.
	OperationAppend Operation = iota + 1
	// OperationRead is one read of a stream or of the global order, from its first
	// page until its loop ends.
	OperationRead
	// OperationSubscribe is one subscription, from its start until its loop ends.
	OperationSubscribe
	// OperationHandle is one call of a durable subscription's handler.
	OperationHandle
)

// String returns "append", "read", "subscribe" or "handle".
func (o Operation) String() string {
	switch o {
	case OperationAppend:
		return "append"
	case OperationRead:
		return "read"
	case OperationSubscribe:
		return "subscribe"
	case OperationHandle:
		return "handle"
	}
	return "unknown operation"
}

// Tracer hears of a Store's operations; see [Options].Tracer. Its methods run in
// the operation's goroutine, at the same time for different operations, and must
// not change what they are given.
type Tracer interface {
	// TraceStart is called before an operation. What it returns is the operation's
	// context: the backend's, and the handler's. A panic of it is the operation's.
	TraceStart(ctx context.Context, start TraceStart) context.Context
	// TraceEnd is called once for each TraceStart, with the context that it returned.
	// Something may be stored by then: a panic of it goes to [Options].Logger, and the
	// operation has its outcome all the same.
	TraceEnd(ctx context.Context, end TraceEnd)
}

// TraceStart says which operation begins.
type TraceStart struct {
	Operation Operation
	// Stream is the stream that is read, that of an append's first part, or that of
	// the first event handled; Category is its category. Both are empty for the
	// global order.
	Stream, Category string
	// Subscription is the name of a durable subscription whose handler is called, or
	// that subscribes: from its checkpoint until it loses its lease or its backend, or
	// Run ends. It is empty for Subscribe.
	Subscription string
	// Retried is true where the event that a handler is given was parked, and is
	// handled again out of its order; see [Store.RetryParked].
	Retried bool
	// Parts are an append's, every event with its ID and metadata.
	Parts []StreamAppend
	// Events are what a handler is given.
	Events []RecordedEvent
	// Attempt is the number of a handler's attempt with these events, from 1; a call
	// that is repeated because the world was unavailable is the same attempt.
	Attempt int
}

// TraceEnd says how an operation ended.
type TraceEnd struct {
	Operation Operation
	// Events counts what was appended, read, delivered or handled.
	Events int
	// Attempts counts the calls that an append took.
	Attempts int
	// Duplicate is true where an append's events were all stored before.
	Duplicate bool
	// Err is nil where the operation succeeded, and where its loop was left, also by
	// a panic of its body.
	Err error
}

// traceStart tells the tracer, where there is one.
func (s *Store) traceStart(ctx context.Context, start TraceStart) context.Context {
	if s.options.Tracer == nil {
		return ctx
	}
	if start.Stream != "" {
		start.Category = Category(start.Stream)
	}
	return s.options.Tracer.TraceStart(ctx, start)
}

func (s *Store) traceEnd(ctx context.Context, end TraceEnd) {
	if s.options.Tracer == nil {
		return
	}
	defer func() {
		if value := recover(); value != nil {
			s.logger.ErrorContext(ctx, "the tracer panicked", "operation", end.Operation, "panic", value, "stack", string(debug.Stack()))
		}
	}()
	s.options.Tracer.TraceEnd(ctx, end)
}
