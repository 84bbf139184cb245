package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/google/uuid"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// files are those that a handle's connections work on. SQLite finds a file by its
// name when it connects, and from then on holds on to what it found, whatever
// becomes of the name. A handle whose file was renamed or replaced would go on
// in the old one, and one whose log was deleted would commit to nowhere; so the
// handle looks whether the names still lead to what it has open.
//
// It asks for attributes and never opens a file: closing any descriptor of a
// file ends all POSIX locks that the process holds on it, those of SQLite on
// behalf of other handles included.
type files struct {
	path     string      // absolute
	database fs.FileInfo // what is open; nil until a file that was not there is made
	store    uuid.UUID   // the identity in it; uuid.Nil until it is known
	readOnly bool        // this process may not write the database

	mu          sync.Mutex
	connections int
	open        companions // while there are connections
	gone        atomic.Pointer[goneError]
}

// companions are what SQLite keeps beside a database, from the first connection
// of any process to the last.
type companions struct {
	paths [2]string      // of the log and of its index
	infos [2]fs.FileInfo // nil for a database without a log, which can only be read
}

// goneError says that a handle's files are not those of the store any more. It
// is no ErrUnavailable, for waiting does not bring them back.
type goneError struct{ reason string }

func (e *goneError) Error() string {
	return e.reason + "; SQLite goes on in the old file, where nobody finds what is written: close every handle of this process on it, and open the store again"
}

// findFiles makes a path absolute, so that a later change of the working
// directory does not move the store, and refuses what SQLite answers in riddles.
func findFiles(path string) (*files, error) {
	absolute, info, err := checkPath(path)
	if err != nil {
		return nil, err
	}
	if info != nil {
		if n := links(info); n > 1 {
			return nil, &eventstore.InvalidError{Field: "path", Reason: fmt.Sprintf("%q is one of %d names (hard links) of the same file, and each name would get a log of its own: close all programs that use it, keep the name that has a -wal file beside it, if any, and delete the others", path, n)}
		}
	}
	return &files{path: absolute, database: info}, nil
}

// longestSuffix is the longest of what SQLite puts behind the name of a database.
const longestSuffix = "-journal"

// checkPath returns the absolute path and the file's attributes, nil where there
// is no file.
func checkPath(path string) (string, fs.FileInfo, error) {
	invalid := func(reason string) (string, fs.FileInfo, error) {
		return "", nil, &eventstore.InvalidError{Field: "path", Reason: fmt.Sprintf("%q %s", path, reason)}
	}
	switch {
	case path == "":
		return invalid("is empty; name a file, such as orders.db")
	case path == ":memory:" || strings.HasPrefix(path, "file:"):
		return invalid("is not the path of a file; for a store in memory use the memory backend (memory:)")
	case strings.ContainsRune(path, 0):
		return invalid("contains a NUL byte")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", nil, fmt.Errorf("sqlite: open: %w", err)
	}
	if n := len(absolute) + len(longestSuffix); n > longestPath {
		return invalid(fmt.Sprintf("is too long: as an absolute path, with the %s that SQLite may put behind it, it has %d bytes, and SQLite takes %d", longestSuffix, n, longestPath))
	}
	if _, err := os.Stat(absolute + longestSuffix); errors.Is(err, syscall.ENAMETOOLONG) {
		return invalid("is too long for the file system, with the " + longestSuffix + " that SQLite may put behind it; shorten it to " + strconv.Itoa(255-len(longestSuffix)) + " bytes")
	}
	info, err := os.Stat(absolute)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(absolute)); err != nil {
			return invalid("is in a directory that does not exist; make it first")
		}
		return absolute, nil, nil
	case errors.Is(err, fs.ErrPermission):
		return "", nil, fmt.Errorf("sqlite: open: %w", err)
	case err != nil:
		return "", nil, fmt.Errorf("sqlite: open: %w: %w", eventstore.ErrUnavailable, err)
	case info.IsDir():
		return invalid("is a directory; name a file in it, such as " + filepath.Join(path, "events.db"))
	case !info.Mode().IsRegular():
		return invalid("is not a regular file")
	}
	return absolute, info, nil
}

