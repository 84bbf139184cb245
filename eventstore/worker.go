package eventstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/google/uuid"
)

// worker brings the events of one subscription to their end.
type worker struct {
	store    *Store
	sub      Subscription
	held     *heldLease
	progress *progress
	retrying bool // a parked event is being handled, before all others

	finishedBefore map[uuid.UUID]bool // parked after the checkpoint by a Run before; by linkID

	mu     sync.Mutex
	parked *parkLog // nil until an event is parked that was parked before
}

// insist is patiently for a call that only succeeds or fails.
func (w *worker) insist(ctx context.Context, call func() error) error {
	_, err := patiently(ctx, w.store, w.sub.Name, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// all handles what arrives. It returns nil at the head, where the subscription
// asks for that, and otherwise why it ended.
func (w *worker) all(ctx context.Context, box *inbox) error {
	if w.sub.Concurrency > 1 {
		return w.byStream(ctx, box)
	}
	for {
		messages, err := box.take(ctx)
		if err != nil {
			return err
		}
		messages, caughtUp := w.untilCaughtUp(messages)
		if w.sub.HandleBatch != nil {
			err = w.batch(ctx, messages)
		} else {
			err = w.oneByOne(ctx, messages)
		}
		if err != nil || caughtUp {
			return err
		}
	}
}

// untilCaughtUp cuts off what follows the head, where the subscription ends there.
func (w *worker) untilCaughtUp(messages []Message) ([]Message, bool) {
	for i, m := range messages {
		if w.sub.UntilCaughtUp && m.Kind == MessageCaughtUp {
			return messages[:i+1], true
		}
	}
	return messages, false
}

func (w *worker) oneByOne(ctx context.Context, messages []Message) error {
	for _, m := range messages {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		events := w.events([]Message{m})
		if len(events) > 0 {
			if err := w.settle(ctx, events[0]); err != nil {
				return err
			}
		}
		w.finished(m.Place, len(events))
	}
	return nil
}

// finished notes that everything up to a place is finished, events of it now. Of
// events that HandleBatch was given together, or alone, the checkpoint is due. One that
// HandleBatch has saved is not saved again.
func (w *worker) finished(to Place, events int) {
	w.progress.advance(to, events)
	if w.sub.HandleBatch != nil && events > 0 {
		w.progress.due()
	}
}

// batch handles messages together, and where that fails one by one.
func (w *worker) batch(ctx context.Context, messages []Message) error {
	last := messages[len(messages)-1].Place
	events := w.events(messages)
	if len(events) > 1 {
		err := w.patient(ctx, events, 1, func(ctx context.Context) error {
			return w.saving(ctx, Batch{Events: events, Checkpoint: w.progress.checkpointAt(last), Stored: w.progress.known()})
		})
		if ends(ctx, err) {
			return w.ending(ctx, events[0], 1, err)
		}
		if err != nil {
			w.store.logger.WarnContext(ctx, "batch failed; its events are handled one by one", "subscription", w.sub.Name, "events", len(events), "error", err)
			return w.oneByOne(ctx, messages)
		}
	} else if len(events) == 1 {
		return w.oneByOne(ctx, messages)
	}
	w.finished(last, len(events))
	return nil
}

// saving calls HandleBatch, and notes what it has saved.
func (w *worker) saving(ctx context.Context, batch Batch) error {
	err := w.sub.HandleBatch(ctx, batch)
	if err == nil && w.sub.BatchSaves {
		w.progress.keep(batch.Checkpoint)
	}
	return err
}

// events are those of the messages that are to be handled.
func (w *worker) events(messages []Message) []RecordedEvent {
	var events []RecordedEvent
	for _, m := range messages {
		if m.Kind == MessageEvent && (w.sub.ParkStream == "" || m.Event.Stream != w.sub.ParkStream) && !w.parkedBefore(m.Event) {
			events = append(events, m.Event)
		}
	}
	return events
}

// settle brings one event to an end: handled, parked, or an error.
func (w *worker) settle(ctx context.Context, event RecordedEvent) error {
	failure, err := w.try(ctx, event, func(ctx context.Context) error {
		return w.saving(ctx, Batch{Events: []RecordedEvent{event}, Checkpoint: w.progress.checkpointAt(event.Place()), Stored: w.progress.known()})
	})
	switch {
	case err != nil || failure == nil:
		return err
	case w.sub.ParkStream == "":
		return failure
	}
	return w.park(ctx, failure)
}

// try calls the handler with an event, as often as Retry says. failure is set where
// that was in vain, and err where the subscription ends. batch calls HandleBatch, where
// there is that one.
func (w *worker) try(ctx context.Context, event RecordedEvent, batch func(context.Context) error) (failure *HandlerError, err error) {
	handle := batch
	if w.sub.HandleBatch == nil {
		handle = func(ctx context.Context) error { return w.sub.Handler(ctx, event) }
	}
	pause := w.sub.Retry.Pause
	for attempt := 1; ; attempt++ {
		err := w.patient(ctx, []RecordedEvent{event}, attempt, handle)
		switch {
		case err == nil:
			return nil, nil
		case ends(ctx, err):
			return nil, w.ending(ctx, event, attempt, err)
		}
		w.store.logger.WarnContext(ctx, "handler failed", "subscription", w.sub.Name, "event", event.ID, "position", event.Position, "attempt", attempt, "error", err)
		if attempt >= w.sub.Retry.Attempts {
			return w.failure(event, attempt, err), nil
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, ended(ctx)
		}
		pause = min(2*pause, w.sub.Retry.MaxPause)
	}
}

func (w *worker) failure(event RecordedEvent, attempts int, err error) *HandlerError {
	return &HandlerError{
		Subscription: w.sub.Name, Stream: event.Stream, EventID: event.ID,
		Version: event.Version, Position: event.Position, Attempts: attempts, Err: err,
	}
}

// ends tells whether a handler's error ends the subscription at once: it was told
// to stop, its lease is over, or the store takes no more appends.
func ends(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrSealed))
}

