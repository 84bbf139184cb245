package sqlite

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// leadsTo tells whether a path leads to a file that is open.
//
// It asks for the inode alone. Whoever asks for a file's times, as stat does, makes
// Linux 6.13 and later give the next write a time of its own, which the next flush
// must then write to the disk too: a commit took a third longer.
func leadsTo(path string, opened fs.FileInfo) (bool, error) {
	stat, ok := opened.Sys().(*syscall.Stat_t)
	if !ok {
		return leadsToByStat(path, opened)
	}
	var found unix.Statx_t
	for {
		err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO, &found)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, &os.PathError{Op: "statx", Path: path, Err: err}
		}
		return found.Ino == stat.Ino && unix.Mkdev(found.Dev_major, found.Dev_minor) == uint64(stat.Dev), nil //nolint:unconvert // its width depends on the processor
	}
}
