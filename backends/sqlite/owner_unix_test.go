//go:build unix

package sqlite_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// An owner that was paused for longer than its lease wakes and still thinks that it
// is the owner. It cannot save, and waits until its turn comes again.
func TestAPausedOwnerThatWakesCannotSaveAndWaits(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	o := newOwners(t)
	stored := uint64(0)
	add := func() session {
		stored++
		_, err := store.Append(t.Context(), "s-1", eventstore.Any(), event(int(stored)))
		require.NoError(t, err)
		return o.owner(stored)
	}

	paused := o.start(path, "paused")
	require.Equal(t, "paused", add().owner)
	next := o.start(path, "next")
	for range 5 { // a checkpoint is saved at the fourth event, and the next two are not
		require.Equal(t, "paused", add().owner)
	}
	stopped := time.Now()
	require.NoError(t, paused.Process.Signal(syscall.SIGSTOP))
	took := add()
	require.Equal(t, "next", took.owner)
	require.LessOrEqual(t, took.from, uint64(6), "it goes on after what was saved")
	require.Less(t, time.Since(stopped), ownedTTL+5*time.Second, "taken over within the lease, and what the machine is slow")
	for range 5 {
		require.Equal(t, "next", add().owner)
	}

	require.NoError(t, paused.Process.Signal(syscall.SIGCONT))
	o.await("the owner that woke is refused", func(sessions []*session) bool {
		return slices.ContainsFunc(sessions, func(s *session) bool { return s.owner == "paused" && s.refused })
	})
	require.Equal(t, "next", add().owner)
	next.kill(t)
	again := add()
	require.Equal(t, "paused", again.owner, "it has waited for its turn")
	require.Greater(t, again.epoch, took.epoch)
	o.check(stored)
	paused.kill(t)
}
