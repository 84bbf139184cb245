package eventstore

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Backend is what an adapter implements. Applications hold a [Store].
//
// The caller (the Store) guarantees: requests are valid and within the limits,
// every event has an ID and a content type, the memory of a request is the
// backend's to keep, and a capability that is declared absent is never asked
// for. A Backend checks none of that again, and never retries a write.
//
// A Backend guarantees: it is safe for concurrent use; what it returns is the
// caller's to keep and to change; a done context ends every call promptly; after
// Close every call returns ErrClosed; errors match this package's sentinels
// where one fits, with the driver's error reachable by errors.As and without
// credentials in their text.
type Backend interface {
	// Append writes all of the request's parts atomically, in their order, or
	// nothing. Each part is judged as [Decide] does, atomically with the write
	// and against what earlier parts of the request wrote: a part that repeats an
	// earlier append writes nothing and returns what that append returned; any
	// part's error fails the request. Results are in the order of the parts.
	//
	// When Append returns without error the events are durable as declared, and
	// every read that starts afterwards, through any handle, sees them. An error
	// means that nothing was written and nothing will be; where that cannot be
	// known the error is ErrUnknownOutcome. Positions become visible in their
	// order: nothing ever appears at or below a position that was readable.
	Append(ctx context.Context, req AppendRequest) ([]AppendResult, error)

	// ReadStream returns a page of one stream. An absent stream is an empty page.
	ReadStream(ctx context.Context, req ReadStreamRequest) (Page, error)

	// ReadAll returns a page of all streams in the global order.
	ReadAll(ctx context.Context, req ReadAllRequest) (Page, error)

	// Subscribe yields every event after a position in order, each once, without
	// end: first what is stored, then what comes. It ends with the context's
	// error, with ErrClosed, or with ErrUnavailable when the backend is lost; the
	// Store then resumes from the last message. [Follow] implements it over ReadAll.
	Subscribe(ctx context.Context, req SubscribeRequest) iter.Seq2[Message, error]

	// Checkpoints returns the backend's checkpoints. It does no I/O.
	Checkpoints() Checkpoints

	// Snapshots returns the backend's snapshots. It does no I/O.
	Snapshots() Snapshots

	// Capabilities declares what the backend can do. It does no I/O, and its
	// answer does not change.
	Capabilities() Capabilities

	// Close frees what the backend opened itself. It may be called more than once.
	Close() error
}

// AppendRequest is what a Backend is asked to write.
type AppendRequest struct {
	// Parts are one or more; more than one only with MultiStreamAppend.
	Parts []StreamAppend
}

// StreamAppend is the part of an append that goes to one stream.
type StreamAppend struct {
	Stream   string
	Expected ExpectedVersion
	Events   []Event
	// RecordedAt is kept as the events' record time; zero means now. It is for
	// imports and needs PreservedRecordTime.
	RecordedAt time.Time
}

// AppendResult says where the events of one StreamAppend are.
type AppendResult struct {
	// FirstVersion and Version are the versions of the first and the last event.
	FirstVersion, Version uint64
	// Position is the position of the last event.
	Position Position
	// Duplicate is true where the events were in the stream already, stored by
	// an earlier append or by an earlier attempt of this one.
	Duplicate bool
}

// ReadStreamRequest asks for a page of one stream.
type ReadStreamRequest struct {
	Stream string
	// After and Before are exclusive bounds on the version; 0 is no bound.
	After, Before uint64
	// Backward asks for the highest versions first.
	Backward bool
	PageSize
}

// ReadAllRequest asks for a page of the global order.
type ReadAllRequest struct {
	// After and Before are exclusive bounds; the zero Position is no bound.
	After, Before Position
	// Backward asks for the highest positions first.
	Backward bool
	Filter   Filter
	PageSize
}

// PageSize bounds a page, and so the memory of a read.
type PageSize struct {
	// MaxEvents is the most events of a page; at least 1.
	MaxEvents int
	// MaxBytes ends a page after the event with which its events' sizes reach
	// this sum, so that a page holds at least one event.
	MaxBytes int
}

// Page is what a read returns at once. A page may hold fewer events than asked
// for, even none, before the end.
type Page struct {
	Events []RecordedEvent
	// End is true where nothing matched beyond this page when it was read.
	End bool
	// Next is where a ReadAll goes on: everything up to Next, in the direction
	// of the read, has been considered. It may lie beyond the last event where a
	// filter passed over the rest. At the end of a backward read it means nothing.
	Next Position
	// Store is the identity of the store that was read (ReadAll only).
	Store uuid.UUID
}

// SubscribeRequest asks for everything after a position.
type SubscribeRequest struct {
	After  Position
	Filter Filter
	PageSize
}

// Checkpoints keeps the progress of named subscriptions.
type Checkpoints interface {
	// Load returns a checkpoint, and whether there is one.
	Load(ctx context.Context, name string) (Checkpoint, bool, error)
	// Save stores a checkpoint unless the stored one is at or beyond its
	// position: a checkpoint only moves forward, also between processes.
	Save(ctx context.Context, checkpoint Checkpoint) error
	// Delete removes a checkpoint; one that does not exist is no error.
	Delete(ctx context.Context, name string) error
}

// Checkpoint is how far a named subscription has come.
type Checkpoint struct {
	// Name is the subscription's.
	Name string
	// Store is the identity of the store that Position belongs to.
	Store uuid.UUID
	// Position is that of the last event which is finished.
	Position Position
}

// Snapshots keeps the latest snapshot for each stream and snapshot type.
type Snapshots interface {
	// Load returns a snapshot, and whether there is one.
	Load(ctx context.Context, stream, snapshotType string) (Snapshot, bool, error)
	// Save stores a snapshot unless the stored one has a higher version.
	Save(ctx context.Context, snapshot Snapshot) error
	// Delete removes a snapshot; one that does not exist is no error.
	Delete(ctx context.Context, stream, snapshotType string) error
}

// Snapshot is a caller's fold of a stream's events up to a version.
type Snapshot struct {
	Stream string
	// Type names what was folded, such as "OrderState".
	Type string
	// Version is that of the last event in the fold.
	Version uint64
	// SchemaVersion is the version of Data's schema, from 1; a reader that knows
	// another one folds the stream anew.
	SchemaVersion int
	Data          []byte
}
