package decider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AtomicOptions configures [Atomically]. The zero value, like nil, means the defaults.
type AtomicOptions struct {
	// ID, where not zero, makes the whole count once, as [Command].ID does, on the streams
	// that decide loads: it loads all of them before it decides, whatever it decides. A
	// decide that loads other streams the next time, because a state has changed, is
	// another command and writes again. [Cause.Key] makes a good ID. Streams are then
	// folded from their start, and half as many can get events as the store has parts in
	// an append (32 of 64): each is held to its version by a part of its own.
	ID uuid.UUID
	// Retry says how often a decision that was overtaken is made anew. All attempts
	// count: they are on states that were read.
	Retry Retry
}

// Atomically decides on several streams of one store: all events are appended, or none.
// decide loads streams with [Decider.In] and adds events with [Stream.Add]; it may be
// called again, with newer states, and has no effects of its own. A conflict on any of
// its streams decides anew, also on one that was only read: what was decided was true of
// all of them at one moment, and so is an answer without events. Once overtaken, it waits
// for its turn on the streams that it had loaded, at most 100 ms, as [Decider.Do] does.
//
// It returns one result for each stream that got events, in the order in which they were
// loaded; none where nothing was decided. A repetition, told by the ID, is answered with
// the results of the first call.
//
// Errors: ErrUnsupported, before decide, on a store without MultiStreamAppend; decide's
// own, as it is; that of an [Decider.In] which decide passed over; and those of
// [Decider.Do].
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
	results, known, err := o.attempts(ctx, store, decide)
	if err != nil && known != nil && !errors.Is(err, eventstore.ErrEventIDReused) {
		// Every other error would say that nothing was written.
		err = severally(&eventstore.UnknownOutcomeError{Parts: known, Err: err})
	}
	return results, err
}

func severally(err error) error {
	return &eventstore.OpError{Op: "decide on several streams", Err: err}
}

