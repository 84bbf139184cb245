package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A mutant is the memory backend with one thing broken. The suite must fail it
// at the check that is named beside it.
type mutant struct {
	name   string
	killed string // the check
	wrap   func(*broken)
}

// broken is a handle on a memory log whose methods a mutant replaces.
type broken struct {
	*memory.Backend
	shared *shared
	append func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error)
}

// shared is what the handles of one fixture have in common.
type shared struct {
	mu    sync.Mutex
	log   *memory.Log
	calls int
	seen  map[uuid.UUID]eventstore.AppendResult
}

func (b *broken) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if b.append != nil {
		return b.append(ctx, req)
	}
	return b.Backend.Append(ctx, req)
}

// mutantHarness opens fixtures whose every handle is wrapped.
func mutantHarness(name string, wrap func(*broken)) conformance.Harness {
	return conformance.Harness{
		Name: name,
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			shared := &shared{log: memory.NewLog(), seen: make(map[uuid.UUID]eventstore.AppendResult)}
			open := func(context.Context) (eventstore.Backend, error) {
				b := &broken{Backend: shared.log.Open(nil), shared: shared}
				wrap(b)
				return b, nil
			}
			first, err := open(ctx)
			return &conformance.Fixture{Backend: first, OpenAgain: open}, err
		},
	}
}

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
		{"ignores the expected version", "expect/table", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				return b.Backend.Append(ctx, expecting(req, eventstore.Any()))
			}
		}},
		{"checks the expected version before it takes the lock", "race/one-winner-of-32-at-a-version", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				part := req.Parts[0]
				if current := b.version(ctx, part.Stream); !part.Expected.Allows(current) {
					return b.Backend.Append(ctx, req) // a duplicate, or a conflict
				}
				roundTrip()
				return b.Backend.Append(ctx, expecting(req, eventstore.Any()))
			}
		}},
		{"checks the expected version in each process for itself", "expect/after-another-handles-write", func(b *broken) {
			known := make(map[string]uint64)
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
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
					known[part.Stream] = results[0].Version
				}
				return results, err
			}
		}},
		{"takes StreamExists for Any", "expect/table", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				if req.Parts[0].Expected == eventstore.StreamExists() {
					req = expecting(req, eventstore.Any())
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"names the expected version as the actual one", "expect/table", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
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
		{"drops the last event of a batch", "append/returns-where-the-events-are", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				events := req.Parts[0].Events
				if len(events) == 1 {
					return b.Backend.Append(ctx, req)
				}
				results, err := b.Backend.Append(ctx, withEvents(req, events[:len(events)-1]))
				if err == nil {
					results[0].Version++
				}
				return results, err
			}
		}},
		{"tears a batch", "append/batch-is-never-seen-in-part", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				events := req.Parts[0].Events
				first, err := b.Backend.Append(ctx, withEvents(req, events[:1]))
				if err != nil || len(events) == 1 {
					return first, err
				}
				rest, err := b.Backend.Append(ctx, expecting(withEvents(req, events[1:]), eventstore.Any()))
				if err == nil {
					rest[0].FirstVersion = first[0].FirstVersion
				}
				return rest, err
			}
		}},
		{"stores the first half of a batch that fails", "append/nothing-of-a-failed-batch", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrEventIDReused) {
					_, _ = b.Backend.Append(ctx, withEvents(req, req.Parts[0].Events[:1]))
				}
				return results, err
			}
		}},
		{"reverses a batch", "append/returns-where-the-events-are", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				events := slices.Clone(req.Parts[0].Events)
				slices.Reverse(events)
				return b.Backend.Append(ctx, withEvents(req, events))
			}
		}},
		{"duplicates on retry", "idempotency/at-once", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				return b.Backend.Append(ctx, withNewIDs(req))
			}
		}},
		{"looks for duplicates only where the expectation fails", "idempotency/at-once", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				if part := req.Parts[0]; part.Expected.Allows(b.version(ctx, part.Stream)) && b.version(ctx, part.Stream) > 0 {
					req = withNewIDs(req)
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"looks for duplicates only where the expectation holds", "idempotency/at-once", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				part := req.Parts[0]
				if current := b.version(ctx, part.Stream); !part.Expected.Allows(current) {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: current}
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"recognises only the last append", "idempotency/after-later-appends", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if part := req.Parts[0]; err == nil && results[0].Duplicate && b.version(ctx, part.Stream) > results[0].Version+8 {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: b.version(ctx, part.Stream)}
				}
				return results, err
			}
		}},
		{"returns the stream's end for a duplicate", "idempotency/after-later-appends", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err == nil && results[0].Duplicate {
					results[0].Version = b.version(ctx, req.Parts[0].Stream)
				}
				return results, err
			}
		}},
		{"does not say that it is a duplicate", "idempotency/at-once", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err == nil {
					results[0].Duplicate = false
				}
				return results, err
			}
		}},
		{"looks for duplicates before it takes the lock", "idempotency/concurrently-with-the-original-32", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				part := req.Parts[0]
				if b.version(ctx, part.Stream) == 0 && part.Expected == eventstore.Any() {
					roundTrip()
					return b.Backend.Append(ctx, withNewIDs(req))
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"dedupes by ID across streams", "idempotency/another-stream-is-another-event", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				id := req.Parts[0].Events[0].ID
				if original, ok := b.shared.seen[id]; ok {
					original.Duplicate = true
					return []eventstore.AppendResult{original}, nil
				}
				results, err := b.Backend.Append(ctx, req)
				if err == nil {
					b.shared.seen[id] = results[0]
				}
				return results, err
			}
		}},
		{"accepts an ID with other content", "idempotency/reuse-is-refused", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrEventIDReused) {
					return b.Backend.Append(ctx, withNewIDs(req))
				}
				return results, err
			}
		}},
		{"takes a reused ID for a duplicate", "idempotency/reuse-is-refused", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrEventIDReused) {
					return []eventstore.AppendResult{{FirstVersion: 1, Version: 1, Position: eventstore.NewPosition(1, 0), Duplicate: true}}, nil
				}
				return results, err
			}
		}},
		{"reports success without storing", "append/acknowledged-is-in-every-later-read", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				b.shared.mu.Lock()
				defer b.shared.mu.Unlock()
				if b.shared.calls++; b.shared.calls%7 == 0 {
					part := req.Parts[0]
					current := b.version(ctx, part.Stream)
					n := uint64(len(part.Events))
					return []eventstore.AppendResult{{FirstVersion: current + 1, Version: current + n, Position: eventstore.NewPosition(1, 0)}}, nil
				}
				return b.Backend.Append(ctx, req)
			}
		}},
		{"reports a definite error after storing", "append/impatient-callers-learn-the-truth", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
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
		{"conflicts with its own retry", "expect/own-retry-never-conflicts", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				results, err := b.Backend.Append(ctx, req)
				if err == nil && results[0].Duplicate {
					return nil, &eventstore.ConflictError{Stream: req.Parts[0].Stream, Expected: req.Parts[0].Expected, Actual: results[0].Version}
				}
				return results, err
			}
		}},
		{"conflicts now and then for no reason", "expect/no-spurious-conflict", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
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
		{"counts versions through the whole store", "expect/streams-are-apart", func(b *broken) {
			b.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				parts := slices.Clone(req.Parts)
				for i := range parts {
					parts[i].Stream = "one-for-all"
				}
				return b.Backend.Append(ctx, eventstore.AppendRequest{Parts: parts})
			}
		}},
	}
}

