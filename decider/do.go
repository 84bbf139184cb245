package decider

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Command says on which stream to decide, and what else holds for the decision.
type Command struct {
	Stream string
	// ID, where not zero, makes the command count once: its events get IDs made from
	// it, the stream and their number, and a repetition is answered with the events
	// that are there. It is their causation, where the context has none. A command that
	// decided nothing leaves no trace. An ID that is used for another command on the
	// same stream is answered with the first one's events.
	ID uuid.UUID
	// Expected, where valid, is demanded of the stream, as an If-Match is; then a
	// conflict is not tried again.
	Expected eventstore.ExpectedVersion
}

// Result says what came of a command.
type Result[S any] struct {
	// State is the one after the events; of a repetition, the one now.
	State S
	// Version is the stream's, in that state.
	Version uint64
	// Events are the command's; none where nothing was decided.
	Events []eventstore.RecordedEvent
	// Position is that of the last of Events, to wait for in a read model; zero where
	// there are none.
	Position eventstore.Position
	// Duplicate is true where the events were there already: of an earlier call, or of
	// an attempt of this one whose answer was lost.
	Duplicate bool
	// Attempts counts the decisions that were made; 0 where a repetition was met before.
	Attempts int
}

// Transact is [Decider.Do] with a stream only.
func (d *Decider[S, E]) Transact(ctx context.Context, stream string, decide func(S) ([]E, error)) (Result[S], error) {
	return d.Do(ctx, Command{Stream: stream}, decide)
}

// Do decides on a stream and appends what was decided. decide is pure: it may be called
// again, with a newer state, and takes time and randomness from its command. Where it
// returns no events nothing is appended.
//
// Errors: decide's own, as it is; ErrConflict after Retry.Attempts decisions, or where
// the stream does not meet Expected; ErrUnknownEvent and what else keeps an event from
// being decoded; ErrInvalid for events that the codec does not know, too many or too
// large ones; ErrEventIDReused where the command's events were stored and are not there
// any more; ErrSealed, ErrUnavailable, ErrClosed and the context's error. After all of
// these nothing was written. An [eventstore.UnknownOutcomeError] carries the events, which
// may be stored: a command with an ID is done again, one without is settled by appending
// those events again. Do never decides again after it, which could count twice.
func (d *Decider[S, E]) Do(ctx context.Context, cmd Command, decide func(S) ([]E, error)) (Result[S], error) {
	if decide == nil {
		return Result[S]{}, invalid("decide", "it is nil; give the function that decides")
	}
	t := &transaction[S, E]{folding: d.folding(cmd.Stream), cmd: cmd, decide: decide}
	t.lookFor(cmd.ID)
	if d.tracer == nil {
		return t.inTurn(ctx)
	}
	ctx = d.tracer.TransactStart(ctx, TransactStart{Stream: cmd.Stream, Category: eventstore.Category(cmd.Stream), Command: cmd.ID})
	var res Result[S]
	var err error
	defer func() {
		d.tracer.TransactEnd(ctx, TransactEnd{
			Version: res.Version, Events: len(res.Events), Duplicate: res.Duplicate,
			Attempts: t.attempts, Conflicts: t.conflicts, Folded: t.folded, Err: err, Refused: t.refused,
		})
	}()
	res, err = t.inTurn(ctx)
	return res, err
}

// transaction is one call of Do.
type transaction[S, E any] struct {
	folding[S, E]
	cmd                 Command
	decide              func(S) ([]E, error)
	attempts, conflicts int
	refused             bool // decide's own error is the answer
}

// inTurn runs the transaction when it is its turn, and remembers the state that it
// leaves: one that was read, or whose events are stored.
func (t *transaction[S, E]) inTurn(ctx context.Context) (Result[S], error) {
	if t.d.turns.take(ctx, t.stream) {
		defer t.d.turns.leave(t.stream)
	}
	res, err := t.run(ctx)
	if t.fresh {
		t.d.cache.put(t.stream, t.state, t.version)
	}
	return res, err
}

func (t *transaction[S, E]) run(ctx context.Context) (Result[S], error) {
	cached := t.begin(ctx)
	if !cached || t.cmd.Expected.Valid() {
		if err := t.catchUp(ctx); err != nil {
			return Result[S]{}, err
		}
	}
	for {
		if len(t.met) > 0 {
			return t.answer(t.met, true), nil
		}
		if err := t.expect(ctx); err != nil || len(t.met) > 0 {
			return t.repetitionOr(err)
		}
		t.attempts++
		events, refusal := t.decide(t.state)
		switch decided := refusal == nil && len(events) > 0; {
		case decided:
			res, done, err := t.append(ctx, events)
			if done || err != nil {
				return res, err
			}
		case t.fresh:
			if err := t.search(ctx); err != nil {
				return Result[S]{}, err
			}
			if refusal == nil && len(t.met) == 0 {
				return t.answer(nil, false), nil
			}
			t.refused = len(t.met) == 0
			return t.repetitionOr(refusal)
		default: // the answer must be true now
			if err := t.catchUp(ctx); err != nil {
				return Result[S]{}, err
			}
		}
	}
}

// expect holds the stream to what the command demands of it. A command that is done
// already has met the demand when it was.
func (t *transaction[S, E]) expect(ctx context.Context) error {
	if !t.cmd.Expected.Valid() || t.cmd.Expected.Allows(t.version) {
		return nil
	}
	if err := t.search(ctx); err != nil {
		return err
	}
	return t.failed(&eventstore.ConflictError{Stream: t.stream, Expected: t.cmd.Expected, Actual: t.version})
}

