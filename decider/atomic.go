package decider

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AtomicOptions configures [Atomically]. The zero value, like nil, means the defaults.
type AtomicOptions struct {
	// ID, where not zero, makes the whole count once, as [Command].ID does. A
	// repetition is told by the streams that decide loads: it loads all of them before
	// it decides. Streams are then folded from their start, and one that gets events
	// takes two of an append's parts ([eventstore.Limits].MaxAppendParts).
	ID uuid.UUID
	// Retry says how often a decision that was overtaken is made anew.
	Retry Retry
}

// Atomically decides on several streams of one store: all events are appended, or none.
// decide loads streams with [Decider.In] and adds events with [Stream.Add]; it may be
// called again, with newer states, and has no effects of its own. A conflict on any of
// its streams decides anew, also on one that was only read: what was decided was true of
// all of them at one moment, and so is an answer without events.
//
// It returns one result for each stream that got events, in the order in which they were
// loaded; none where nothing was decided. A repetition, told by the ID, is answered with
// the results of the first call.
//
// Errors: ErrUnsupported, before decide, on a store without MultiStreamAppend; decide's
// own, as it is; and those of [Decider.Do].
func Atomically(ctx context.Context, store *eventstore.Store, opts *AtomicOptions, decide func(tx *Tx) error) ([]eventstore.AppendResult, error) {
	var o AtomicOptions
	if opts != nil {
		o = *opts
	}
	switch {
	case store == nil:
		return nil, invalid("store", "it is nil; make one with eventstore.New")
	case decide == nil:
		return nil, invalid("decide", "it is nil; give the function that decides")
	}
	if err := o.Retry.fill(); err != nil {
		return nil, err
	}
	if capability := store.Capabilities().MultiStreamAppend; !capability.Supported() {
		return nil, &eventstore.UnsupportedError{Feature: "an atomic append to several streams", Reason: capability.Reason()}
	}
	for attempt := 1; ; attempt++ {
		tx := &Tx{ctx: ctx, store: store, command: o.ID, byName: make(map[string]txStream)}
		results, err := tx.attempt(decide)
		if !tx.overtaken {
			return results, err
		}
		if attempt >= o.Retry.Attempts {
			return nil, &eventstore.OpError{Op: "decide on several streams", Err: fmt.Errorf("overtaken %d times: %w", attempt, err)}
		}
		if waited := o.Retry.wait(ctx, attempt); waited != nil {
			return nil, &eventstore.OpError{Op: "decide on several streams", Err: fmt.Errorf("%w, while it waited after: %v", waited, err)} //nolint:errorlint // it is the context's failure, and no conflict to its caller
		}
	}
}

// Tx is one decision on several streams. It belongs to the call of decide that it was
// given to, and is not safe for concurrent use.
type Tx struct {
	ctx       context.Context //nolint:containedctx // a Tx lives within one call, whose context it is
	store     *eventstore.Store
	command   uuid.UUID
	streams   []txStream
	byName    map[string]txStream
	failure   error // of loading a stream
	ended     bool
	overtaken bool // what was read had changed
}

// txStream is a Stream, whatever its types.
type txStream interface {
	at() (stream string, version uint64)
	met() []eventstore.RecordedEvent
	encode(ctx context.Context) ([]eventstore.Event, error)
	stored(ctx context.Context, result eventstore.AppendResult)
	forget()
}

// Stream is a stream within a [Tx].
type Stream[S, E any] struct {
	// State is the one after the events that were added so far.
	State S
	// Version is the stream's, without those events.
	Version uint64

	folding folding[S, E]
	added   []E
}

// In loads a stream into a Tx. Asked twice, it returns the same Stream.
//
// Errors: those of [Decider.Load], which decide returns; ErrInvalid where the Tx has
// ended, is of another store, or has the stream from another Decider.
func (d *Decider[S, E]) In(tx *Tx, stream string) (*Stream[S, E], error) {
	switch {
	case tx == nil || tx.ended:
		return nil, invalid("transaction", "it is nil or has ended; use the one that decide is given, within decide")
	case tx.store != d.store:
		return nil, invalid("transaction", "it is on another Store than the Decider; use one Store for both")
	}
	if loaded, twice := tx.byName[stream]; twice {
		same, ok := loaded.(*Stream[S, E])
		if !ok || same.folding.d != d {
			return nil, invalid("stream", "%q is in the transaction by another Decider; decide on a stream with one", stream)
		}
		return same, nil
	}
	s := &Stream[S, E]{folding: d.folding(stream)}
	if s.folding.lookFor(tx.command); tx.command == uuid.Nil {
		s.folding.begin(tx.ctx)
	}
	if err := s.folding.catchUp(tx.ctx); err != nil {
		tx.failure = err
		return nil, err
	}
	s.State, s.Version = s.folding.state, s.folding.version
	tx.streams = append(tx.streams, s)
	tx.byName[stream] = s
	return s, nil
}