// isEmpty tells whether there is no file, or an empty one as SQLite makes before
// the first write.
func (f *files) isEmpty() bool { return f.database == nil || f.database.Size() == 0 }

// knownGone returns what an earlier look has found.
func (f *files) knownGone() error {
	if gone := f.gone.Load(); gone != nil {
		return gone
	}
	return nil
}

// lookAtDatabase makes sure that the path leads to the database that is open, if
// any is yet.
func (f *files) lookAtDatabase() error {
	if err := f.knownGone(); err != nil || f.database == nil {
		return err
	}
	return f.look(f.path, f.database)
}

// look makes sure that a path leads to a file that is open. What is found gone
// stays so: the handle's connections are no longer to be trusted.
func (f *files) look(path string, opened fs.FileInfo) error {
	same, err := leadsTo(path, opened)
	gone := &goneError{}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		gone.reason = fmt.Sprintf("%q, which is open, was renamed or deleted", path)
	case err != nil:
		return fmt.Errorf("look whether it is still the same file: %w", err)
	case same:
		return nil
	default:
		gone.reason = fmt.Sprintf("%q, which is open, was replaced by another file", path)
	}
	f.gone.CompareAndSwap(nil, gone)
	return gone
}

// leadsToByStat is leadsTo by what every system has.
func leadsToByStat(path string, opened fs.FileInfo) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(opened, info), err
}

// attach counts a connection that has read the database, and so has it and its
// companions open. It returns the companions.
func (f *files) attach() (companions, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.database == nil {
		info, err := os.Stat(f.path)
		if err != nil {
			return companions{}, err
		}
		f.database = info
	}
	if err := f.lookAtDatabase(); err != nil {
		return companions{}, err
	}
	if f.connections == 0 {
		found, err := f.findCompanions()
		if err != nil {
			return companions{}, err
		}
		f.open = found
	}
	if err := f.lookAtAll(f.open); err != nil {
		return companions{}, err
	}
	f.connections++
	return f.open, nil
}

// detach takes a connection from the count, before it is closed: the last one of
// all processes to close deletes the companions.
func (f *files) detach() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connections--
}

// findCompanions finds them where SQLite keeps them, beside the file that the
// path leads to in the end.
func (f *files) findCompanions() (companions, error) {
	resolved, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return companions{}, err
	}
	var found companions
	for i, suffix := range [...]string{"-wal", "-shm"} {
		found.paths[i] = resolved + suffix
		found.infos[i], err = os.Stat(found.paths[i])
		switch absent := errors.Is(err, fs.ErrNotExist); {
		case absent && f.readOnly:
			found.infos[i] = nil
		case absent:
			return companions{}, &goneError{fmt.Sprintf("%q was deleted while this or another process has the store open", found.paths[i])}
		case err != nil:
			return companions{}, err
		}
	}
	return found, nil
}

// explain says what SQLite does not: that it could not open the database, or make or open
// the files beside it, for want of a right.
func (f *files) explain(err error) error {
	switch primaryCode(err) {
	case sqlite3.SQLITE_READONLY:
		return &refusedError{fmt.Sprintf("%q needs to be written, or its log does, before it can be read", f.path), fmt.Errorf("%w: %w", fs.ErrPermission, err)}
	case sqlite3.SQLITE_CANTOPEN:
		if denied := mayNotRead(f.path); denied != nil {
			return &refusedError{fmt.Sprintf("%q cannot be read", f.path), fmt.Errorf("%w: %w", denied, err)}
		}
		if denied := mayNotWrite(filepath.Dir(f.path)); denied != nil {
			return &refusedError{fmt.Sprintf("SQLite keeps a log beside %q, and its directory cannot be written", f.path), fmt.Errorf("%w: %w", denied, err)}
		}
	}
	return err
}

// lookAtAll makes sure that the database and its companions are those that are open.
func (f *files) lookAtAll(open companions) error {
	if err := f.lookAtDatabase(); err != nil {
		return err
	}
	for i, path := range open.paths {
		if open.infos[i] == nil {
			continue
		}
		if err := f.look(path, open.infos[i]); err != nil {
			return err
		}
	}
	return nil
}
