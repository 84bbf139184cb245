package decider

import (
	"context"
	"runtime/debug"

	"github.com/google/uuid"
)

// Tracer hears of decisions; see [Options].Tracer. Its methods run in the goroutine of
// the call, at the same time for different calls, and must not change what they are
// given.
type Tracer interface {
	// TransactStart is called before anything else is done. What it returns is the
	// context of the whole transaction: of its reads, its append and its events. A panic
	// of it is the call's.
	TransactStart(ctx context.Context, start TransactStart) context.Context
	// TransactEnd is called once for each TransactStart, with the context that it
	// returned. The events may be stored by then: a panic of it goes to [Options].Logger,
	// and the call has its answer all the same.
	TransactEnd(ctx context.Context, end TransactEnd)
}

// TransactStart says which decision begins.
type TransactStart struct {
	// Stream is the one decided on, and Category its category.
	Stream, Category string
	// Command is the command's ID; zero where it has none.
	Command uuid.UUID
}

// TransactEnd says what came of a decision.
type TransactEnd struct {
	// Version is the stream's afterwards, and of a refusal the one that it was decided on;
	// zero with other errors.
	Version uint64
	// Events counts the command's, and Duplicate is true where they were there already.
	Events    int
	Duplicate bool
	// Attempts counts all decisions made, and Conflicts the appends that came too late.
	Attempts, Conflicts int
	// Folded counts the events that were read and folded.
	Folded int
	// Err is what was returned, and Refused is true where that is decide's own error. Err
	// is nil where decide panicked.
	Err     error
	Refused bool
}

func (d *Decider[S, E]) traceEnd(ctx context.Context, end TransactEnd) {
	defer func() {
		if value := recover(); value != nil {
			d.logger.ErrorContext(ctx, "the tracer panicked", "panic", value, "stack", string(debug.Stack()))
		}
	}()
	d.tracer.TransactEnd(ctx, end)
}
