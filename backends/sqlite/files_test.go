package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// requireGone makes sure that err is definite and ends whatever it meets:
// waiting does not bring a file back, and nothing was written.
func requireGone(t *testing.T, err error, says string) {
	t.Helper()
	require.ErrorContains(t, err, says)
	require.ErrorContains(t, err, "open the store again")
	for _, sentinel := range []error{
		eventstore.ErrInvalid, eventstore.ErrUnknownOutcome, eventstore.ErrUnavailable, eventstore.ErrConflict, eventstore.ErrClosed,
	} {
		require.NotErrorIs(t, err, sentinel)
	}
}

func TestAHandleNoticesThatItsFilesAreGone(t *testing.T) {
	tests := []struct {
		name   string
		happen func(t *testing.T, path string)
		says   string
	}{
		{"the file is renamed", func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".old"))
		}, "renamed or deleted"},
		{"the file is deleted", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
		}, "renamed or deleted"},
		{"another store is renamed over the file", func(t *testing.T, path string) {
			other := file(t)
			require.NoError(t, open(t, other, nil).Close())
			require.NoError(t, os.Rename(other, path))
		}, "replaced by another file"},
		{"a backup is renamed over the file", func(t *testing.T, path string) {
			backup := file(t)
			execute(t, raw(t, path), "VACUUM INTO '"+backup+"'")
			require.NoError(t, os.Rename(backup, path))
		}, "replaced by another file"},
		{"the log is deleted", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path+"-wal"))
		}, `-wal", which is open, was renamed or deleted`},
		{"the log's index is deleted", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path+"-shm"))
		}, `-shm", which is open, was renamed or deleted`},
		{"the folder is renamed", func(t *testing.T, path string) {
			require.NoError(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old"))
		}, "renamed or deleted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			require.NoError(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "events.db")
			store := open(t, path, &sqlite.Options{Poll: 5 * time.Millisecond})
			_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
			require.NoError(t, err)
			info, err := store.Info(t.Context())
			require.NoError(t, err)

			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			live, handled := make(chan struct{}), make(chan struct{}, 1)
			subscribed, ran := make(chan error, 1), make(chan error, 1)
			go func() {
				for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
					if err != nil {
						subscribed <- err
					} else if message.Kind == eventstore.MessageCaughtUp {
						close(live)
					}
				}
			}()
			go func() {
				ran <- store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
					handled <- struct{}{}
					return nil
				}})
			}()
			<-live
			<-handled

			test.happen(t, path)

			_, err = store.Append(ctx, "s-1", eventstore.Exactly(1), event(2))
			requireGone(t, err, test.says)
			requireGone(t, store.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "c", Store: info.ID}), test.says)
			_, err = store.StreamVersion(ctx, "s-1")
			requireGone(t, err, test.says)
			requireGone(t, <-subscribed, test.says)
			requireGone(t, <-ran, test.says)
			_, err = store.Append(ctx, "s-2", eventstore.NoStream(), event(1))
			requireGone(t, err, test.says)
		})
	}
}

func TestWhatAReplacedFileRefusedWasNotWritten(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".old"))
	_, err = store.Append(t.Context(), "s-1", eventstore.Exactly(1), event(2))
	requireGone(t, err, "renamed or deleted")
	require.NoFileExists(t, path, "none is made in its place")
	require.NoError(t, os.Rename(path+".old", path))
	_, err = store.Append(t.Context(), "s-1", eventstore.Exactly(1), event(2))
	requireGone(t, err, "renamed or deleted") // what happened in between is not known
	require.NoError(t, store.Close())
	require.Len(t, collect(t, open(t, path, nil)), 1)
}

// After a failure the writer connects anew, by the file's name.
func TestAWriterThatConnectsAnewDoesNotTakeAnotherFile(t *testing.T) {
	for _, replace := range []bool{false, true} {
		path := file(t)
		store := open(t, path, &sqlite.Options{BusyTimeout: 20 * time.Millisecond})
		release := holdLock(t, path)
		_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
		require.ErrorIs(t, err, eventstore.ErrUnavailable, "the writer's connection ends with this")
		release()
		require.NoError(t, os.Remove(path))
		if replace {
			require.NoError(t, open(t, path, nil).Close()) // in the system's eyes it may be the same file
		}
		_, err = store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
		require.ErrorContains(t, err, "open the store again")
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
		if replace {
			require.Empty(t, collect(t, open(t, path, nil)))
		} else {
			require.NoFileExists(t, path)
		}
	}
}

func TestAFileWithTwoNamesIsRefusedUnderBoth(t *testing.T) {
	path := file(t)
	second := filepath.Join(filepath.Dir(path), "second.db")
	require.NoError(t, open(t, path, nil).Close())
	require.NoError(t, os.Link(path, second))
	for _, name := range []string{path, second} {
		_, err := sqlite.Open(t.Context(), name, nil)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, "is one of 2 names (hard links)")
		require.ErrorContains(t, err, "delete the others")
	}
	require.NoError(t, os.Remove(second))
	open(t, path, nil)
}

func TestASymbolicLinkIsTheFileThatItLeadsTo(t *testing.T) {
	path := file(t)
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	through := open(t, link, nil) // makes the file
	direct := open(t, path, nil)
	_, err := through.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
	_, err = direct.Append(t.Context(), "s-1", eventstore.Exactly(1), event(2))
	require.NoError(t, err)
	require.Equal(t, collect(t, direct), collect(t, through))
	require.Len(t, collect(t, direct), 2)

	other := file(t)
	require.NoError(t, open(t, other, nil).Close())
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(other, link))
	_, err = through.Append(t.Context(), "s-1", eventstore.Exactly(2), event(3))
	requireGone(t, err, "replaced by another file")
	_, err = direct.Append(t.Context(), "s-1", eventstore.Exactly(2), event(3))
	require.NoError(t, err)
}
