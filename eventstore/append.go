package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// StreamAppend is the part of an append that goes to one stream.
type StreamAppend struct {
	Stream   string
	Expected ExpectedVersion
	// Events may be empty where other parts have events: then nothing is written
	// to the stream, and the append only succeeds if Expected holds. What was read
	// and decided upon can be held to in that way.
	Events []Event
	// RecordedAt is kept as the events' record time; nil means now. It is for
	// imports and needs PreservedRecordTime.
	RecordedAt *time.Time
}

// AppendResult says where the events of an append are.
type AppendResult struct {
	// Version is that of the last event: what [Exactly] takes next.
	Version uint64
	// Position is that of the last event.
	Position Position
	// Duplicate is true where the events were in the stream already, stored by
	// an earlier append or by an earlier attempt of this one.
	Duplicate bool
	// Events are the recorded events, with their IDs, versions, positions and
	// times. They share Data and Metadata with the events that were passed in. A
	// part without events has none, and a zero Version and Position.
	Events []RecordedEvent
}

// Append adds events to the end of a stream, all or none, if the stream meets
// the expectation when they are written. Events without an ID get one.
//
// Appending the same events with the same IDs again writes nothing and returns
// what the first append returned, with Duplicate set, whatever the expectation.
//
// Errors: ErrInvalid and ErrUnsupported before any I/O; ErrConflict;
// ErrEventIDReused; ErrSealed; ErrUnavailable; ErrClosed; the context's error.
// These are definite: nothing was written and nothing will be. An
// [UnknownOutcomeError] means that it could not be settled within
// [Options].RetryFor and the context's deadline; it carries the events with their
// IDs, to be appended again.
func (s *Store) Append(ctx context.Context, stream string, expected ExpectedVersion, events ...Event) (AppendResult, error) {
	results, err := s.append(ctx, []StreamAppend{{Stream: stream, Expected: expected, Events: events}})
	if err != nil {
		return AppendResult{}, opError("append to stream", stream, err)
	}
	return results[0], nil
}

// AppendStreams makes several appends as one: all are written, in their order,
// or none is. A stream may occur more than once; later parts see what earlier
// ones wrote. A part that repeats an earlier append writes nothing, as in
// [Store.Append], while the others are written. A part without events writes
// nothing either: the append succeeds only if its expectation holds, so a decision
// can be held to what it read; where all other parts are repetitions it is not
// judged again. More than one part needs the capability MultiStreamAppend; a
// part's RecordedAt needs PreservedRecordTime. The limits on an append hold for
// all parts together. Errors are as in Append.
func (s *Store) AppendStreams(ctx context.Context, parts ...StreamAppend) ([]AppendResult, error) {
	results, err := s.append(ctx, slices.Clone(parts))
	if err != nil {
		return nil, opError("append to several streams", "", err)
	}
	return results, nil
}

// CheckAppend tells, without I/O, for what [Store.AppendStreams] would refuse these
// parts whatever the store holds: ErrInvalid or ErrUnsupported, and ErrEventIDReused
// where an ID occurs twice in them. It returns nil where only the store can tell.
func (s *Store) CheckAppend(parts ...StreamAppend) error {
	return opError("check an append", "", s.checkAppend(slices.Clone(parts)))
}

// append takes over the slice parts, but not the events in it, which are copied.
func (s *Store) append(ctx context.Context, parts []StreamAppend) ([]AppendResult, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := s.checkAppend(parts); err != nil {
		return nil, err
	}
	given := slices.Clone(parts)
	if err := prepare(parts); err != nil {
		return nil, err
	}
	req := AppendRequest{ID: uuid.New(), Parts: parts}
	ctx = s.traceStart(ctx, TraceStart{Operation: OperationAppend, Stream: parts[0].Stream, Parts: parts})
	answers, attempts, err := s.appendSettled(ctx, req)
	results, events, duplicate := composed(given, parts, answers)
	s.traceEnd(ctx, TraceEnd{Operation: OperationAppend, Events: events, Attempts: attempts, Duplicate: duplicate, Err: err})
	return results, err
}

// prepare copies what the backend may keep and fills in what the caller left out.
func prepare(parts []StreamAppend) error {
	for i := range parts {
		part := &parts[i]
		part.Events = cloned(part.Events)
		if part.RecordedAt != nil {
			at := part.RecordedAt.UTC()
			part.RecordedAt = &at
		}
		for j := range part.Events {
			event := &part.Events[j]
			if event.ContentType == "" {
				event.ContentType = JSONContentType
			}
			if event.ID == uuid.Nil {
				id, err := uuid.NewV7()
				if err != nil {
					return fmt.Errorf("make an event ID: %w", err)
				}
				event.ID = id
			}
		}
	}
	return nil
}

