package conformance_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A mutant is the memory backend with one thing broken. The suite must fail it
// at the check that is named beside it, and for that reason.
type mutant struct {
	name   string
	killed string // the check
	says   string // part of the failure, so that no other accident counts
	wrap   func(*broken)
}

// broken is a handle on a memory log whose methods a mutant replaces.
type broken struct {
	hooked.Hooked
	shared *shared
}

// shared is what the handles of one fixture have in common.
type shared struct {
	mu        sync.Mutex
	log       *memory.Log
	handles   []*broken
	calls     int
	seen      map[uuid.UUID]eventstore.PartResult
	results   []eventstore.PartResult
	stored    []eventstore.AppendRequest
	leader    context.Context //nolint:containedctx // a mutant confuses its callers' contexts
	interrupt bool            // the run ends at the next append
	crash     func(*shared)   // what a crash does to the log; nil is nothing
}

// Capabilities declares that a log survives a crash: it is outside of its
// handles, which is all that a crash takes here.
func (b *broken) Capabilities() eventstore.Capabilities {
	caps := b.Backend.Capabilities()
	caps.Durability = eventstore.SurvivesProcessCrash
	return caps
}

// mutantHarness opens fixtures whose every handle is wrapped.
func mutantHarness(name string, wrap func(*broken)) conformance.Harness {
	return conformance.Harness{
		Name: name,
		Open: func(context.Context) (*conformance.Fixture, error) {
			shared := &shared{log: memory.NewLog(), seen: make(map[uuid.UUID]eventstore.PartResult)}
			open := func(handle eventstore.Backend) *broken {
				b := &broken{Hooked: hooked.Hooked{Backend: handle}, shared: shared}
				wrap(b)
				shared.handles = append(shared.handles, b)
				return b
			}
			return &conformance.Fixture{
				Backend:   open(shared.log.Open(nil)),
				OpenAgain: func(context.Context) (eventstore.Backend, error) { return open(shared.log.Open(nil)), nil },
				OpenPolling: func(context.Context) (eventstore.Backend, error) {
					return open(memorytest.Polling(shared.log, memorytest.PollInterval)), nil
				},
				Restart:          shared.restart,
				HoldWriterReason: "one lock is held from taking a position until the event is visible",
			}, nil
		},
	}
}

// restart takes every handle away, as the crash of a process would.
func (s *shared) restart(context.Context) error {
	for _, b := range s.handles {
		if err := b.Close(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crash != nil {
		s.crash(s)
	}
	return nil
}

func TestEveryWriteMutantIsKilledAtItsNamedCheck(t *testing.T) {
	for _, m := range writeMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			requireKilled(t, mutantHarness(m.name, m.wrap), m.killed, m.says)
		})
	}
}

// requireKilled runs one check and wants it to fail with an explanation that
// says so.
func requireKilled(t *testing.T, h conformance.Harness, check, says string) {
	t.Helper()
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: fmt.Sprintf("^%s$", check)})
	require.NoError(t, err)
	require.Len(t, report.Results, 1)
	require.Equal(t, conformance.Failed, report.Results[0].Status, "the mutant survived %s: %s", check, report.Results[0].Reason)
	require.Contains(t, report.Results[0].Failure, says)
}

// noop is a backend that says yes and does nothing.
type noop struct{ eventstore.Backend }

func (n noop) Capabilities() eventstore.Capabilities {
	caps := n.Backend.Capabilities()
	caps.Durability = eventstore.SurvivesPowerLoss // it is easily said
	return caps
}

func (noop) Append(_ context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	return make([]eventstore.PartResult, len(req.Parts)), nil
}

func (noop) ReadStream(context.Context, eventstore.ReadStreamRequest) (eventstore.Page, error) {
	return eventstore.Page{End: true}, nil
}

func (noop) ReadAll(context.Context, eventstore.ReadAllRequest) (eventstore.Page, error) {
	return eventstore.Page{End: true}, nil
}

// Subscribe says that everything was delivered, and waits.
func (noop) Subscribe(ctx context.Context, _ eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		if yield(eventstore.Message{Kind: eventstore.MessageCaughtUp}, nil) {
			<-ctx.Done()
			yield(eventstore.Message{}, ctx.Err())
		}
	}
}

func TestABackendThatDoesNothingFailsEveryCoreCheck(t *testing.T) {
	open := func(context.Context) (eventstore.Backend, error) { return noop{memory.New()}, nil }
	h := conformance.Harness{
		Name: "no-op",
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			backend, err := open(ctx)
			return &conformance.Fixture{Backend: backend, OpenAgain: open, OpenPolling: open}, err
		},
	}
	var core []string
	for _, check := range conformance.Checks() {
		if check.Core {
			core = append(core, check.Name)
		}
	}
	require.Greater(t, len(core), 20)
	// All at once, for those that wait in vain wait for all of their time.
	var waiting sync.WaitGroup
	for _, name := range core {
		waiting.Go(func() {
			report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^" + name + "$", Timeout: 2 * time.Second})
			passes := err != nil || report.Count(conformance.Failed) != 1
			assert.False(t, passes, "a backend that does nothing passes %s (%v)", name, err)
		})
	}
	waiting.Wait()
}
