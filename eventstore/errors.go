package eventstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

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
	// the same events with the same IDs again settles it. See
	// [UnknownOutcomeError].
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrUnsupported: the backend declares that it cannot do this. See [UnsupportedError].
	ErrUnsupported = errors.New("not supported by this backend")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrUnavailable: the backend could not be reached or could not serve the
	// call; an append that failed so was not stored. Trying again may help.
	ErrUnavailable = errors.New("backend unavailable")
	// ErrSealed: the store, or one stream of it, takes no more appends; nothing
	// was written. See [SealedError].
	ErrSealed = errors.New("sealed")
	// ErrForeignCheckpoint: the checkpoint belongs to another store, or the place
	// it names holds another event. See [ForeignCheckpointError].
	ErrForeignCheckpoint = errors.New("checkpoint of another store")
	// ErrCheckpointAhead: the checkpoint lies after the store's last event. See
	// [CheckpointAheadError].
	ErrCheckpointAhead = errors.New("checkpoint ahead of the store")
	// ErrLeaseLost: another process owns the subscription, or its checkpoint was
	// reset. See [LeaseLostError].
	ErrLeaseLost = errors.New("lease lost")
	// ErrLateArrival: an event appeared behind a position that was passed already.
	// See [LateArrivalError].
	ErrLateArrival = errors.New("late arrival")
	// ErrAlreadyRunning: this Store runs a subscription of that name.
	ErrAlreadyRunning = errors.New("subscription is already running")
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

// UnknownOutcomeError carries what an append may or may not have stored. It
// matches ErrUnknownOutcome and no other error of this package, nor a context's:
// those say that nothing was written. The driver's error is reachable by
// errors.As.
type UnknownOutcomeError struct {
	// Parts is what was sent, every event with its ID. Passing them to
	// [Store.AppendStreams] settles the outcome: they are stored once.
	Parts []StreamAppend
	// Err is why the outcome of the first attempt in doubt is not known.
	Err error
}

func (e *UnknownOutcomeError) Error() string {
	cause := "the outcome is unknown"
	if e.Err != nil {
		cause = e.Err.Error()
	}
	return cause + "; the events may be stored: append them again with the IDs that this error carries"
}

// Unwrap makes errors.Is(err, ErrUnknownOutcome) true, and errors.As find the
// driver's error.
func (e *UnknownOutcomeError) Unwrap() []error { return []error{ErrUnknownOutcome, opaque{e.Err}} }

// opaque lets errors.As find what is in an error, and errors.Is nothing.
type opaque struct{ err error }

func (o opaque) Error() string {
	if o.err == nil {
		return ""
	}
	return o.err.Error()
}

// As implements the interface of errors.As.
func (o opaque) As(target any) bool { return o.err != nil && errors.As(o.err, target) }

// SealedError says what takes no more appends, and why. It matches ErrSealed.
type SealedError struct {
	// Stream is the one that its database has closed for good, as a tombstone
	// does; it is empty where the whole store is sealed.
	Stream string
	Reason string
}

func (e *SealedError) Error() string {
	if e.Stream != "" {
		return fmt.Sprintf("stream %q takes no more appends: %s", clip(e.Stream), e.Reason)
	}
	return "the store is sealed: " + e.Reason
}

// Unwrap makes errors.Is(err, ErrSealed) true.
func (e *SealedError) Unwrap() error { return ErrSealed }

// ForeignCheckpointError says whose checkpoint it was. It matches ErrForeignCheckpoint.
type ForeignCheckpointError struct {
	// Name is the checkpoint's; it is empty for a place that is no checkpoint's.
	Name string
	// Checkpoint and Store are the identities of the checkpoint's store and of
	// this one. They are equal where the store itself is another than it was, for
	// instance restored from a backup.
	Checkpoint, Store uuid.UUID
	// Place is the checkpoint's, and Found the event that its stream has at that
	// version now, or zero.
	Place, Found Place
}

func (e *ForeignCheckpointError) Error() string {
	subject := "the place resumed from"
	if e.Name != "" {
		subject = fmt.Sprintf("checkpoint %q", clip(e.Name))
	}
	if e.Checkpoint != e.Store {
		return fmt.Sprintf("%s belongs to store %s, and this is store %s; delete the checkpoint to start anew here", subject, e.Checkpoint, e.Store)
	}
	return fmt.Sprintf("%s is event %s at %s, which this store does not hold there: it was restored or replaced; delete or reset the checkpoint", subject, e.Place.ID, e.Place)
}

// Unwrap makes errors.Is(err, ErrForeignCheckpoint) true.
func (e *ForeignCheckpointError) Unwrap() error { return ErrForeignCheckpoint }

// CheckpointAheadError says how far ahead a checkpoint lies. It matches ErrCheckpointAhead.
type CheckpointAheadError struct {
	// Name is the checkpoint's; it is empty for a position that a caller gave.
	Name           string
	Position, Head Position
}

func (e *CheckpointAheadError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("position %s is ahead of the store's last event at %s: it is another store's, or events were lost", e.Position, e.Head)
	}
	return fmt.Sprintf("checkpoint %q at position %s is ahead of the store's last event at %s: events were lost or an older copy was restored; delete the checkpoint to start anew", clip(e.Name), e.Position, e.Head)
}

// Unwrap makes errors.Is(err, ErrCheckpointAhead) true.
func (e *CheckpointAheadError) Unwrap() error { return ErrCheckpointAhead }

// LeaseLostError says who has the lease instead. It matches ErrLeaseLost.
type LeaseLostError struct {
	Name string
	// Epoch is the caller's, and Stored the one that fences it.
	Epoch, Stored uint64
}

func (e *LeaseLostError) Error() string {
	return fmt.Sprintf("subscription %q: epoch %d is over, epoch %d is stored: another process took the lease, or the checkpoint was reset", clip(e.Name), e.Epoch, e.Stored)
}

// Unwrap makes errors.Is(err, ErrLeaseLost) true.
func (e *LeaseLostError) Unwrap() error { return ErrLeaseLost }

// LateArrivalError names an event that appeared behind a reader. It matches
// ErrLateArrival, and can occur only on a backend with a writer grace.
type LateArrivalError struct {
	// Late is the event's place, and Passed the position that the reader had passed.
	Late   Place
	Passed Position
}

func (e *LateArrivalError) Error() string {
	return fmt.Sprintf("event %s at %s appeared after position %s had been passed: its writer took longer than the writer grace; handle it by hand, then go on", e.Late.ID, e.Late, e.Passed)
}

// Unwrap makes errors.Is(err, ErrLateArrival) true.
func (e *LateArrivalError) Unwrap() error { return ErrLateArrival }

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

// clip shortens untrusted text for an error message, between two characters.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