func (t *transaction[S, E]) failed(err error) error {
	return &eventstore.OpError{Op: "decide on stream", Subject: t.stream, Err: err}
}

// repetitionOr answers with the command's events where they were met, and otherwise with
// an error.
func (t *transaction[S, E]) repetitionOr(err error) (Result[S], error) {
	if len(t.met) > 0 {
		return t.answer(t.met, true), nil
	}
	return Result[S]{}, err
}

func (t *transaction[S, E]) answer(events []eventstore.RecordedEvent, duplicate bool) Result[S] {
	res := Result[S]{State: t.state, Version: t.version, Events: events, Duplicate: duplicate, Attempts: t.attempts}
	if n := len(events); n > 0 {
		res.Position = events[n-1].Position
	}
	return res
}

// append appends what was decided on the state. It is not done where somebody was
// faster and the newer state is to be decided on.
func (t *transaction[S, E]) append(ctx context.Context, events []E) (res Result[S], done bool, err error) {
	encoded, err := t.d.encode(ctx, t.cmd.ID, t.stream, events)
	if err != nil {
		return res, true, t.failed(err)
	}
	result, err := t.d.store.Append(ctx, t.stream, eventstore.Exactly(t.version), encoded...)
	switch {
	case err == nil && (!result.Duplicate || t.cmd.ID == uuid.Nil):
		return t.stored(ctx, events, result), true, nil
	case err == nil, t.cmd.ID != uuid.Nil && errors.Is(err, eventstore.ErrEventIDReused):
		res, err = t.repetition(ctx, result.Events, err)
		return res, true, err
	case errors.Is(err, eventstore.ErrConflict):
		return res, false, t.overtaken(ctx, err)
	}
	return res, true, err
}

// stored takes in that the events are in the store.
func (t *transaction[S, E]) stored(ctx context.Context, events []E, result eventstore.AppendResult) Result[S] {
	before := t.version
	t.state, t.version, t.fresh = t.d.Fold(t.state, events...), result.Version, true
	t.d.snapshotWhenDue(ctx, t.stream, t.state, before, t.version)
	return t.answer(result.Events, result.Duplicate)
}

// repetition answers where the store knows the command's events, with the state now: the
// store said so by an error, or told the ones that are decided again, of which there may
// have been more.
func (t *transaction[S, E]) repetition(ctx context.Context, known []eventstore.RecordedEvent, err error) (Result[S], error) {
	if err := t.catchUp(ctx); err != nil {
		return Result[S]{}, err
	}
	if err := t.search(ctx); err != nil {
		return Result[S]{}, err
	}
	if len(t.met) == 0 { // the stream's owner has cut them off
		t.met = known
	}
	return t.repetitionOr(err)
}

// overtaken reads what others appended meanwhile. It returns an error where the decision
// is not to be made again.
func (t *transaction[S, E]) overtaken(ctx context.Context, err error) error {
	t.conflicts++
	var conflict *eventstore.ConflictError
	if errors.As(err, &conflict) && conflict.Actual < t.version {
		t.d.logger.WarnContext(ctx, "a stream has lost events that were there; it is folded anew", "stream", t.stream, "remembered", t.version, "version", conflict.Actual)
		t.forget()
	}
	last := t.cmd.Expected.Valid() || t.attempts >= t.d.retry.Attempts
	switch {
	case last && t.cmd.ID == uuid.Nil:
		return t.lost(err)
	case !last && t.fresh: // a remembered state was old: that is no sign of a crowd
		if waited := t.d.retry.wait(ctx, t.conflicts); waited != nil {
			return t.failed(fmt.Errorf("%w, while it waited after: %v", waited, err)) //nolint:errorlint // it is the context's failure, and no conflict to its caller
		}
	}
	if err := t.catchUp(ctx); err != nil {
		return err
	}
	if last && len(t.met) == 0 {
		return t.lost(err)
	}
	return nil
}

// lost is the error of a decision that somebody else was faster than.
func (t *transaction[S, E]) lost(err error) error {
	if t.attempts == 1 {
		return err
	}
	return t.failed(fmt.Errorf("overtaken %d times: %w", t.conflicts, err))
}

// wait pauses after the n-th conflict.
func (r Retry) wait(ctx context.Context, n int) error {
	timer := time.NewTimer(rand.N(r.longest(n))) //nolint:gosec // not a secret: it only spreads callers out
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// longest bounds the n-th wait.
func (r Retry) longest(n int) time.Duration {
	pause := min(r.Pause, r.MaxPause)
	for range n - 1 {
		pause += min(pause, r.MaxPause-pause)
	}
	return pause
}

// encode makes stored events of what was decided on a stream. Those of a command with an
// ID have IDs made from it, and it as their cause where the context has none.
func (d *Decider[S, E]) encode(ctx context.Context, command uuid.UUID, stream string, events []E) ([]eventstore.Event, error) {
	encoded := make([]eventstore.Event, len(events))
	for i, event := range events {
		var id uuid.UUID
		if command != uuid.Nil {
			id = eventID(command, stream, i+1)
		}
		stored, err := d.codec.Encode(ctx, id, event)
		if err != nil {
			return nil, err
		}
		if _, caused := stored.Metadata[eventstore.MetaCausationID]; command != uuid.Nil && !caused {
			stored = stored.WithMetadata(eventstore.MetaCausationID, command.String())
		}
		encoded[i] = stored
	}
	return encoded, nil
}
