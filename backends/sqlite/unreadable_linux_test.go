package sqlite_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAFileThatMayNotBeReadIsNoOutage(t *testing.T) {
	path, store := oneEvent(t)
	require.NoError(t, store.Close())
	require.NoError(t, os.Chmod(path, 0))
	dir := path
	for range 3 { // the test's own folders are no hindrance
		dir = filepath.Dir(dir)
		require.NoError(t, os.Chmod(dir, 0o777))
	}
	opened := make(chan error)
	go func() {
		if os.Geteuid() == 0 { // whom no mode keeps out, so this thread becomes nobody, and ends with its goroutine
			const nobody = 65534
			runtime.LockOSThread()
			if _, _, failed := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); failed != 0 {
				opened <- failed
				return
			}
		}
		_, err := sqlite.Open(t.Context(), path, nil)
		opened <- err
	}()
	err := <-opened
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "cannot be read")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable, "waiting does not give a right")
}