// attempts decides until nobody is faster. It also returns the parts of an append of which
// the store said that it has their events already.
func (o *AtomicOptions) attempts(ctx context.Context, store *eventstore.Store, decide func(tx *Tx) error) (results []eventstore.AppendResult, known []eventstore.StreamAppend, err error) {
	var before []txStream // of the attempt before
	for attempt := 1; ; {
		tx := &Tx{ctx: ctx, store: store, command: o.ID, byName: make(map[string]txStream)}
		results, err = tx.inTurn(before, decide)
		before = tx.streams
		switch {
		case !tx.overtaken:
			return results, known, err
		case tx.known != nil && known == nil: // by this command itself: it is only to be read
			known = tx.known
			continue
		case attempt >= o.Retry.Attempts:
			return nil, known, severally(fmt.Errorf("overtaken %d times: %w", attempt, err))
		}
		if waited := o.Retry.wait(ctx, attempt); waited != nil {
			return nil, known, severally(fmt.Errorf("%w, while it waited after: %v", waited, err)) //nolint:errorlint // it is the context's failure, and no conflict to its caller
		}
		attempt++
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
	failure   error // of In
	ended     bool
	overtaken bool                      // what was read had changed
	known     []eventstore.StreamAppend // what was to be appended, where the store has the command's events
}

// txStream is a Stream, whatever its types.
type txStream interface {
	at() (stream string, version uint64)
	turns() *turns
	met() []eventstore.RecordedEvent
	encode(ctx context.Context) ([]eventstore.Event, error)
	stored(ctx context.Context, result eventstore.AppendResult)
	lost(ctx context.Context)
}

// Stream is a stream within a [Tx].
type Stream[S, E any] struct {
	// State is the one after the events that were added so far.
	State S
	// Version is the stream's, without those events. It is for reading: what is appended
	// is held to the version that was loaded.
	Version uint64

	folding folding[S, E]
	added   []E
}

// In loads a stream into a Tx. Asked twice, it returns the same Stream.
//
// Errors: those of [Decider.Load]; ErrInvalid where the Tx has ended, is of another store,
// or has the stream from another Decider. Any of them ends the transaction: decide returns
// it, and where it does not, [Atomically] does.
func (d *Decider[S, E]) In(tx *Tx, stream string) (*Stream[S, E], error) {
	if tx == nil || tx.ended {
		return nil, invalid("transaction", "it is nil or has ended; use the one that decide is given, within decide")
	}
	s, err := d.in(tx, stream)
	if err != nil {
		tx.failure = cmp.Or(tx.failure, err)
	}
	return s, err
}

func (d *Decider[S, E]) in(tx *Tx, stream string) (*Stream[S, E], error) {
	if tx.store != d.store {
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
		return nil, err
	}
	s.State, s.Version = s.folding.state, s.folding.version
	tx.streams = append(tx.streams, s)
	tx.byName[stream] = s
	return s, nil
}

// Add decides events and evolves State. It is of use until the Tx ends.
func (s *Stream[S, E]) Add(events ...E) {
	s.added = append(s.added, events...)
	s.State = s.folding.d.Fold(s.State, events...)
}

func (s *Stream[S, E]) at() (stream string, version uint64) {
	return s.folding.stream, s.folding.version
}

func (s *Stream[S, E]) turns() *turns { return &s.folding.d.turns }

func (s *Stream[S, E]) met() []eventstore.RecordedEvent { return s.folding.met }

func (s *Stream[S, E]) encode(ctx context.Context) ([]eventstore.Event, error) {
	return s.folding.d.encode(ctx, s.folding.command, s.folding.stream, s.added)
}

// stored remembers the state after the events. It is folded from what was loaded: State
// is the caller's to change.
func (s *Stream[S, E]) stored(ctx context.Context, result eventstore.AppendResult) {
	if s.folding.appended(ctx, s.added, result) {
		s.folding.remember()
	}
}

func (s *Stream[S, E]) lost(ctx context.Context) { s.folding.lost(ctx) }

// inTurn decides once, when it is its turn on the streams of the attempt before, which are
// the ones to expect. It waits for all of them together as long as Do waits for one, and
// in one order, so that two decisions do not wait for each other.
func (tx *Tx) inTurn(before []txStream, decide func(tx *Tx) error) ([]eventstore.AppendResult, error) {
	slices.SortFunc(before, func(a, b txStream) int {
		first, _ := a.at()
		second, _ := b.at()
		return cmp.Compare(first, second)
	})
	until := time.Now().Add(patience(tx.ctx))
	for _, s := range before {
		if stream, _ := s.at(); s.turns().take(tx.ctx, stream, time.Until(until)) {
			defer s.turns().leave(stream)
		}
	}
	return tx.attempt(decide)
}

// attempt decides once. It sets overtaken where an error says that what was read had
// changed.
func (tx *Tx) attempt(decide func(tx *Tx) error) ([]eventstore.AppendResult, error) {
	defer func() { tx.ended = true }()
	refusal := decide(tx)
	if tx.failure != nil {
		if errors.Is(refusal, tx.failure) { // with what decide says of it
			return nil, refusal
		}
		return nil, tx.failure
	}
	if results := tx.repetition(); results != nil {
		return results, nil
	}
	if refusal != nil {
		return nil, cmp.Or(tx.stillTrue(), refusal)
	}
	parts, err := tx.parts()
	if err != nil {
		return nil, severally(err)
	}
	if !slices.ContainsFunc(parts, writes) {
		return nil, tx.stillTrue()
	}
	return tx.append(parts)
}

func writes(part eventstore.StreamAppend) bool { return len(part.Events) > 0 }

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

// parts makes the append.
//
// Every stream has a part without events that holds it to the version decided on. With an
// ID one with events has it too: a part that repeats an earlier append is passed over
// together with its expectation, while the others are written.
func (tx *Tx) parts() ([]eventstore.StreamAppend, error) {
	var parts []eventstore.StreamAppend
	written := 0
	for _, s := range tx.streams {
		stream, version := s.at()
		part := eventstore.StreamAppend{Stream: stream, Expected: eventstore.Exactly(version)}
		events, err := s.encode(tx.ctx)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 || tx.command != uuid.Nil {
			parts = append(parts, part)
		}
		if len(events) > 0 {
			written++
			part.Events = events
			parts = append(parts, part)
		}
	}
	if limit := tx.store.Limits().MaxAppendParts; written > 0 && len(parts) > limit {
		return nil, invalid("transaction", "it loaded %d streams, and %d of them get events: %d parts of an append, limit %d (with an ID each of these takes two); load fewer, or decide in several transactions",
			len(tx.streams), written, len(parts), limit)
	}
	return parts, nil
}

var errNotFound = errors.New("the store has the command's events, and a read does not find them")

// append appends what was decided.
func (tx *Tx) append(parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	answers, err := tx.store.AppendStreams(tx.ctx, parts...)
	if tx.command != uuid.Nil && repeats(answers, err) {
		// The first call may have decided more than this one: its events are read.
		tx.overtaken, tx.known = true, parts
		return nil, cmp.Or(err, errNotFound)
	}
	if err != nil {
		tx.overtaken = errors.Is(err, eventstore.ErrConflict)
		tx.dropLost(err)
		return nil, err
	}
	var results []eventstore.AppendResult
	for i, answer := range answers {
		if !writes(parts[i]) {
			continue
		}
		results = append(results, answer)
		tx.byName[parts[i].Stream].stored(tx.ctx, answer)
	}
	return results, nil
}

// repeats tells whether the store has events of an append already.
func repeats(answers []eventstore.AppendResult, err error) bool {
	return errors.Is(err, eventstore.ErrEventIDReused) ||
		slices.ContainsFunc(answers, func(a eventstore.AppendResult) bool { return a.Duplicate && len(a.Events) > 0 })
}

// dropLost drops what is remembered of a stream that has lost events.
func (tx *Tx) dropLost(err error) {
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return
	}
	if s, ok := tx.byName[conflict.Stream]; ok {
		if _, version := s.at(); conflict.Actual < version {
			s.lost(tx.ctx)
		}
	}
}
