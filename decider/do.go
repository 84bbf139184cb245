package decider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Command says on which stream to decide, and what else holds for the decision.
type Command struct {
	Stream string
	// ID, where not zero, makes the command count once: its events get IDs made from
	// it, the stream and their number, and a repetition is answered with the events
	// that are there. It is their causation and their correlation, where the context has
	// none: one command is one conversation. A store without metadata keeps neither. A
	// command that decided nothing leaves no trace. An ID that is used for another
	// command on the same stream is answered with the first one's events.
	//
	// A refusal with an ID has its price where the state came from the cache or a
	// snapshot: the events before are read too, once, because the command's own may be
	// among them, and then it was not refused.
	ID uuid.UUID
	// Expected, where valid, is demanded of the stream, as an If-Match is; then a
	// conflict is not tried again.
	Expected eventstore.ExpectedVersion
}

// Result says what came of a command.
type Result[S any] struct {
	// State is the one after the events; of a repetition, the one now; of a refusal, the
	// one that was refused on. What it points to is shared with other calls: the caller
	// does not change it.
	State S
	// Version is the stream's, in that state: with an error of decide too, for an ETag.
	Version uint64
	// Events are the command's; none where nothing was decided.
	Events []eventstore.RecordedEvent
	// Position is that of the last of Events, to wait for in a read model; zero where
	// there are none.
	Position eventstore.Position
	// Duplicate is true where the events were there already: of an earlier call, or of
	// an attempt of this one whose answer was lost.
	Duplicate bool
	// Attempts counts all decisions that were made; 0 where a repetition was met before.
	Attempts int
}

// Transact is [Decider.Do] with a stream only.
func (d *Decider[S, E]) Transact(ctx context.Context, stream string, decide func(S) ([]E, error)) (Result[S], error) {
	return d.Do(ctx, Command{Stream: stream}, decide)
}

