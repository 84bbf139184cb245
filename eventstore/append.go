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

// Append adds events to the end of a stream, all or none, if the stream meets
// the expectation when they are written. Events without an ID get one.
//
// Appending the same events with the same IDs again writes nothing and returns
// what the first append returned, with Duplicate set, whatever the expectation.
//
// Errors: ErrInvalid before any I/O; ErrConflict; ErrEventIDReused;
// ErrUnavailable; ErrClosed; the context's error. These are definite: nothing
// was written and nothing will be. ErrUnknownOutcome means that it could not be
// settled within [Options].RetryFor and the context's deadline; append the same
// events with the same IDs again (so give them IDs) to settle it.
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
// [Store.Append], while the others are written. More than one part needs the
// capability MultiStreamAppend; a part's RecordedAt needs PreservedRecordTime.
// The limits on an append hold for all parts together.
func (s *Store) AppendStreams(ctx context.Context, parts ...StreamAppend) ([]AppendResult, error) {
	results, err := s.append(ctx, slices.Clone(parts))
	if err != nil {
		return nil, opError("append to several streams", "", err)
	}
	return results, nil
}

// append takes over the slice parts, but not the events in it, which are copied.
func (s *Store) append(ctx context.Context, parts []StreamAppend) ([]AppendResult, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := s.checkAppend(parts); err != nil {
		return nil, err
	}
	if err := prepare(parts); err != nil {
		return nil, err
	}
	req := AppendRequest{Parts: parts}
	if s.options.Observe == nil {
		results, _, err := s.appendSettled(ctx, req)
		return results, err
	}
	start := time.Now()
	results, attempts, err := s.appendSettled(ctx, req)
	seen := Observation{Stream: parts[0].Stream, Attempts: attempts, Duration: time.Since(start), Err: err}
	for _, part := range parts {
		seen.Events += len(part.Events)
	}
	s.options.Observe(ctx, seen)
	return results, err
}

// prepare copies what the backend may keep and fills in what the caller left out.
func prepare(parts []StreamAppend) error {
	for i := range parts {
		part := &parts[i]
		part.Events = slices.Clone(part.Events)
		for j := range part.Events {
			event := &part.Events[j]
			event.Data = bytes.Clone(event.Data)
			event.Metadata = maps.Clone(event.Metadata)
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

// appendSettled appends until the outcome is known. Repeating an append is safe
// because its events have their IDs: if an attempt was stored after all, the
// next one finds it. An unknown outcome stays unknown until an attempt is
// answered, even if a later one fails for certain.
func (s *Store) appendSettled(ctx context.Context, req AppendRequest) ([]AppendResult, int, error) {
	retry := s.newRetry()
	var unknown error
	for attempt := 1; ; attempt++ {
		results, err := s.backend.Append(ctx, req)
		if err == nil && len(results) != len(req.Parts) {
			err = fmt.Errorf("%w: the backend answered %d of %d parts", ErrUnknownOutcome, len(results), len(req.Parts))
		}
		switch {
		case err == nil:
			return results, attempt, nil
		case errors.Is(err, ErrUnknownOutcome):
			unknown = err
		case unknown != nil && !isVerdict(err):
			err = fmt.Errorf("%w (a later attempt: %w)", unknown, err)
		}
		if !errors.Is(err, ErrUnknownOutcome) && !errors.Is(err, ErrUnavailable) {
			return nil, attempt, err
		}
		if ctx.Err() == nil {
			s.logger.WarnContext(ctx, "append is tried again", "stream", req.Parts[0].Stream, "attempt", attempt, "error", err)
		}
		if !retry.wait(ctx) {
			return nil, attempt, retry.giveUp(ctx, err)
		}
	}
}

// isVerdict tells whether err is the backend's answer about the append itself,
// which settles the earlier attempts too.
func isVerdict(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrEventIDReused)
}
