package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// withEvents returns the request with the events of its first part replaced.
func withEvents(req eventstore.AppendRequest, events []eventstore.Event) eventstore.AppendRequest {
	parts := slices.Clone(req.Parts)
	parts[0].Events = events
	return eventstore.AppendRequest{Parts: parts}
}

// expecting returns the request with the expectation of its first part replaced.
func expecting(req eventstore.AppendRequest, expected eventstore.ExpectedVersion) eventstore.AppendRequest {
	parts := slices.Clone(req.Parts)
	parts[0].Expected = expected
	return eventstore.AppendRequest{Parts: parts}
}

// version reads the version of a stream behind the mutant's back.
func (b *broken) version(ctx context.Context, stream string) uint64 {
	page, err := b.ReadStream(ctx, eventstore.ReadStreamRequest{
		Stream: stream, Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1},
	})
	if err != nil || len(page.Events) == 0 {
		return 0
	}
	return page.Events[0].Version
}

// roundTrip is the time between two statements of a real database: without it
// the mutants that race have a window too small to be worth a check.
func roundTrip() { <-time.After(time.Millisecond) }

// made is an answer that no store gave.
func made(first uint64, n int, duplicate bool) eventstore.PartResult {
	result := eventstore.PartResult{Duplicate: duplicate}
	for i := range uint64(n) {
		result.Recorded = append(result.Recorded, eventstore.Recorded{Version: first + i, Position: eventstore.NewPosition(1, 0), RecordedAt: time.Now().UTC()})
	}
	return result
}

func lastVersion(r eventstore.PartResult) uint64 { return r.Recorded[len(r.Recorded)-1].Version }

// withNewIDs gives every event an ID of its own, as a store would look that does
// not know event IDs.
func withNewIDs(req eventstore.AppendRequest) eventstore.AppendRequest {
	events := slices.Clone(req.Parts[0].Events)
	for i := range events {
		events[i].ID = uuid.New()
	}
	return withEvents(req, events)
}

