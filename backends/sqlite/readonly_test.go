package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// forbidWriting takes the right to write a file or a folder, even from root.
func forbidWriting(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, info.Mode().Perm()&^0o222))
	t.Cleanup(func() { require.NoError(t, os.Chmod(path, info.Mode().Perm())) })
	if os.Geteuid() == 0 {
		makeImmutable(t, path)
	}
}

// oneEvent makes a store with one event in a folder of its own.
func oneEvent(t *testing.T) (path string, store *eventstore.Store) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path = filepath.Join(dir, "events.db")
	store = open(t, path, nil)
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
	return path, store
}

func TestAFileThatMayOnlyBeReadIsReadWhereSQLiteCan(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T) (path string)
	}{
		{"a file that may not be written, in a folder that may", func(t *testing.T) string {
			path, store := oneEvent(t)
			require.NoError(t, store.Close())
			forbidWriting(t, path)
			return path
		}},
		{"a store that another program has open", func(t *testing.T) string {
			path, _ := oneEvent(t)
			forbidWriting(t, path)
			forbidWriting(t, filepath.Dir(path))
			return path
		}},
		{"a backup, as on read-only media", func(t *testing.T) string {
			path, _ := oneEvent(t)
			backup := filepath.Join(t.TempDir(), "media", "backup.db")
			require.NoError(t, os.Mkdir(filepath.Dir(backup), 0o700))
			db := raw(t, path)
			execute(t, db, "VACUUM INTO '"+backup+"'")
			require.NoError(t, db.Close())
			forbidWriting(t, backup)
			forbidWriting(t, filepath.Dir(backup))
			return backup
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := test.prepare(t)
			_, err := sqlite.Open(t.Context(), path, nil)
			require.ErrorIs(t, err, os.ErrPermission, "who means to write is told at once")
			require.ErrorContains(t, err, "cannot be written")
			require.NotErrorIs(t, err, eventstore.ErrUnavailable, "waiting does not give a right")

			store := open(t, path, &sqlite.Options{NoCreate: true, Readers: 2, Poll: 5 * time.Millisecond})
			require.Len(t, collect(t, store), 1)
			for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
				require.NoError(t, err)
				if message.Kind == eventstore.MessageCaughtUp {
					break
				}
			}
			_, err = store.Append(t.Context(), "s-1", eventstore.Exactly(1), event(2))
			require.ErrorIs(t, err, os.ErrPermission)
			require.ErrorContains(t, err, "cannot be written")
			for _, sentinel := range []error{eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrInvalid} {
				require.NotErrorIs(t, err, sentinel)
			}
			require.Error(t, store.DeleteCheckpoint(t.Context(), "c"))
			require.Len(t, collect(t, store), 1)
		})
	}
}

// Without a log there is nothing that a reader could follow, and it may not make one.
func TestAStoreWhoseFolderMayNotBeWrittenSaysSo(t *testing.T) {
	path, store := oneEvent(t)
	require.NoError(t, store.Close())
	forbidWriting(t, filepath.Dir(path))
	for _, opts := range []*sqlite.Options{nil, {NoCreate: true}} {
		_, err := sqlite.Open(t.Context(), path, opts)
		require.ErrorIs(t, err, os.ErrPermission)
		require.ErrorContains(t, err, "its directory cannot be written")
		require.NotContains(t, err.Error(), "\n", "an error is one line of a log")
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	}
	_, err := sqlite.Open(t.Context(), filepath.Join(filepath.Dir(path), "new.db"), nil)
	require.ErrorIs(t, err, os.ErrPermission)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}
