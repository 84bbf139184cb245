//go:build unix

package sqlite

import (
	"errors"
	"io/fs"
	"os"
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

// mayNotWrite tells why files cannot be made in a directory, or nil.
func mayNotWrite(dir string) error {
	const writeAndSearch = 0x2 | 0x1 // W_OK|X_OK
	if err := syscall.Access(dir, writeAndSearch); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// mayNotRead tells whether a file cannot be read for want of a right, without opening it.
func mayNotRead(path string) error {
	const read = 0x4 // R_OK
	if err := syscall.Access(path, read); errors.Is(err, fs.ErrPermission) {
		return &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return nil
}

// privateModel makes a file that its owner alone may read, for SQLite to take the
// mode of a new database from. Making the database here and closing it would end
// the locks of whoever else in this process has opened it by then.
func privateModel(dir string) (path string, remove func(), err error) {
	model, err := os.CreateTemp(dir, ".switchyard-mode-*")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.Remove(model.Name()) }
	if err := model.Close(); err != nil {
		remove()
		return "", nil, err
	}
	return model.Name(), remove, nil
}
