//go:build unix

package sqlite

import (
	"io/fs"
	"syscall"
)

// longestPath is what SQLite takes, MAX_PATHNAME of its Unix files.
const longestPath = 512

// links returns how many names a file has.
func links(info fs.FileInfo) uint64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(stat.Nlink) //nolint:unconvert // its width depends on the system
}
