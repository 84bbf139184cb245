package sqlite_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// heldLocks returns the kernel's list of this process's locks on the database
// file and on its shared memory, without the numbers that it gives them.
func heldLocks(t *testing.T, path string) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/locks")
	require.NoError(t, err)
	var held []string
	for _, suffix := range []string{"", "-shm"} {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err)
		stat, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		inode := fmt.Sprintf(":%d", stat.Ino)
		for line := range strings.Lines(string(table)) {
			// 1: POSIX  ADVISORY  READ  4242 fe:00:1234 1073741826 1073742335
			fields := strings.Fields(line)
			if len(fields) == 8 && fields[4] == fmt.Sprint(os.Getpid()) && strings.HasSuffix(fields[5], inode) {
				held = append(held, suffix+" "+strings.Join(fields[1:4], " ")+" "+strings.Join(fields[6:], " "))
			}
		}
	}
	require.NotEmpty(t, held, "an open store holds locks")
	return held
}