// Add decides events and evolves State.
func (s *Stream[S, E]) Add(events ...E) {
	s.added = append(s.added, events...)
	s.State = s.folding.d.Fold(s.State, events...)
}

func (s *Stream[S, E]) at() (stream string, version uint64) { return s.folding.stream, s.Version }

func (s *Stream[S, E]) met() []eventstore.RecordedEvent { return s.folding.met }

func (s *Stream[S, E]) encode(ctx context.Context) ([]eventstore.Event, error) {
	return s.folding.d.encode(ctx, s.folding.command, s.folding.stream, s.added)
}

// stored remembers the state after the events. It is folded from what was loaded: State
// is the caller's to change.
func (s *Stream[S, E]) stored(ctx context.Context, result eventstore.AppendResult) {
	d, f := s.folding.d, &s.folding
	state := d.Fold(f.state, s.added...)
	d.cache.put(f.stream, state, result.Version)
	d.snapshotWhenDue(ctx, f.stream, state, f.version, result.Version)
}

func (s *Stream[S, E]) forget() { s.folding.forget() }

// attempt decides once. It sets overtaken where an error says that what was read had
// changed.
func (tx *Tx) attempt(decide func(tx *Tx) error) ([]eventstore.AppendResult, error) {
	defer func() { tx.ended = true }()
	refusal := decide(tx)
	tx.ended = true
	if tx.failure != nil {
		return nil, tx.failure
	}
	if results := tx.repetition(); results != nil {
		return results, nil
	}
	if refusal != nil {
		return nil, cmp.Or(tx.stillTrue(), refusal)
	}
	parts, written, err := tx.parts()
	if err != nil {
		return nil, &eventstore.OpError{Op: "decide on several streams", Err: err}
	}
	if len(written) == 0 {
		return nil, tx.stillTrue()
	}
	return tx.append(parts, written)
}

// repetition returns where the command's events are that were met.
func (tx *Tx) repetition() []eventstore.AppendResult {
	var results []eventstore.AppendResult
	for _, s := range tx.streams {
		if met := s.met(); len(met) > 0 {
			last := met[len(met)-1]
			results = append(results, eventstore.AppendResult{Version: last.Version, Position: last.Position, Duplicate: true, Events: met})
		}
	}
	return results
}

// stillTrue looks whether all streams are as they were loaded: then an answer without
// events was true when the last one was. Versions only grow.
func (tx *Tx) stillTrue() error {
	for _, s := range tx.streams[:max(0, len(tx.streams)-1)] {
		stream, version := s.at()
		current, err := tx.store.StreamVersion(tx.ctx, stream)
		if err != nil {
			return err
		}
		if current != version {
			tx.overtaken = true
			return &eventstore.ConflictError{Stream: stream, Expected: eventstore.Exactly(version), Actual: current}
		}
	}
	return nil
}

// parts makes the append: for each stream that it writes to, the number of its part.
//
// Every stream has a part without events that holds it to the version decided on. One
// with events has it too: a part that repeats an earlier append is passed over together
// with its expectation, while the others are written.
func (tx *Tx) parts() (parts []eventstore.StreamAppend, written map[int]txStream, err error) {
	written = make(map[int]txStream)
	for _, s := range tx.streams {
		stream, version := s.at()
		part := eventstore.StreamAppend{Stream: stream, Expected: eventstore.Exactly(version)}
		events, err := s.encode(tx.ctx)
		if err != nil {
			return nil, nil, err
		}
		if len(events) == 0 || tx.command != uuid.Nil {
			parts = append(parts, part)
		}
		if len(events) > 0 {
			written[len(parts)] = s
			part.Events = events
			parts = append(parts, part)
		}
	}
	return parts, written, nil
}

// append appends what was decided.
func (tx *Tx) append(parts []eventstore.StreamAppend, written map[int]txStream) ([]eventstore.AppendResult, error) {
	answers, err := tx.store.AppendStreams(tx.ctx, parts...)
	tx.overtaken = errors.Is(err, eventstore.ErrConflict) || tx.command != uuid.Nil && errors.Is(err, eventstore.ErrEventIDReused)
	if err != nil {
		tx.forgetLost(err)
		return nil, err
	}
	var results []eventstore.AppendResult
	for i, answer := range answers {
		s, ok := written[i]
		if !ok {
			continue
		}
		results = append(results, answer)
		if !answer.Duplicate {
			s.stored(tx.ctx, answer)
		}
	}
	return results, nil
}

// forgetLost drops what is remembered of a stream that has lost events.
func (tx *Tx) forgetLost(err error) {
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return
	}
	if s, ok := tx.byName[conflict.Stream]; ok {
		if _, version := s.at(); conflict.Actual < version {
			s.forget()
		}
	}
}
