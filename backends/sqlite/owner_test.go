package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const ownedTTL = 600 * time.Millisecond

// childOwns runs a durable subscription and prints what becomes of it: "own EPOCH
// POSITION" when it has the lease, "handled POSITION", "saved EPOCH POSITION" and
// "lost EPOCH POSITION" for checkpoints that were stored and refused. Each line ends
// with a full stop, so that one which a kill cut short can be told.
func childOwns(path, _ string) error {
	return onBackend(path, &sqlite.Options{Poll: 5 * time.Millisecond}, func(ctx context.Context, backend *sqlite.Backend, store *eventstore.Store) error {
		return store.Run(ctx, eventstore.Subscription{
			Name: "billing",
			Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
				fmt.Printf("handled %s.\n", event.Position)
				return nil
			},
			Checkpoints:        told{backend.Records().Checkpoints},
			CheckpointEvery:    4,
			CheckpointInterval: time.Hour,
			LeaseTTL:           ownedTTL,
		})
	})
}

// told tells of what it keeps.
type told struct{ eventstore.Checkpoints }

func (c told) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	result, err := c.Checkpoints.Load(ctx, req)
	if err == nil {
		fmt.Printf("own %d %s.\n", result.Checkpoint.Epoch, result.Checkpoint.Place.Position)
	}
	return result, err
}

func (c told) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	err := c.Checkpoints.Save(ctx, req)
	switch at := fmt.Sprintf("%d %s.", req.Checkpoint.Epoch, req.Checkpoint.Place.Position); {
	case err == nil:
		fmt.Println("saved", at)
	case errors.Is(err, eventstore.ErrLeaseLost):
		fmt.Println("lost", at)
	}
	return err
}

// session is what a process did between taking the lease and losing it.
type session struct {
	owner       string
	epoch, from uint64
	handled     []uint64
	saved       uint64
	refused     bool
}

// owners are processes that run one subscription.
type owners struct {
	t  *testing.T
	mu sync.Mutex
	// sessions by their epochs
	sessions []*session
	changed  chan struct{}
}

func newOwners(t *testing.T) *owners { return &owners{t: t, changed: make(chan struct{}, 1)} }

// ownerProcess is one of them.
type ownerProcess struct {
	*child
	heard chan struct{} // closed when all that it said is noted
}

func (o *owners) start(path, name string) *ownerProcess {
	c := &ownerProcess{startChild(o.t, "own", path, name), make(chan struct{})}
	c.begin(o.t)
	go func() {
		defer close(c.heard)
		var own *session
		for c.out.Scan() {
			line, whole := strings.CutSuffix(c.out.Text(), ".")
			if whole {
				own = o.note(name, own, line)
			}
		}
	}()
	return c
}

// kill ends the process at once.
func (c *ownerProcess) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, c.Process.Kill())
	<-c.heard
	require.Error(t, c.Wait())
}

func (o *owners) note(name string, own *session, line string) *session {
	o.mu.Lock()
	defer o.mu.Unlock()
	var epoch, position uint64
	switch verb, rest, _ := strings.Cut(line, " "); verb {
	case "own":
		own = &session{owner: name}
		_, _ = fmt.Sscan(rest, &own.epoch, &own.from)
		o.sessions = append(o.sessions, own)
	case "handled":
		_, _ = fmt.Sscan(rest, &position)
		own.handled = append(own.handled, position)
	case "saved":
		_, _ = fmt.Sscan(rest, &epoch, &position)
		own.saved = position
	case "lost":
		own.refused = true
	}
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return own
}

// await waits until a condition on the last session, or on all, holds.
func (o *owners) await(what string, ok func(sessions []*session) bool) {
	o.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		o.mu.Lock()
		done := ok(o.sessions)
		o.mu.Unlock()
		if done {
			return
		}
		select {
		case <-o.changed:
		case <-deadline:
			o.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// owner waits for somebody who has handled everything up to a position.
func (o *owners) owner(position uint64) (last session) {
	o.t.Helper()
	o.await(fmt.Sprintf("event %d is handled", position), func(sessions []*session) bool {
		i := slices.IndexFunc(sessions, func(s *session) bool { return slices.Contains(s.handled, position) })
		if i >= 0 {
			last = *sessions[i]
		}
		return i >= 0
	})
	return last
}

// check holds what all have done against the promises: each owner goes on right
// after the checkpoint in the global order, and no checkpoint passes an event that
// nobody handled.
func (o *owners) check(events uint64) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	slices.SortFunc(o.sessions, func(a, b *session) int { return int(a.epoch) - int(b.epoch) })
	reached, overlap := uint64(0), uint64(0)
	for i, s := range o.sessions {
		if i > 0 {
			require.Less(o.t, o.sessions[i-1].epoch, s.epoch, "an epoch has one owner")
			require.GreaterOrEqual(o.t, s.from, o.sessions[i-1].from, "checkpoints move forward")
			require.GreaterOrEqual(o.t, s.from, o.sessions[i-1].saved, "and none that was stored is lost")
		}
		require.LessOrEqual(o.t, s.from, reached, "the checkpoint passes nothing that was not handled")
		overlap += reached - s.from
		for j, position := range s.handled {
			require.Equal(o.t, s.from+uint64(j)+1, position, "%s, epoch %d: in the global order, without a gap", s.owner, s.epoch)
			reached = max(reached, position)
		}
	}
	require.Equal(o.t, events, reached)
	o.t.Logf("%d sessions, %d events, %d handled again", len(o.sessions), events, overlap)
}

// Owners are killed at any moment, and the others take over.
func TestAKilledOwnersSubscriptionGoesOnWhereItWas(t *testing.T) {
	const kills, eventsEach = 4, 60
	path := file(t)
	store := open(t, path, nil)
	o := newOwners(t)
	processes := make(map[string]*ownerProcess)
	for i := range kills + 1 {
		name := fmt.Sprint(i)
		processes[name] = o.start(path, name)
	}
	stored := uint64(0)
	add := func() {
		stored++
		result, err := store.Append(t.Context(), fmt.Sprintf("s-%d", stored%7), eventstore.Any(), event(int(stored)))
		require.NoError(t, err)
		require.Equal(t, eventstore.NewPosition(stored, 0), result.Position)
	}
	for range kills {
		for range eventsEach {
			add()
		}
		owner := o.owner(stored - eventsEach/2).owner // it is in the midst of its work
		victim := processes[owner]
		delete(processes, owner)
		require.NotNil(t, victim, "the owner is alive")
		killed := time.Now()
		victim.kill(t)
		add()
		o.owner(stored)
		require.Less(t, time.Since(killed), ownedTTL+5*time.Second, "taken over within the lease, and what the machine is slow")
	}
	o.check(stored)
	for _, process := range processes {
		process.kill(t)
	}
}
