package sqlite_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// holdFile keeps everybody else out of the file, readers too.
func holdFile(t *testing.T, path string) (release func()) {
	t.Helper()
	db := raw(t, path)
	db.SetMaxOpenConns(1)
	execute(t, db, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT")
	return func() { require.NoError(t, db.Close()) }
}

// What takes longer than this has waited for the file (5 s) and not for the context.
const wellBeforeTheLock = 3 * time.Second

func TestOpenKeepsItsDeadlineWhileAnotherProgramHoldsTheFile(t *testing.T) {
	tests := []struct {
		name string
		hold func(t *testing.T, path string)
	}{
		{"a store that a program has for itself", func(t *testing.T, path string) {
			require.NoError(t, open(t, path, nil).Close())
			holdFile(t, path)
		}},
		{"a file that is being made", func(t *testing.T, path string) { holdFile(t, path) }},
		{"an empty file that is being written", func(t *testing.T, path string) {
			holdLock(t, path)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			test.hold(t, path)
			start := time.Now()

			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			_, err := sqlite.Open(ctx, path, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, eventstore.ErrUnavailable)

			ctx, interrupt := context.WithCancel(t.Context())
			time.AfterFunc(150*time.Millisecond, interrupt)
			_, err = sqlite.Open(ctx, path, nil)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, eventstore.ErrUnavailable)

			require.Less(t, time.Since(start), wellBeforeTheLock)
		})
	}
}

// After a failure the writer connects anew, which may have to wait as well.
func TestAnAppendThatMustReconnectKeepsItsDeadlineAndItsPatience(t *testing.T) {
	path := file(t)
	store := open(t, path, &sqlite.Options{BusyTimeout: time.Second})
	release := holdLock(t, path)
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.ErrorIs(t, err, eventstore.ErrUnavailable, "the writer's connection ends with this")
	release()

	letIn := holdFile(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = store.Append(ctx, "s-1", eventstore.NoStream(), event(1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)

	time.AfterFunc(300*time.Millisecond, letIn)
	_, err = store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
}

// A change whose caller left while it waited for the lock is not made later.
func TestAChangeThatWasGivenUpIsNotMadeLater(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	release := holdLock(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, store.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "c", Store: info.ID}), context.DeadlineExceeded)
	release()
	_, err = store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1)) // takes its turn at the writer
	require.NoError(t, err)
	_, ok, err := store.LoadCheckpoint(t.Context(), "c")
	require.NoError(t, err)
	require.False(t, ok)
}
