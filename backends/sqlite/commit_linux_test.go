package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A COMMIT that the operating system does not let finish is an unknown outcome,
// and appending the same events again settles it. The disk that refuses is a
// limit on the size of files, which needs a process of its own.
func TestAFailedCommitIsUnknownAndRepeatingItSettlesIt(t *testing.T) {
	path := file(t)
	victim := startChild(t, "commit", path, "")
	victim.begin(t)
	for victim.out.Scan() {
		t.Log(victim.out.Text())
	}
	require.NoError(t, victim.Wait())
	all := collect(t, open(t, path, nil))
	require.Len(t, all, 2)
	for i, event := range all {
		require.Equal(t, uint64(i+1), event.Version)
		require.Equal(t, numbered("s-1", event.Version).ID, event.ID)
	}
}

func childCommits(ctx context.Context, _ *eventstore.Store, _ string) error {
	path := os.Args[1]
	backend, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	store, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1})
	if err != nil {
		return err
	}
	defer store.Close()
	if _, err := store.Append(ctx, "s-1", eventstore.NoStream(), numbered("s-1", 1)); err != nil {
		return err
	}
	log, err := os.Stat(path + "-wal")
	if err != nil {
		return err
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	tight := syscall.Rlimit{Cur: uint64(log.Size()) + 100, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &tight); err != nil {
		return err
	}
	_, failed := store.Append(ctx, "s-1", eventstore.Exactly(1), numbered("s-1", 2))
	fmt.Println("with the limit:", failed)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	if !errors.Is(failed, eventstore.ErrUnknownOutcome) {
		return fmt.Errorf("the failed commit is no unknown outcome: %w", failed)
	}
	result, err := store.Append(ctx, "s-1", eventstore.Exactly(1), numbered("s-1", 2))
	if err != nil || result.Version != 2 {
		return fmt.Errorf("repeated: version %d, %w", result.Version, err)
	}
	return nil
}
