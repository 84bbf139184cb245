package sqlite_test

import (
	"net/url"
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

func TestAFreshStoreBesideALongNameHasAShortOne(t *testing.T) {
	for _, letter := range []string{"n", "é", "深"} {
		name := strings.Repeat(letter, 240/len(letter))
		fresh, remove, err := sqlite.Beside(&url.URL{Scheme: "sqlite", OmitHost: true, Path: filepath.Join(t.TempDir(), name)})
		require.NoError(t, err)
		backend, err := sqlite.OpenURL(t.Context(), fresh)
		require.NoError(t, err)
		require.NoError(t, backend.Close())
		require.NoError(t, remove())
	}
}