// ending is why the subscription ends with such an error. A handler that was told
// to stop has not failed.
func (w *worker) ending(ctx context.Context, event RecordedEvent, attempts int, err error) error {
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, ErrLeaseLost):
		return err
	}
	return w.failure(event, attempts, err)
}

// patient calls a handler, and calls it again while what it needs is unavailable.
func (w *worker) patient(ctx context.Context, events []RecordedEvent, attempt int, handle func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := w.call(ctx, events, attempt, handle)
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		w.store.logger.WarnContext(ctx, "handler waits for what it needs", "subscription", w.sub.Name, "event", events[0].ID, "error", err)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// call calls a handler and turns its panic into an error.
func (w *worker) call(ctx context.Context, events []RecordedEvent, attempt int, handle func(context.Context) error) (err error) {
	if err := w.held.check(); err != nil {
		return err
	}
	defer func() { // a tracer's panic too
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	ctx = w.store.traceStart(ctx, TraceStart{
		Operation: OperationHandle, Subscription: w.sub.Name, Stream: events[0].Stream, Events: events, Attempt: attempt, Retried: w.retrying,
	})
	err = guarded(ctx, handle)
	w.store.traceEnd(ctx, TraceEnd{Operation: OperationHandle, Events: len(events), Err: err})
	return err
}

func guarded(ctx context.Context, handle func(context.Context) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return handle(ctx)
}

// panicked is the error of what ran beside the handler.
func panicked(what string, value any) error {
	return fmt.Errorf("%s: %w", what, &PanicError{Value: value, Stack: debug.Stack()})
}

// park appends a link to the failed event, for as long as it takes: the outcome of
// an earlier attempt does not matter, since the link has an ID of its own.
func (w *worker) park(ctx context.Context, failure *HandlerError) error {
	link, err := failure.Link()
	if err != nil {
		return errors.Join(failure, err)
	}
	result, err := patiently(ctx, w.store, w.sub.Name, func() (AppendResult, error) {
		return w.store.Append(ctx, w.sub.ParkStream, Any(), link)
	})
	if result.Duplicate || errors.Is(err, ErrEventIDReused) { // parked before
		err = w.reopen(ctx, failure)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ended(ctx)
	}
	return errors.Join(failure, err)
}
