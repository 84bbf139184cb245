package sqlitetest_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/backends/sqlite/sqlitetest"
)

func TestAnIsolatedStoreIsAFreshFileThatLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, given := range []string{
		"sqlite:a%20b%3F.db?poll=1s",
		"sqlite:a%20b%3F.db?poll=1s&create=off", // of the given store; a fresh one has to be made
		"sqlite:" + dir + "/a%20b%3F.db?poll=1s",
		"sqlite://" + dir + "/a%20b%3F.db?poll=1s",
	} {
		u, err := url.Parse(given)
		require.NoError(t, err)
		isolated, err := sqlitetest.Isolate(t.Context(), u)
		require.NoError(t, err)
		again, err := url.Parse(isolated.URL)
		require.NoError(t, err)
		other, err := sqlite.OpenURL(t.Context(), again) // as another process would
		require.NoError(t, err)
		require.Equal(t, "1s", other.Capabilities().PollInterval.String())
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		require.NoFileExists(t, filepath.Join(dir, "a b?.db"))
		polling, err := isolated.OpenPolling(t.Context())
		require.NoError(t, err)
		require.Equal(t, "20ms", polling.Capabilities().PollInterval.String())
		require.NoError(t, polling.Close())
		require.NoError(t, other.Close())
		require.NoError(t, isolated.Remove(t.Context()))
		files, err = os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, files)
	}
}

func TestAFreshStoreBesideALongNameHasAShortOne(t *testing.T) {
	for _, letter := range []string{"n", "é", "深"} {
		name := strings.Repeat(letter, 240/len(letter))
		isolated, err := sqlitetest.Isolate(t.Context(), &url.URL{Scheme: "sqlite", OmitHost: true, Path: filepath.Join(t.TempDir(), name)})
		require.NoError(t, err)
		backend, err := isolated.Open(t.Context())
		require.NoError(t, err)
		require.NoError(t, backend.Close())
		require.NoError(t, isolated.Remove(t.Context()))
	}
}
