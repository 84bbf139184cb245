package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/switchyard-dev/switchyard/eventstore"
)

type coded int

func (c coded) Error() string { return fmt.Sprintf("driver error %d", int(c)) }

func (c coded) Code() int { return int(c) }

func TestErrorsAreMapped(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want error // nil: none of the contract's
	}{
		{"a busy file before COMMIT", coded(sqlite3.SQLITE_BUSY), eventstore.ErrUnavailable},
		{"another process recovering the log", coded(sqlite3.SQLITE_BUSY_RECOVERY), eventstore.ErrUnavailable},
		{"an outdated snapshot", coded(sqlite3.SQLITE_BUSY_SNAPSHOT), eventstore.ErrUnavailable},
		{"a race for the log's locks", coded(sqlite3.SQLITE_PROTOCOL), eventstore.ErrUnavailable},
		{"a locked table", coded(sqlite3.SQLITE_LOCKED), eventstore.ErrUnavailable},
		{"a full disk before COMMIT", coded(sqlite3.SQLITE_FULL), eventstore.ErrUnavailable},
		{"a failed write before COMMIT", coded(sqlite3.SQLITE_IOERR_WRITE), eventstore.ErrUnavailable},
		{"a failed read", coded(sqlite3.SQLITE_IOERR_READ), eventstore.ErrUnavailable},
		{"no memory", coded(sqlite3.SQLITE_NOMEM), eventstore.ErrUnavailable},
		{"an interrupt", coded(sqlite3.SQLITE_INTERRUPT), eventstore.ErrUnavailable},
		{"a file that cannot be opened", coded(sqlite3.SQLITE_CANTOPEN), eventstore.ErrUnavailable},
		{"a file that turned read-only", coded(sqlite3.SQLITE_READONLY), nil},
		{"a directory that turned read-only", coded(sqlite3.SQLITE_READONLY_DIRECTORY), nil},
		{"a refused right", coded(sqlite3.SQLITE_PERM), nil},
		{"a right that the directory refuses", &refusedError{"no log", errors.Join(fs.ErrPermission, coded(sqlite3.SQLITE_CANTOPEN))}, nil},
		{"a malformed file", coded(sqlite3.SQLITE_CORRUPT), nil},
		{"not a database", coded(sqlite3.SQLITE_NOTADB), nil},
		{"a constraint", coded(sqlite3.SQLITE_CONSTRAINT_CHECK), nil},
		{"too big", coded(sqlite3.SQLITE_TOOBIG), nil},

		{"COMMIT finds the file busy", &commitError{coded(sqlite3.SQLITE_BUSY)}, eventstore.ErrUnavailable},
		{"COMMIT finds the disk full", &commitError{coded(sqlite3.SQLITE_FULL)}, eventstore.ErrUnavailable},
		{"COMMIT cannot write", &commitError{coded(sqlite3.SQLITE_IOERR_WRITE)}, eventstore.ErrUnknownOutcome},
		{"COMMIT cannot extend the log's index", &commitError{coded(sqlite3.SQLITE_IOERR_SHMSIZE)}, eventstore.ErrUnknownOutcome},
		{"the file goes away during COMMIT", &commitError{&goneError{"renamed"}}, eventstore.ErrUnknownOutcome},
		{"the file is gone before COMMIT", &goneError{"renamed"}, nil},
		{"the file is gone, and so reading failed", errors.Join(&goneError{"renamed"}, coded(sqlite3.SQLITE_IOERR)), nil},
		{"COMMIT cannot flush", &commitError{coded(sqlite3.SQLITE_IOERR_FSYNC)}, eventstore.ErrUnknownOutcome},
		{"COMMIT has no memory", &commitError{coded(sqlite3.SQLITE_NOMEM)}, eventstore.ErrUnknownOutcome},
		{"COMMIT finds the file malformed", &commitError{coded(sqlite3.SQLITE_CORRUPT)}, eventstore.ErrUnknownOutcome},
		{"COMMIT fails outside SQLite", &commitError{errors.New("driver")}, eventstore.ErrUnknownOutcome},

		{"an error outside SQLite", errors.New("other"), nil},
	}
	sentinels := []error{
		eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrUnknownOutcome, eventstore.ErrUnsupported,
		eventstore.ErrClosed, eventstore.ErrUnavailable, eventstore.ErrForeignCheckpoint, eventstore.ErrCheckpointAhead,
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// As it comes: wrapped, and joined with what closing made of it.
			got := mapError("append", errors.Join(fmt.Errorf("insert: %w", test.err), nil))
			for _, sentinel := range sentinels {
				require.Equal(t, errors.Is(test.want, sentinel), errors.Is(got, sentinel), "%v is %v", got, sentinel)
			}
			var driver coded
			if errors.As(test.err, &driver) {
				require.ErrorIs(t, got, driver)
			}
		})
	}
	require.NoError(t, mapError("append", nil))
}
