//go:build unix

package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestPathsAreRefusedFromTheLengthThatSQLiteCannotUse(t *testing.T) {
	for length, ok := range map[int]bool{504: true, 505: false, 600: false} {
		dir := t.TempDir()
		for len(dir) < length-200 {
			dir = filepath.Join(dir, strings.Repeat("d", 100))
		}
		dir = filepath.Join(dir, strings.Repeat("e", length-len(dir)-len("/")-len("/a.db")))
		require.NoError(t, os.MkdirAll(dir, 0o700))
		path := filepath.Join(dir, "a.db")
		require.Len(t, path, length)
		backend, err := sqlite.Open(t.Context(), path, nil)
		if ok {
			require.NoError(t, err)
			require.NoError(t, backend.Close())
			continue
		}
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, "is too long")
	}
}
