package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// commitError is a COMMIT that failed.
type commitError struct{ error }

func (e *commitError) Unwrap() error { return e.error }

// refusedError says which right this process lacks. No sentinel matches it, for
// waiting does not give a right.
type refusedError struct {
	reason string
	cause  error
}

func (e *refusedError) Error() string { return e.reason + ": " + e.cause.Error() }

func (e *refusedError) Unwrap() error { return e.cause }

// mapError turns an error of the driver into one of the contract.
//
// Before COMMIT everything is definite: SQLite takes frames of the log without a
// commit mark for nothing, so a transaction that could not go on has not happened.
//
// A COMMIT that finds the file busy has not started, and was rolled back: that
// is definite too. So is one that finds the disk full. SQLITE_FULL comes from
// writing a frame, and that frame is not whole; frames are written in their
// order, and the commit mark is in the last, behind which nothing is written
// (connect asks for that: psow). What there is of the transaction then has no
// whole commit mark, and no recovery finds one. A full disk may get room again,
// so it is ErrUnavailable: handlers and checkpoints wait for it.
//
// Any other failure of COMMIT is unknown. If the last frame was written and its
// fsync failed, or the log's index could not grow, this process takes the
// transaction for undone; but should the machine stop before another transaction
// has overwritten the frame, the recovery finds it complete. A full disk that the
// system tells of only in fsync is one of these.
func mapError(op string, err error) error {
	if err == nil {
		return nil
	}
	var committing *commitError
	var gone *goneError
	var refused *refusedError
	switch code := primaryCode(err); {
	case errors.As(err, &committing) && code == sqlite3.SQLITE_FULL:
		return fmt.Errorf("sqlite: %s: %w: the disk is full: commit: %w", op, eventstore.ErrUnavailable, committing.error)
	case errors.As(err, &committing) && code != sqlite3.SQLITE_BUSY:
		return fmt.Errorf("sqlite: %s: %w: commit: %w", op, eventstore.ErrUnknownOutcome, committing.error)
	case errors.As(err, &gone), errors.As(err, &refused):
		return fmt.Errorf("sqlite: %s: %w", op, err)
	case code == sqlite3.SQLITE_FULL:
		return fmt.Errorf("sqlite: %s: %w: the disk is full: %w", op, eventstore.ErrUnavailable, err)
	case code == sqlite3.SQLITE_BUSY:
		return fmt.Errorf("sqlite: %s: %w: another process holds the write lock: %w", op, eventstore.ErrUnavailable, err)
	case unavailable(code):
		return fmt.Errorf("sqlite: %s: %w: %w", op, eventstore.ErrUnavailable, err)
	}
	return fmt.Errorf("sqlite: %s: %w", op, err)
}

// unavailable tells whether an error may go away by itself or with an
// administrator's help, while the data is sound. A right that is refused does not
// come by waiting.
func unavailable(code int) bool {
	switch code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// extendedCode returns SQLite's result code in full, or SQLITE_OK for an error
// of another origin. It takes any error with a code for the driver's
// (*sqlite.Error), which a test could not make.
func extendedCode(err error) int {
	var coded interface {
		error
		Code() int
	}
	if !errors.As(err, &coded) {
		return sqlite3.SQLITE_OK
	}
	return coded.Code()
}

// primaryCode is the part of the code that says what is wrong, not where.
func primaryCode(err error) int { return extendedCode(err) & 0xff }

func isUnique(err error) bool { return extendedCode(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE }

// isBusy tells whether to try again soon: the file is locked, or another process
// is recovering its log (SQLITE_BUSY_RECOVERY, SQLITE_PROTOCOL).
func isBusy(err error) bool {
	if gone := (*goneError)(nil); errors.As(err, &gone) {
		return false
	}
	code := primaryCode(err)
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_PROTOCOL
}

const busyPause = 2 * time.Millisecond

// retryBusy calls again while the file is busy, for as long as patience and ctx
// allow. It is not for transactions.
func retryBusy[T any](ctx context.Context, patience time.Duration, call func() (T, error)) (T, error) {
	until := time.Now().Add(patience)
	result, err := call()
	for isBusy(err) && time.Now().Before(until) {
		pause := time.NewTimer(busyPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return result, ctx.Err()
		case <-pause.C:
		}
		result, err = call()
	}
	return result, err
}