func TestEveryWriteMutantIsKilledAtItsNamedCheck(t *testing.T) {
	for _, m := range writeMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			requireKilled(t, mutantHarness(m.name, m.wrap), m.killed)
		})
	}
}

// requireKilled runs one check and wants it to fail.
func requireKilled(t *testing.T, h conformance.Harness, check string) {
	t.Helper()
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: fmt.Sprintf("^%s$", check)})
	require.NoError(t, err)
	require.Len(t, report.Results, 1)
	require.Equal(t, conformance.Failed, report.Results[0].Status, "the mutant survived %s: %s", check, report.Results[0].Reason)
	require.NotEmpty(t, report.Results[0].Failure)
}

// noop is a backend that says yes and does nothing.
type noop struct{ eventstore.Backend }

func (n noop) Capabilities() eventstore.Capabilities {
	caps := n.Backend.Capabilities()
	caps.Durability = eventstore.SurvivesPowerLoss // it is easily said
	return caps
}

func (noop) Append(_ context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	return make([]eventstore.AppendResult, len(req.Parts)), nil
}

func (noop) ReadStream(context.Context, eventstore.ReadStreamRequest) (eventstore.Page, error) {
	return eventstore.Page{End: true}, nil
}

func (noop) ReadAll(context.Context, eventstore.ReadAllRequest) (eventstore.Page, error) {
	return eventstore.Page{End: true}, nil
}

func TestABackendThatDoesNothingFailsEveryCoreCheck(t *testing.T) {
	open := func(context.Context) (eventstore.Backend, error) { return noop{memory.New()}, nil }
	report, err := conformance.RunAll(t.Context(), conformance.Harness{
		Name: "no-op",
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			backend, err := open(ctx)
			return &conformance.Fixture{Backend: backend, OpenAgain: open, OpenDeaf: open}, err
		},
	}, conformance.Options{Timeout: 2 * time.Second})
	require.NoError(t, err)
	core := 0
	for _, result := range report.Results {
		if result.Core {
			core++
			assert.Equal(t, conformance.Failed, result.Status, "%s: %s", result.Check, result.Sentence)
		}
	}
	require.Greater(t, core, 20)
}
