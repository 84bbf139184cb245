package move

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// suspended calls back before the n-th operation of a run, which all its others wait for.
type suspended struct {
	turn     chan struct{} // a lock in which a bubble's time goes on
	n, at    int
	op       string
	meantime func()
}

func (s *suspended) next(format string, args ...any) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.n++; s.n == s.at {
		s.op = fmt.Sprintf(format, args...)
		s.meantime()
	}
}

// end makes what follows no step of the run: what closes the stores, and a reader that the run
// has left.
func (s *suspended) end() {
	s.turn <- struct{}{}
	s.at = 0
	<-s.turn
}

type suspendedBackend struct {
	eventstore.Backend
	name string
	run  *suspended
}

func (b suspendedBackend) Records() eventstore.Records {
	records := b.Backend.Records()
	records.Checkpoints = suspendedCheckpoints{records.Checkpoints, b.name, b.run}
	return records
}

func (b suspendedBackend) Info(ctx context.Context) (eventstore.Info, error) {
	b.run.next("%s info", b.name)
	return b.Backend.Info(ctx)
}

func (b suspendedBackend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	b.run.next("%s append", b.name)
	return b.Backend.Append(ctx, req)
}

func (b suspendedBackend) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	b.run.next("%s seal, lift %v", b.name, req.Lift)
	return b.Backend.Seal(ctx, req)
}

func (b suspendedBackend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	b.run.next("%s read", b.name)
	return b.Backend.ReadAll(ctx, req)
}

func (b suspendedBackend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	b.run.next("%s subscribe", b.name)
	return b.Backend.Subscribe(ctx, req)
}

type suspendedCheckpoints struct {
	eventstore.Checkpoints
	name string
	run  *suspended
}

func (c suspendedCheckpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	c.run.next("%s load %s", c.name, req.Name)
	return c.Checkpoints.Load(ctx, req)
}

func (c suspendedCheckpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	c.run.next("%s save %s, reset %v", c.name, req.Checkpoint.Name, req.Reset)
	return c.Checkpoints.Save(ctx, req)
}

func (c suspendedCheckpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	c.run.next("%s delete %s", c.name, req.Name)
	return c.Checkpoints.Delete(ctx, req)
}

func (c suspendedCheckpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	c.run.next("%s swap %s", c.name, req.Name)
	return c.Checkpoints.SwapLease(ctx, req)
}

// A run of a move is suspended before each single step that it makes, until another run has
// ended the move and applications use TO; then it goes on. What an application did stays.
func TestARunThatIsSuspendedAnywhereChangesNothingInTheStoreThatIsInUse(t *testing.T) {
	// trips are the moves before, there and back; quiet if nothing was appended in between, so
	// that marks are where they were. One who set a subscription back, or deleted it, before the
	// way back has it so in TO, by steps that have no condition.
	for _, test := range []struct {
		trips          int
		quiet, setBack bool
		unguarded      []string
	}{
		{trips: 0},
		{trips: 1},
		{trips: 2, quiet: true},
		{trips: 1, setBack: true, unguarded: []string{"TO save billing, reset true", "TO delete mail"}},
	} {
		t.Run(fmt.Sprintf("%d moves before, quiet %v, set back %v", test.trips, test.quiet, test.setBack), func(t *testing.T) {
			var unguarded []string
			for at := 1; ; at++ {
				reached := false
				synctest.Test(t, func(t *testing.T) {
					var op string
					var kept bool
					if op, kept = suspendAt(t, at, test.trips, test.quiet, test.setBack); op == "" {
						return
					}
					if reached = true; !kept {
						unguarded = append(unguarded, op)
					}
				})
				if !reached {
					require.Greater(t, at, 50)
					break
				}
			}
			require.Equal(t, test.unguarded, unguarded, "what was set back in TO when the run was suspended before these")
		})
	}
}

// suspendAt returns the step before which the run was suspended, empty where it makes fewer,
// and whether the checkpoints of TO are where the application has them.
func suspendAt(t *testing.T, at, trips int, quiet, setBack bool) (op string, kept bool) {
	t.Helper()
	backends := []eventstore.Backend{memory.New(), spread{memory.New()}}
	from, to := side(t, backends[0], "memory:a"), side(t, backends[1], "memory:b")
	add(t, from, 8)
	handle(t, from, "billing", 3)
	handle(t, from, "mail", 2)
	for range trips {
		_, err := Move(t.Context(), from, to, nil)
		require.NoError(t, err)
		from, to = to, from
		slices.Reverse(backends)
		if !quiet {
			add(t, from, 2)
			handle(t, from, "billing", 1)
		}
	}
	if setBack {
		require.NoError(t, from.Store.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing"}))
		require.NoError(t, from.Store.DeleteCheckpoint(t.Context(), "mail"))
	}
	run := &suspended{at: at, turn: make(chan struct{}, 1)}
	var head eventstore.Place
	ended := false
	run.meantime = func() {
		report, err := Move(t.Context(), from, to, nil)
		require.NoError(t, err, run.op)
		require.True(t, report.Done, run.op)
		ended = true
		add(t, to, 2)
		handle(t, to, "billing", 100)
		handle(t, to, "mail", 100)
		head = infoOf(t, to).Head
	}
	late := [2]Side{side(t, suspendedBackend{backends[0], "FROM", run}, from.Name), side(t, suspendedBackend{backends[1], "TO", run}, to.Name)}
	report, err := Move(t.Context(), late[0], late[1], nil)
	run.end()
	if !ended {
		require.NoError(t, err)
		require.True(t, report.Done)
		return "", true
	}
	if err != nil {
		require.ErrorIs(t, err, errOtherRun, run.op)
	}
	require.True(t, sealed(t, from), run.op)
	require.False(t, sealed(t, to), run.op)
	require.Equal(t, head, infoOf(t, to).Head, run.op)
	require.False(t, slices.ContainsFunc(names(t, from), isAstray), run.op)
	_, part, err := unfinished(t.Context(), to, infoOf(t, from).ID)
	require.NoError(t, err)
	require.False(t, part, run.op)
	kept = true
	for _, name := range []string{"billing", "mail"} {
		checkpoint, _, err := to.Store.LoadCheckpoint(t.Context(), name)
		require.NoError(t, err)
		kept = kept && checkpoint.Place == head
	}
	again, err := Move(t.Context(), from, to, nil)
	require.NoError(t, err, run.op)
	require.True(t, again.Already, run.op)
	return run.op, kept
}