// composed puts together what was given, what was sent, and the backend's answers.
// Data and metadata are the caller's own: what was sent is the backend's.
func composed(given, sent []StreamAppend, answers []PartResult) (results []AppendResult, events int, duplicate bool) {
	if answers == nil {
		return nil, 0, false
	}
	results = make([]AppendResult, len(answers))
	duplicate = true
	for i, answer := range answers {
		recorded := make([]RecordedEvent, len(answer.Recorded))
		for j, at := range answer.Recorded {
			event := sent[i].Events[j]
			event.Data, event.Metadata = given[i].Events[j].Data, given[i].Events[j].Metadata
			recorded[j] = RecordedEvent{Event: event, Stream: sent[i].Stream, Version: at.Version, Position: at.Position, RecordedAt: at.RecordedAt}
		}
		results[i] = AppendResult{Duplicate: answer.Duplicate, Events: recorded}
		if n := len(recorded); n > 0 {
			results[i].Version, results[i].Position = recorded[n-1].Version, recorded[n-1].Position
			duplicate = duplicate && answer.Duplicate
			events += n
		}
	}
	return results, events, duplicate
}

// appendSettled appends until the outcome is known. Repeating an append is safe
// because its events have their IDs: if an attempt was stored after all, the
// next one finds it. An unknown outcome stays unknown until an attempt is
// answered in a way that holds for the earlier ones too.
func (s *Store) appendSettled(ctx context.Context, req AppendRequest) ([]PartResult, int, error) {
	retry := s.newRetry()
	var unknown error // the first attempt's in doubt
	began := time.Now()
	for attempt := 1; ; attempt++ {
		answers, err := s.backend.Append(ctx, req)
		if err == nil {
			err = checkAnswers(req, answers)
		}
		if err == nil {
			return answers, attempt, nil
		}
		again := passes(err)
		switch {
		case errors.Is(err, ErrUnknownOutcome):
			if unknown == nil {
				unknown = err
			}
		case unknown == nil && !again, unknown != nil && s.settles(err):
			return nil, attempt, err
		case unknown != nil && errors.Is(err, ErrConflict):
			again = true // "not yet": the earlier attempt may still land
		}
		if ctx.Err() == nil && again {
			s.logger.WarnContext(ctx, "append is tried again", "stream", req.Parts[0].Stream, "attempt", attempt, "error", err)
		}
		if !again || !retry.wait(ctx) || (unknown != nil && !s.recognisable(ctx, req, began)) {
			if unknown != nil {
				return nil, attempt, &UnknownOutcomeError{Parts: copied(req.Parts), Err: unknown}
			}
			return nil, attempt, retry.giveUp(ctx, err)
		}
	}
}

// checkAnswers does not believe a backend that answers too little.
func checkAnswers(req AppendRequest, answers []PartResult) error {
	if len(answers) != len(req.Parts) {
		return fmt.Errorf("%w: the backend answered %d of %d parts", ErrUnknownOutcome, len(answers), len(req.Parts))
	}
	for i, answer := range answers {
		if len(answer.Recorded) != len(req.Parts[i].Events) {
			return fmt.Errorf("%w: the backend said where %d of %d events are", ErrUnknownOutcome, len(answer.Recorded), len(req.Parts[i].Events))
		}
	}
	return nil
}

// settles tells whether a refusal holds for earlier attempts too, because it is
// permanent: versions only grow, IDs never leave, and what was sent before a seal and
// lands after it stays refused when the seal is lifted. A conflict says nothing where the stream has grown by
// more than the backend looks back for event IDs: what it has grown by may be ours.
func (s *Store) settles(err error) bool {
	if errors.Is(err, ErrEventIDReused) || errors.Is(err, ErrSealed) {
		return true
	}
	var conflict *ConflictError
	if !errors.As(err, &conflict) {
		return false
	}
	exact, ok := conflict.Expected.Exact()
	window := s.caps.IdempotencyWindow
	return ok && exact < conflict.Actual && (window == 0 || conflict.Actual-exact <= window)
}

// clockSkew is how far the clocks of writers may be apart where the order of their
// record times decides whether an append is repeated.
const clockSkew = time.Minute

// recognisable tells whether a repetition of what was first sent at a time would
// be recognised as one. Where a backend looks back for event IDs over so many events
// only, the last ones of the stream must reach back to before that time.
func (s *Store) recognisable(ctx context.Context, req AppendRequest, began time.Time) bool {
	if known := s.caps.IdempotencyTime; known > 0 && time.Since(began) >= known {
		return false
	}
	window := s.caps.IdempotencyWindow
	if window == 0 {
		return true
	}
	for _, part := range req.Parts {
		if len(part.Events) == 0 {
			continue
		}
		current, err := s.StreamVersion(ctx, part.Stream)
		if err != nil {
			return false
		}
		events := uint64(len(part.Events))
		if current+events <= window {
			continue
		}
		oldest := current + events - window // the last one that must be older than the attempt
		page, err := s.readOne(ctx, part.Stream, oldest)
		if err != nil || len(page.Events) == 0 || page.Events[0].RecordedAt.After(began.Add(-clockSkew)) {
			return false
		}
	}
	return true
}

// copied returns parts whose memory is the caller's: an attempt may be under way.
func copied(parts []StreamAppend) []StreamAppend {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i].Events = cloned(parts[i].Events)
	}
	return parts
}

// cloned returns events that share no memory with the ones that are given.
func cloned(events []Event) []Event {
	events = slices.Clone(events)
	for i := range events {
		event := &events[i]
		event.Data, event.Metadata = bytes.Clone(event.Data), maps.Clone(event.Metadata)
	}
	return events
}
