package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A name must leave room for those of the files beside it.
func TestNamesAreRefusedFromTheLengthThatSQLiteCannotUse(t *testing.T) {
	for length, ok := range map[int]bool{230: true, 247: true, 248: false, 255: false, 256: false} {
		path := filepath.Join(t.TempDir(), strings.Repeat("n", length))
		backend, err := sqlite.Open(t.Context(), path, nil)
		if ok {
			require.NoError(t, err, length)
			require.NoError(t, backend.Close())
			continue
		}
		require.ErrorIs(t, err, eventstore.ErrInvalid, length)
		require.ErrorContains(t, err, "is too long")
		require.ErrorContains(t, err, "-journal")
	}
}
