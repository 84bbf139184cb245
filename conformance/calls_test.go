package conformance

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Some checks hold the Store to the contract rather than the backend, so that no
// backend can fail them. That they can fail is shown here on their parts.

func memoryEnv(t *testing.T) *Env {
	t.Helper()
	log := memory.NewLog()
	env := newEnv(&Fixture{
		Backend:   log.Open(nil),
		OpenAgain: func(context.Context) (eventstore.Backend, error) { return log.Open(nil), nil },
	}, t.Name(), 1)
	var err error
	env.Store, err = env.NewStore(env.Fixture.Backend, eventstore.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, env.close()) })
	return env
}

func TestAnAppendThatKeepsTheCallersBuffersIsFound(t *testing.T) {
	env := memoryEnv(t)
	require.NoError(t, appendKeepsCopies(t.Context(), env, env.Store.Append))
	// A Store that hands its caller's memory to the backend, which may keep it.
	err := appendKeepsCopies(t.Context(), env, func(ctx context.Context, stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error) {
		results, err := env.Fixture.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part(stream, expected, events...)}})
		if err != nil {
			return eventstore.AppendResult{}, err
		}
		return toResult(stream, events, results[0]), nil
	})
	require.ErrorContains(t, err, "expected event")
}

// toResult is a Store's answer made of a backend's.
func toResult(stream string, events []eventstore.Event, answer eventstore.PartResult) eventstore.AppendResult {
	result := eventstore.AppendResult{Duplicate: answer.Duplicate}
	for i, at := range answer.Recorded {
		result.Version, result.Position = at.Version, at.Position
		result.Events = append(result.Events, eventstore.RecordedEvent{Event: events[i], Stream: stream, Version: at.Version, Position: at.Position, RecordedAt: at.RecordedAt})
	}
	return result
}

func TestTheSpySeesEveryCall(t *testing.T) {
	env := memoryEnv(t)
	spied := &spy{Backend: env.Fixture.Backend}
	for _, call := range backendCalls(env, "Order-1") {
		require.NoError(t, spied.expectNoCalls(call.name))
		ctx, cancel := context.WithCancel(t.Context())
		if call.name == "Subscribe" {
			cancel() // it would not end
		}
		_ = call.run(ctx, spied)
		cancel()
		require.Equal(t, 1, spied.count(call.name))
		require.ErrorContains(t, spied.expectNoCalls(call.name), call.name)
	}
	require.NoError(t, spied.Close())
}

func TestEveryOperationOfTheTableReachesTheBackend(t *testing.T) {
	env := memoryEnv(t)
	store, spy, err := spied(env, eventstore.Options{})
	require.NoError(t, err)
	for _, call := range storeCalls(env, "Order-1") {
		spy.take()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // ends the subscriptions
		_ = call.run(ctx, store)
		cancel()
		require.Error(t, spy.expectNoCalls(call.name), "%s does no I/O with valid input", call.name)
	}
}

func TestTheWrongClassOfErrorForADoneContextIsFound(t *testing.T) {
	for _, done := range doneContexts(t.Context()) {
		require.NoError(t, done.expect("x", fmt.Errorf("append: %w", done.ctx.Err())))
		require.Error(t, done.expect("x", nil))
		require.Error(t, done.expect("x", done.other))
		require.Error(t, done.expect("x", fmt.Errorf("%w and %w", done.want, done.other)))
		require.Error(t, done.expect("x", eventstore.ErrUnavailable))
	}
}

func TestInputThatIsNotRefusedAsItShouldIsFound(t *testing.T) {
	fails := func(err error) func(context.Context, *eventstore.Store) error {
		return func(context.Context, *eventstore.Store) error { return err }
	}
	right := &eventstore.InvalidError{Field: "stream", Reason: "256 bytes, limit 255"}
	for _, test := range []struct {
		name string
		call func(context.Context, *eventstore.Store) error
		want string
	}{
		{"as it should", fails(right), ""},
		{"it is accepted", fails(nil), "got no error"},
		{"it is another error", fails(eventstore.ErrConflict), "version conflict"},
		{"no field is named", fails(eventstore.ErrInvalid), "an *InvalidError"},
		{"another field is named", fails(&eventstore.InvalidError{Field: "type", Reason: right.Reason}), `names the field "stream"`},
		{"the limit is not named", fails(&eventstore.InvalidError{Field: "stream", Reason: "too long"}), `says "limit 255"`},
		{"after I/O", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.StreamVersion(ctx, "Order-1")
			require.NoError(t, err)
			return right
		}, "expected no I/O"},
		{"after a write", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Append(ctx, "Order-1", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("{}")})
			require.NoError(t, err)
			return right
		}, "expected no I/O"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := memoryEnv(t)
			err := expectRefused(t.Context(), env, bad{what: "a long ID", operation: "Append", field: "stream", reason: "limit 255", call: test.call})
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestWhatIsDeclaredAbsentIsRefused(t *testing.T) {
	without := alteredCaps(func(c *eventstore.Capabilities) {
		c.MultiStreamAppend = eventstore.No("one stream at a time")
		c.PreservedRecordTime = eventstore.No("the server's clock rules")
		c.GlobalOrder = eventstore.No("partitions")
	})
	declared := without(t, memory.New()).Capabilities()
	unsupported := 0
	for _, check := range slices.Concat(bytesChecks(), callChecks(), inputChecks(), capabilityChecks()) {
		result := runAltered(t, check.Name, without)
		want := Passed
		if check.Requires != nil && !check.Requires(declared).Supported() {
			want = Unsupported
			unsupported++
		}
		require.Equal(t, want, result.Status, "%s: %s", check.Name, result.Failure)
	}
	require.Greater(t, unsupported, 8)
}

func TestWhatIsNotRefusedThoughDeclaredAbsentIsFound(t *testing.T) {
	for name, refused := range map[string]func(context.Context, *Env) error{
		"multi-stream append": refusesMultiStream,
		"record time":         refusesRecordTime,
		"global order":        refusesSubscriptions,
	} {
		// This store supports all of it, so nothing is refused.
		env := memoryEnv(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := refused(ctx, env)
		cancel()
		require.ErrorContains(t, err, "not supported", name)
	}
}

func TestARefusalWithoutTheDeclaredReasonIsFound(t *testing.T) {
	declared := eventstore.No("partitions")
	require.NoError(t, expectUnsupported("x", &eventstore.UnsupportedError{Feature: "the global order", Reason: "partitions"}, declared))
	require.Error(t, expectUnsupported("x", nil, declared))
	require.Error(t, expectUnsupported("x", eventstore.ErrUnsupported, declared))
	require.Error(t, expectUnsupported("x", &eventstore.UnsupportedError{Feature: "the global order", Reason: "another"}, declared))
}

func TestHardTextsAreAllDifferent(t *testing.T) {
	seen := make(map[string]bool)
	for _, text := range hardText() {
		require.False(t, seen[text], "%q", text)
		seen[text] = true
	}
}
