//go:build unix

package testservers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatTheCacheFolderLacksIsBroughtOnce(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "cache", "lock")
	brought := 0
	there := func() bool { return brought > 0 }
	failure := errors.New("no network")
	require.ErrorIs(t, once(t.Context(), lock, there, func(*os.File) error { return failure }), failure)
	for range 3 {
		require.NoError(t, once(t.Context(), lock, there, func(held *os.File) error {
			require.Equal(t, lock, held.Name())
			brought++
			// Another process, which would find it there, waits as long as it is given.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := once(ctx, lock, there, func(*os.File) error { return errors.New("beside the first one") })
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, lock)
			return nil
		}))
	}
	require.Equal(t, 1, brought)
}