// Do decides on a stream and appends what was decided. decide is pure: it may be called
// again, with a newer state, and takes time and randomness from its command. It does not
// change what the state points to. Where it returns no events, or an error, nothing is
// appended.
//
// Decisions of one Decider on one stream take turns: each waits for those before it, but at
// most 100 ms and a quarter of the time that ctx leaves, and then goes on without its turn.
//
// Errors: decide's own, as it is, with the State and Version of the Result that it was
// decided on; ErrConflict after Retry.Attempts decisions, or where the stream does not
// meet Expected; ErrUnknownEvent and what else keeps an event from being decoded;
// ErrInvalid for events that the codec does not know, too many or too large ones;
// ErrEventIDReused where the command's events were stored and are not there any more;
// ErrSealed, ErrUnavailable, ErrClosed and the context's error. After all of these this
// call has written nothing.
//
// An [eventstore.UnknownOutcomeError] carries the events, which may be stored, or are and
// could not be read: a command with an ID is done again, one without is settled by
// appending those events again. Do never decides again after it, which could count twice.
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
		d.traceEnd(ctx, TransactEnd{
			Version: res.Version, Events: len(res.Events), Duplicate: res.Duplicate,
			Attempts: t.attempts, Conflicts: t.conflicts, Folded: t.folded, Err: err, Refused: t.refusal != nil,
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
	counted             int   // the attempts on a state that was read
	stored              bool  // the events that were met are stored by this call
	refusal             error // decide's own, which is the answer
}

// inTurn runs the transaction when it is its turn, and remembers the state that it
// leaves: one that was read, or whose events are stored.
func (t *transaction[S, E]) inTurn(ctx context.Context) (Result[S], error) {
	if t.d.turns.take(ctx, t.stream, patience(ctx)) {
		defer t.d.turns.leave(t.stream)
	}
	res, err := t.run(ctx)
	if t.fresh {
		t.remember()
	}
	return res, err
}

func (t *transaction[S, E]) run(ctx context.Context) (Result[S], error) {
	if cached := t.begin(ctx); !cached || t.cmd.Expected.Valid() {
		if err := t.catchUp(ctx); err != nil {
			return Result[S]{}, err
		}
	}
	for done := false; !done && len(t.met) == 0; {
		var err error
		if done, err = t.attempt(ctx); err != nil {
			return Result[S]{}, err
		}
	}
	res := Result[S]{
		State: t.state, Version: t.version, Attempts: t.attempts,
		Events: t.met, Duplicate: len(t.met) > 0 && !t.stored,
	}
	if n := len(t.met); n > 0 {
		res.Position = t.met[n-1].Position
	}
	return res, t.refusal
}

// attempt decides once. It is not done where the decision is to be made again, on a newer
// state.
func (t *transaction[S, E]) attempt(ctx context.Context) (done bool, _ error) {
	if err := t.expect(ctx); err != nil || len(t.met) > 0 {
		return true, err
	}
	t.attempts++
	if t.fresh {
		t.counted++
	}
	events, refusal := t.decide(t.state)
	switch {
	case refusal == nil && len(events) > 0:
		return t.append(ctx, events)
	case !t.fresh: // the answer must be true now
		return false, t.catchUp(ctx)
	}
	if err := t.search(ctx); err != nil || len(t.met) > 0 {
		return true, err
	}
	t.refusal = refusal
	return true, nil
}

// expect holds the stream to what the command demands of it. A command that is done
// already has met the demand when it was.
func (t *transaction[S, E]) expect(ctx context.Context) error {
	if !t.cmd.Expected.Valid() || t.cmd.Expected.Allows(t.version) {
		return nil
	}
	if err := t.search(ctx); err != nil || len(t.met) > 0 {
		return err
	}
	return t.failed(&eventstore.ConflictError{Stream: t.stream, Expected: t.cmd.Expected, Actual: t.version})
}

func (t *transaction[S, E]) failed(err error) error {
	return &eventstore.OpError{Op: "decide on stream", Subject: t.stream, Err: err}
}

// append appends what was decided on the state.
func (t *transaction[S, E]) append(ctx context.Context, events []E) (done bool, _ error) {
	encoded, err := t.d.encode(ctx, t.cmd.ID, t.stream, events)
	if err != nil {
		return false, t.impossible(ctx, t.failed(err))
	}
	part := eventstore.StreamAppend{Stream: t.stream, Expected: eventstore.Exactly(t.version), Events: encoded}
	result, err := t.d.store.Append(ctx, part.Stream, part.Expected, part.Events...)
	switch {
	case err == nil && (!result.Duplicate || t.cmd.ID == uuid.Nil):
		t.met, t.stored = result.Events, !result.Duplicate
		t.fresh = t.appended(ctx, events, result)
		return true, nil
	case err == nil, t.cmd.ID != uuid.Nil && errors.Is(err, eventstore.ErrEventIDReused):
		return true, t.repetition(ctx, part, result.Events, err)
	case errors.Is(err, eventstore.ErrConflict):
		return false, t.overtaken(ctx, part, err)
	case errors.Is(err, eventstore.ErrInvalid):
		return false, t.impossible(ctx, err)
	}
	return true, err
}

// impossible is the answer to a decision that cannot be appended whatever the store holds.
// One on an old state is made again: the answer must be true now.
func (t *transaction[S, E]) impossible(ctx context.Context, err error) error {
	if t.fresh {
		return err
	}
	return t.catchUp(ctx)
}

// repetition reads the events of a command that the store knows, and the state now: the
// store said so by an error, or told the ones that are decided again, of which there may
// have been more.
func (t *transaction[S, E]) repetition(ctx context.Context, part eventstore.StreamAppend, known []eventstore.RecordedEvent, err error) error {
	failure := t.catchUp(ctx)
	if failure == nil {
		failure = t.search(ctx)
	}
	switch {
	case failure != nil:
		return t.inDoubt(part, failure)
	case len(t.met) > 0:
		return nil
	}
	t.met = known // the stream's owner has cut them off
	return err
}

// inDoubt is the error of a command whose events are in the store, as far as is known, and
// could not be read. Every other error would say that nothing was written.
func (t *transaction[S, E]) inDoubt(part eventstore.StreamAppend, err error) error {
	return t.failed(&eventstore.UnknownOutcomeError{Parts: []eventstore.StreamAppend{part}, Err: err})
}

// overtaken reads what others appended meanwhile. It returns an error where the decision
// is not to be made again. A remembered state that was old costs neither an attempt nor a
// pause: that is no sign of a crowd.
func (t *transaction[S, E]) overtaken(ctx context.Context, part eventstore.StreamAppend, err error) error {
	t.conflicts++
	crowd := t.fresh
	last := t.cmd.Expected.Valid() || crowd && t.counted >= t.d.retry.Attempts
	if crowd && !last {
		if waited := t.d.retry.wait(ctx, t.conflicts); waited != nil {
			return t.failed(fmt.Errorf("%w, while it waited after: %v", waited, err)) //nolint:errorlint // it is the context's failure, and no conflict to its caller
		}
	}
	var conflict *eventstore.ConflictError
	if errors.As(err, &conflict) && conflict.Actual < t.version {
		t.lost(ctx)
	}
	// After the last one too: the command's own events may be there, and the cache gets
	// a state that is new.
	switch failure := t.catchUp(ctx); {
	case failure != nil && len(t.met) > 0:
		return t.inDoubt(part, failure)
	case failure != nil && !last:
		return failure
	case last && len(t.met) == 0:
		return t.tooLate(err)
	}
	return nil
}

// tooLate is the error of a decision that somebody else was faster than.
func (t *transaction[S, E]) tooLate(err error) error {
	if t.attempts == 1 {
		return err
	}
	return t.failed(fmt.Errorf("overtaken %d times: %w", t.conflicts, err))
}

// wait pauses after the n-th conflict.
func (r Retry) wait(ctx context.Context, n int) error {
	return sleep.For(ctx, rand.N(r.longest(n))) //nolint:gosec // not a secret: it only spreads callers out
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
// ID have IDs made from it.
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
		switch {
		case !d.metadata:
			stored.Metadata = withoutCause(stored.Metadata)
		case command != uuid.Nil:
			stored.Metadata = causedBy(stored.Metadata, command)
		}
		encoded[i] = stored
	}
	return encoded, nil
}

// causedBy makes a command the cause of an event, and the beginning of its conversation,
// where it has none. An empty one, as of a header that was not sent, is none.
func causedBy(metadata map[string]string, command uuid.UUID) map[string]string {
	id := command.String()
	all := map[string]string{eventstore.MetaCausationID: id, eventstore.MetaCorrelationID: id}
	for key, value := range metadata {
		if all[key] == "" || value != "" {
			all[key] = value
		}
	}
	return all
}

// withoutCause leaves out what the layer itself adds, for a store without metadata:
// decisions run everywhere. What else there is the store refuses.
func withoutCause(metadata map[string]string) map[string]string {
	rest := maps.Clone(metadata)
	delete(rest, eventstore.MetaCausationID)
	delete(rest, eventstore.MetaCorrelationID)
	return rest
}
