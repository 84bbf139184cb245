package eventstore

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Backend is what an adapter implements. Applications hold a [Store]; authors of
// adapters find what adapters share in the package eventstore/adapter.
//
// The caller (the Store) guarantees: requests are valid and within the limits,
// every event has an ID and a content type, the memory of a request is the
// backend's to keep, and a capability that is declared absent is never asked
// for. A Backend checks none of that again, and never repeats a write whose
// outcome it does not know.
//
// A Backend guarantees: it is safe for concurrent use; what it returns is the
// caller's to keep and to change; a done context ends every call promptly; after
// Close every call returns ErrClosed; errors match this package's sentinels
// where one fits, with the driver's error reachable by errors.As and without
// credentials in their text.
type Backend interface {
	// Append writes all of the request's parts atomically, in their order, or
	// nothing. Parts are judged as adapter.Judge does, atomically with the write
	// and against what earlier parts of the request wrote: a part that repeats an
	// earlier append writes nothing and returns where its events are; a part
	// without events only holds its stream to its expectation; any part's error
	// fails the request. Results are in the order of the parts.
	//
	// When Append returns without error the events are durable as declared, and
	// every read that starts afterwards, through any handle, sees them. An error
	// means that nothing was written and nothing will be; where that cannot be
	// known the error is ErrUnknownOutcome. Positions become visible in their
	// order: nothing ever appears at or below a position that was readable.
	Append(ctx context.Context, req AppendRequest) ([]PartResult, error)

	// ReadStream returns a page of one stream. An absent stream is an empty page.
	ReadStream(ctx context.Context, req ReadStreamRequest) (Page, error)

	// ReadAll returns a page of all streams in the global order. It is not called
	// where GlobalOrder is declared absent.
	ReadAll(ctx context.Context, req ReadAllRequest) (Page, error)

	// Subscribe yields every event after a place in order, each once, without
	// end: first what is stored, then what comes. It ends with the context's
	// error, with ErrClosed, with ErrUnavailable when the backend is lost or the
	// session that it read through was replaced, and with ErrForeignCheckpoint or
	// ErrCheckpointAhead when the store no longer holds what was delivered; the
	// Store then resumes from the last message or reports. adapter.Follow
	// implements it over ReadAll.
	Subscribe(ctx context.Context, req SubscribeRequest) iter.Seq2[Message, error]

	// Info reads the store's identity, its last event and whether it is sealed.
	// Without GlobalOrder the head is zero.
	Info(ctx context.Context) (Info, error)

	// Seal refuses every append from here on, or lifts that, and returns what Info
	// then would. From the seal's place in the order every append of every process
	// fails with a [SealedError], except for what adapter.Judge calls a repetition;
	// an append that was acknowledged lies before it. A seal of a sealed store
	// changes nothing and keeps the first reason; so does lifting where there is
	// none. Checkpoints, leases and snapshots may still be written.
	//
	// A SealedError settles earlier attempts of the same events too: one that was on
	// its way when the store was sealed, and whose caller does not wait for it any
	// more, is not written when the seal has been lifted.
	Seal(ctx context.Context, req SealRequest) (Info, error)

	// Records returns what the backend keeps for others. It does no I/O.
	Records() Records

	// Capabilities declares what the backend can do. It does no I/O, and its
	// answer does not change while the backend is open.
	Capabilities() Capabilities

	// Close frees what the backend opened itself. It may be called more than once.
	Close() error
}

// AppendRequest is what a Backend is asked to write.
type AppendRequest struct {
	// ID names the request: made once for each call of the Store and the same in
	// all its attempts. A backend whose attempts may land after their caller was
	// answered stores it, and comes to one verdict for one ID. Others ignore it.
	ID uuid.UUID
	// Parts are one or more; more than one only with MultiStreamAppend. At least
	// one of them has events.
	Parts []StreamAppend
}

// PartResult is a Backend's answer on one StreamAppend.
type PartResult struct {
	// Recorded has one element for each event of the part, in their order.
	Recorded []Recorded
	// Duplicate is true where the events were in the stream already.
	Duplicate bool
}

// Recorded is where and when an event was stored.
type Recorded struct {
	Version    uint64
	Position   Position
	RecordedAt time.Time
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
	// After and Before are exclusive bounds; the zero value is no bound. Where
	// After is named, in a forward read, the page is returned only if that event
	// is still at its position, seen at the same moment as the page; otherwise the
	// error is what adapter.CheckPlace says.
	After  Place
	Before Position
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
// for before the end; one of a ReadAll may even hold none, and one of a stream
// that holds none is its end.
type Page struct {
	Events []RecordedEvent
	// End is true where nothing matched beyond this page when it was read.
	End bool
	// Next is where a ReadAll goes on: everything up to Next, in the direction of
	// the read, has been considered. It is the place of an event, or the zero Place
	// or the request's own bound where none was considered: where a filter passed
	// over the rest it is the place of the last event passed over, and never beyond
	// the store's last event. At the end of a backward read it means nothing.
	Next Place
	// Sealed is true where End is true and the store was sealed when the page was
	// read, so that nothing can follow (ReadAll only).
	Sealed bool
}

// SubscribeRequest asks for everything after a place.
type SubscribeRequest struct {
	// After is exclusive. Where it is named, that event must still be there.
	After  Place
	Filter Filter
	PageSize
}

// SealRequest asks to seal a store, or to lift the seal.
type SealRequest struct {
	// Reason is what refused appends are told.
	Reason string
	// Lift takes the seal away.
	Lift bool
}

// Records are what a backend keeps beside the events. A part that is declared
// absent in [Capabilities] is nil.
type Records struct {
	Checkpoints Checkpoints
	Snapshots   Snapshots
}
