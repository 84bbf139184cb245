package eventstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// The errors of the contract, for errors.Is. Facts are in the error types of
// this package, for errors.As, and so is the driver's own error.
var (
	// ErrInvalid: the caller's input broke a rule; nothing was sent. See [InvalidError].
	ErrInvalid = errors.New("invalid input")
	// ErrConflict: the stream was not at the expected version; nothing was
	// written. See [ConflictError].
	ErrConflict = errors.New("version conflict")
	// ErrEventIDReused: an event ID is in the stream already, and this append is
	// not a repetition of the one that stored it; nothing was written. See
	// [EventIDReusedError].
	ErrEventIDReused = errors.New("event ID reused")
	// ErrUnknownOutcome: the append may or may not have been stored. Appending
	// the same events with the same IDs again settles it.
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrUnsupported: the backend declares that it cannot do this. See [UnsupportedError].
	ErrUnsupported = errors.New("not supported by this backend")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrUnavailable: the backend could not be reached or could not serve the
	// call; an append that failed so was not stored. Trying again may help.
	ErrUnavailable = errors.New("backend unavailable")
	// ErrForeignCheckpoint: the checkpoint belongs to another store. See
	// [ForeignCheckpointError].
	ErrForeignCheckpoint = errors.New("checkpoint of another store")
	// ErrCheckpointAhead: the checkpoint lies after the store's last event. See
	// [CheckpointAheadError].
	ErrCheckpointAhead = errors.New("checkpoint ahead of the store")
)

// InvalidError says which field of the input broke which rule. It matches ErrInvalid.
type InvalidError struct {
	// Field names the input, such as "stream" or "events[2].type".
	Field string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *InvalidError) Error() string { return "invalid " + e.Field + ": " + e.Reason }

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// ConflictError carries the facts of a failed expectation. It matches ErrConflict.
type ConflictError struct {
	Stream   string
	Expected ExpectedVersion
	// Actual is the stream's version when the expectation was checked.
	Actual uint64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("version conflict on stream %q: expected %s, but it is at %d; read on from there and decide again", e.Stream, e.Expected, e.Actual)
}

// Unwrap makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// EventIDReusedError names the event whose ID was met again. It matches ErrEventIDReused.
type EventIDReusedError struct {
	Stream string
	ID     uuid.UUID
	// Reason says in what the append differs from a repetition.
	Reason string
}

func (e *EventIDReusedError) Error() string {
	return fmt.Sprintf("event ID %s reused in stream %q: %s; give every new event an ID of its own", e.ID, e.Stream, e.Reason)
}

// Unwrap makes errors.Is(err, ErrEventIDReused) true.
func (e *EventIDReusedError) Unwrap() error { return ErrEventIDReused }

// UnsupportedError says what the backend cannot do, and why. It matches ErrUnsupported.
type UnsupportedError struct {
	// Feature is the name of the capability.
	Feature string
	// Reason is the backend's declared one.
	Reason string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported by this backend: %s", e.Feature, e.Reason)
}

// Unwrap makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

// ForeignCheckpointError says whose checkpoint it was. It matches ErrForeignCheckpoint.
type ForeignCheckpointError struct {
	Name string
	// Checkpoint and Store are the identities of the checkpoint's store and of this one.
	Checkpoint, Store uuid.UUID
}

func (e *ForeignCheckpointError) Error() string {
	return fmt.Sprintf("checkpoint %q belongs to store %s, and this is store %s; delete the checkpoint to start anew here", e.Name, e.Checkpoint, e.Store)
}

// Unwrap makes errors.Is(err, ErrForeignCheckpoint) true.
func (e *ForeignCheckpointError) Unwrap() error { return ErrForeignCheckpoint }

// CheckpointAheadError says how far ahead a checkpoint lies. It matches ErrCheckpointAhead.
type CheckpointAheadError struct {
	Name           string
	Position, Head Position
}

func (e *CheckpointAheadError) Error() string {
	return fmt.Sprintf("checkpoint %q at position %s is ahead of the store's last event at %s: events were lost or an older copy was restored; delete the checkpoint to start anew", e.Name, e.Position, e.Head)
}

// Unwrap makes errors.Is(err, ErrCheckpointAhead) true.
func (e *CheckpointAheadError) Unwrap() error { return ErrCheckpointAhead }

// OpError adds the operation and its subject to an error of a Store.
type OpError struct {
	// Op is the operation, such as "append" or "read stream".
	Op string
	// Subject is the stream, subscription or checkpoint; empty where there is none.
	Subject string
	Err     error
}

func (e *OpError) Error() string {
	cause, subject := e.Err.Error(), strconv.Quote(clip(e.Subject))
	if e.Subject == "" || strings.Contains(cause, subject) {
		return e.Op + ": " + cause // which names the subject
	}
	return e.Op + " " + subject + ": " + cause
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

func opError(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Subject: subject, Err: err}
}
