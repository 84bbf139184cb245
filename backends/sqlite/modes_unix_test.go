//go:build unix

package sqlite_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A new file belongs to its owner alone, as exports do; SQLite would let the
// world read it. A file that is there keeps the rights that it was given.
func TestNewFilesAreTheirOwnersAlone(t *testing.T) {
	umask := syscall.Umask(0)
	defer syscall.Umask(umask)
	tests := []struct {
		name, file string
		prepare    func(t *testing.T, path string)
		want       os.FileMode
	}{
		{"a new file", "events.db", func(*testing.T, string) {}, 0o600},
		{"a new file with a name that URIs escape", "a b+c&mode=memory?#%.db", func(*testing.T, string) {}, 0o600},
		{"an empty file", "events.db", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, nil, 0o660))
		}, 0o660},
		{"a store that was given to a group", "events.db", func(t *testing.T, path string) {
			require.NoError(t, open(t, path, nil).Close())
			require.NoError(t, os.Chmod(path, 0o660))
		}, 0o660},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a b+c&d")
			require.NoError(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, test.file)
			test.prepare(t, path)
			store := open(t, path, nil)
			_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
			require.NoError(t, err)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			names := make([]string, 0, len(entries))
			for _, entry := range entries {
				info, err := entry.Info()
				require.NoError(t, err)
				require.Equal(t, test.want, info.Mode(), entry.Name())
				names = append(names, entry.Name())
			}
			require.Equal(t, []string{test.file, test.file + "-shm", test.file + "-wal"}, names, "and nothing else is left")
		})
	}
}
