package sqlite_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// The system drops a process's locks on a file as soon as the process closes any
// descriptor of it. Another program then takes itself for the file's last user
// and deletes the log, and what is appended from then on goes to a deleted file.
func TestASecondHandleLeavesTheFirstItsLocks(t *testing.T) {
	tests := []struct {
		name   string
		second func(t *testing.T, path string)
	}{
		{"a second handle that stays open", func(t *testing.T, path string) { open(t, path, nil) }},
		{"a second handle that is closed again", func(t *testing.T, path string) {
			require.NoError(t, open(t, path, nil).Close())
		}},
		{"a handle that must not make a file", func(t *testing.T, path string) {
			require.NoError(t, open(t, path, &sqlite.Options{NoCreate: true}).Close())
		}},
		{"an open that fails", func(t *testing.T, path string) {
			execute(t, raw(t, path), "PRAGMA user_version = 99")
			_, err := sqlite.Open(t.Context(), path, nil)
			require.ErrorContains(t, err, "schema 99")
			execute(t, raw(t, path), "PRAGMA user_version = 2")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			first := open(t, path, nil)
			_, err := first.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
			require.NoError(t, err)
			log, err := os.Stat(path + "-wal")
			require.NoError(t, err)
			before := heldLocks(t, path)

			test.second(t, path)

			require.Equal(t, before, heldLocks(t, path), "this process's locks on the file")
			visit(t, path)
			after, err := os.Stat(path + "-wal")
			require.NoError(t, err, "the log is still there")
			require.True(t, os.SameFile(log, after), "the log is still the same")
			_, err = first.Append(t.Context(), "s-1", eventstore.Exactly(1), event(2))
			require.NoError(t, err)
			other := startChild(t, "append", path, "") // counts in streams of its own
			other.begin(t)
			require.True(t, other.out.Scan())
			require.NoError(t, other.Process.Kill())
			require.Error(t, other.Wait())
			require.NoError(t, first.Close())

			var versions []uint64
			for _, event := range collect(t, open(t, path, nil)) {
				if event.Stream == "s-1" {
					versions = append(versions, event.Version)
				}
			}
			require.Equal(t, []uint64{1, 2}, versions, "what was acknowledged")
		})
	}
}

// visit looks into the file as another program: the shell where there is one,
// for the SQLite of this module leaves a log alone whose shared memory is in use.
func visit(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, runChild(t.Context(), "visit", path, ""))
	if shell, err := exec.LookPath("sqlite3"); err == nil {
		out, err := exec.CommandContext(t.Context(), shell, path, "SELECT count(*) FROM events").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}