func writeMutants() []mutant {
	return []mutant{
		{"ignores the expected version", "expect/table", `expected the error "version conflict", got no error`, func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				return b.Backend.Append(ctx, expecting(req, eventstore.Any()))
			}
		}},
		{"checks the expected version before it takes the lock", "race/one-winner-of-32-at-a-version", "of 32: ", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part := req.Parts[0]
				if current := b.version(ctx, part.Stream); !part.Expected.Allows(current) {
					return b.Backend.Append(ctx, req) // a duplicate, or a conflict
				}
				roundTrip()
				return b.Backend.Append(ctx, expecting(req, eventstore.Any()))
			}
		}},
		{"checks the expected version in each process for itself", "expect/after-another-handles-write", `expected the error "version conflict", got no error`, func(b *broken) {
			known := make(map[string]uint64)
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				part := req.Parts[0]
				current, ok := known[part.Stream]
				if !ok {
					current = b.version(ctx, part.Stream)
				}
				if ok && part.Expected.Allows(current) {
					req = expecting(req, eventstore.Any())
				}
				results, err := b.Backend.Append(ctx, req)
				if err == nil {
					known[part.Stream] = lastVersion(results[0])
				}
				return results, err
			}
		}},
		{"takes StreamExists for Any", "expect/table", "expecting exists of a stream at version 0", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if req.Parts[0].Expected == eventstore.StreamExists() {
					req = expecting(req, eventstore.Any())
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"names the expected version as the actual one", "expect/table", "but it is at 3", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				var conflict *eventstore.ConflictError
				if errors.As(err, &conflict) {
					wrong := *conflict
					wrong.Actual, _ = conflict.Expected.Exact()
					return nil, &wrong
				}
				return results, err
			}
		}},
		{"drops the last event of a batch", "append/returns-where-the-events-are", "expected 4 events, got 3", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				events := req.Parts[0].Events
				if len(events) == 1 {
					return b.Backend.Append(ctx, req)
				}
				results, err := b.Backend.Append(ctx, withEvents(req, events[:len(events)-1]))
				if err == nil {
					last := results[0].Recorded[len(results[0].Recorded)-1]
					last.Version++
					results[0].Recorded = append(results[0].Recorded, last)
				}
				return results, err
			}
		}},
		{"tears a batch", "append/batch-is-never-seen-in-part", "multiples of 8", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				events := req.Parts[0].Events
				first, err := b.Backend.Append(ctx, withEvents(req, events[:1]))
				if err != nil || len(events) == 1 {
					return first, err
				}
				roundTrip()
				rest, err := b.Backend.Append(ctx, expecting(withEvents(req, events[1:]), eventstore.Any()))
				if err == nil {
					rest[0].Recorded = append(first[0].Recorded, rest[0].Recorded...)
				}
				return rest, err
			}
		}},
		{"stores the first half of a batch that fails", "append/nothing-of-a-failed-batch", "expected 3, but it is at 4", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrEventIDReused) {
					_, _ = b.Backend.Append(ctx, withEvents(req, req.Parts[0].Events[:1]))
				}
				return results, err
			}
		}},
		{"reverses a batch", "append/returns-where-the-events-are", "its ID", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				events := slices.Clone(req.Parts[0].Events)
				slices.Reverse(events)
				return b.Backend.Append(ctx, withEvents(req, events))
			}
		}},
		{"duplicates on retry", "idempotency/at-once", "got versions 4 to 4, position 4, duplicate false", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				return b.Backend.Append(ctx, withNewIDs(req))
			}
		}},
		{"looks for duplicates only where the expectation fails", "idempotency/at-once", "got versions 4 to 4, position 4, duplicate false", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if part := req.Parts[0]; part.Expected.Allows(b.version(ctx, part.Stream)) && b.version(ctx, part.Stream) > 0 {
					req = withNewIDs(req)
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"looks for duplicates only where the expectation holds", "idempotency/at-once", "the same append again", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part := req.Parts[0]
				if current := b.version(ctx, part.Stream); !part.Expected.Allows(current) {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: current}
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"recognises only the last append", "idempotency/after-later-appends", "the same append again", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if part := req.Parts[0]; err == nil && results[0].Duplicate && b.version(ctx, part.Stream) > lastVersion(results[0])+8 {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: b.version(ctx, part.Stream)}
				}
				return results, err
			}
		}},
		{"returns the stream's end for a duplicate", "idempotency/after-later-appends", "got versions 1 to 38, position 2, duplicate true", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err == nil && results[0].Duplicate {
					results[0].Recorded[len(results[0].Recorded)-1].Version = b.version(ctx, req.Parts[0].Stream)
				}
				return results, err
			}
		}},
		{"does not say that it is a duplicate", "idempotency/at-once", "got versions 3 to 3, position 3, duplicate false", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err == nil {
					results[0].Duplicate = false
				}
				return results, err
			}
		}},
		{"looks for duplicates before it takes the lock", "idempotency/concurrently-with-the-original-32", "appends that are not duplicates: expected 1", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part := req.Parts[0]
				if b.version(ctx, part.Stream) == 0 && part.Expected == eventstore.Any() {
					roundTrip()
					return b.Backend.Append(ctx, withNewIDs(req))
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"dedupes by ID across streams", "idempotency/another-stream-is-another-event", "expected no duplicate", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				id := req.Parts[0].Events[0].ID
				if original, ok := b.shared.seen[id]; ok {
					original.Duplicate = true
					return []eventstore.PartResult{original}, nil
				}
				results, err := b.Backend.Append(ctx, req)
				if err == nil {
					b.shared.seen[id] = results[0]
				}
				return results, err
			}
		}},
		{"looks through all streams for an ID where the expectation fails", "idempotency/another-stream-is-another-event", "where the expectation fails", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				results, err := b.Backend.Append(ctx, req)
				id := req.Parts[0].Events[0].ID
				if original, ok := b.shared.seen[id]; ok && errors.Is(err, eventstore.ErrConflict) {
					original.Duplicate = true
					return []eventstore.PartResult{original}, nil
				}
				if err == nil {
					b.shared.seen[id] = results[0]
				}
				return results, err
			}
		}},
		{"looks through all streams for the IDs of several events", "idempotency/another-stream-is-another-event", "two IDs that another stream has", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				part := req.Parts[0]
				results, err := b.Backend.Append(ctx, req)
				for _, event := range part.Events {
					if _, met := b.shared.seen[event.ID]; met && err == nil && len(part.Events) > 1 {
						return nil, &eventstore.EventIDReusedError{Stream: part.Stream, ID: event.ID, Reason: "it is stored"}
					}
					b.shared.seen[event.ID] = eventstore.PartResult{}
				}
				return results, err
			}
		}},
		{"accepts an ID with other content", "idempotency/reuse-is-refused", `expected the error "event ID reused", got no error`, func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrEventIDReused) {
					return b.Backend.Append(ctx, withNewIDs(req))
				}
				return results, err
			}
		}},
		{"takes a reused ID for a duplicate", "idempotency/reuse-is-refused", `expected the error "event ID reused", got no error`, func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrEventIDReused) {
					return []eventstore.PartResult{made(1, len(req.Parts[0].Events), true)}, nil
				}
				return results, err
			}
		}},
		{"reports success without storing", "append/acknowledged-is-in-every-later-read", "after append 7 was acknowledged", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				if b.shared.calls++; b.shared.calls%7 == 0 {
					part := req.Parts[0]
					current := b.version(ctx, part.Stream)
					return []eventstore.PartResult{made(current+1, len(part.Events), false)}, nil
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"reads back what it wrote, and takes a failure of that for the append's", "append/impatient-callers-learn-the-truth", "unavailable", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				roundTrip()
				if err == nil && ctx.Err() != nil {
					return nil, fmt.Errorf("read back what was written: %w: %w", eventstore.ErrUnavailable, ctx.Err())
				}
				return results, err
			}
		}},
		{"reports a definite error after storing", "append/impatient-callers-learn-the-truth", "context deadline exceeded", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				roundTrip()
				results, err := b.Backend.Append(context.WithoutCancel(ctx), req)
				if err == nil && ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return results, err
			}
		}},
		{"conflicts with its own retry", "expect/own-retry-never-conflicts", "the same append again", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err == nil && results[0].Duplicate {
					return nil, &eventstore.ConflictError{Stream: req.Parts[0].Stream, Expected: req.Parts[0].Expected, Actual: lastVersion(results[0])}
				}
				return results, err
			}
		}},
		{"conflicts now and then for no reason", "expect/no-spurious-conflict", "the only writer of its stream", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				b.shared.calls++
				spurious := b.shared.calls%50 == 0
				b.shared.mu.Unlock()
				if spurious {
					part := req.Parts[0]
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: b.version(ctx, part.Stream)}
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"counts versions through the whole store", "expect/streams-are-apart", `version conflict on stream "one-for-all"`, func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				parts := slices.Clone(req.Parts)
				for i := range parts {
					parts[i].Stream = "one-for-all"
				}
				return b.Backend.Append(ctx, eventstore.AppendRequest{Parts: parts})
			}
		}},
		{"keeps one place for an ID in the whole store", "idempotency/another-stream-is-another-event", "an ID that three streams have", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				results, err := b.Backend.Append(ctx, req)
				id := req.Parts[0].Events[0].ID
				switch {
				case err != nil:
				case results[0].Duplicate:
					results[0] = b.shared.seen[id]
					results[0].Duplicate = true
				default:
					b.shared.seen[id] = results[0]
				}
				return results, err
			}
		}},
		{"remembers the IDs of what it refused", "append/failed-events-are-still-new", `expected the error "event ID reused", got no error`, func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				id := req.Parts[0].Events[0].ID
				if _, refused := b.shared.seen[id]; refused {
					return []eventstore.PartResult{made(1, len(req.Parts[0].Events), true)}, nil
				}
				results, err := b.Backend.Append(ctx, req)
				if err != nil {
					b.shared.seen[id] = eventstore.PartResult{}
				}
				return results, err
			}
		}},
		{"tells nil metadata from empty metadata", "idempotency/spellings-of-nothing", "nothing spelled in another way", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				events := slices.Clone(req.Parts[0].Events)
				for i := range events {
					if events[i].Metadata == nil {
						events[i].Metadata = map[string]string{"": "null"}
					}
				}
				return b.Backend.Append(ctx, withEvents(req, events))
			}
		}},
		{"hands a caller the answer of the last append", "race/any-of-8-all-win", "expected its last event", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err != nil {
					return nil, err
				}
				b.shared.mu.Lock()
				b.shared.results = results
				b.shared.mu.Unlock()
				roundTrip()
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				return slices.Clone(b.shared.results), nil
			}
		}},
		{"gives up a group of appends with its first caller", "append/impatient-callers-learn-the-truth", "a patient caller beside impatient ones", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				b.shared.mu.Lock()
				first := b.shared.leader == nil
				if first {
					b.shared.leader = ctx
				}
				leader := b.shared.leader
				b.shared.mu.Unlock()
				roundTrip()
				if first {
					b.shared.mu.Lock()
					b.shared.leader = nil
					b.shared.mu.Unlock()
				}
				if errors.Is(leader.Err(), context.DeadlineExceeded) {
					return nil, leader.Err()
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"tears an append to several streams", "race/one-winner-of-8-on-two-streams", "winners among 8 racers: expected 1", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				var results []eventstore.PartResult
				for _, part := range req.Parts {
					result, err := b.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
					if err != nil {
						return nil, err
					}
					results = append(results, result...)
					roundTrip()
				}
				return results, nil
			}
		}},
		{"loses the last acknowledged appends in a crash", "append/acknowledged-survives-a-crash", "expected 20 events, got 14", losesInACrash},
		{"loses acknowledged appends in a crash under load", "append/acknowledged-survives-a-crash-under-load", "events acknowledged", losesInACrash},
		{"stores late what it reported as failed", "append/impatient-callers-learn-the-truth", "expected 0 events, got 3", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				roundTrip()
				if ctx.Err() == nil {
					return b.Backend.Append(ctx, req)
				}
				go func() {
					roundTrip()
					_, _ = b.Backend.Append(context.WithoutCancel(ctx), req)
				}()
				return nil, ctx.Err()
			}
		}},
		{"answers a conflict that is an outage too", "expect/table", "and no other", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrConflict) {
					err = errors.Join(err, eventstore.ErrUnavailable)
				}
				return results, err
			}
		}},
	}
}

// losesInACrash brings the log back without what the last three appends wrote.
func losesInACrash(b *broken) {
	b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		b.shared.mu.Lock()
		defer b.shared.mu.Unlock()
		results, err := b.Backend.Append(ctx, req)
		if err == nil {
			b.shared.stored = append(b.shared.stored, req)
		}
		return results, err
	}
	b.shared.crash = func(s *shared) {
		s.log = memory.NewLog()
		log := s.log.Open(nil)
		for _, req := range s.stored[:len(s.stored)-3] {
			_, _ = log.Append(context.Background(), req)
		}
	}
}
