package fold

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ErrMalformed is the error of [Record.Decode] for bytes that are no record of
// this format: foreign, damaged, or an empty value.
var ErrMalformed = errors.New("not a record of this store's format")

// NewerError is the error of [Record.Decode] for a sound record that a newer
// version of this program wrote. It matches no sentinel.
type NewerError struct{ Format, Kind byte }

func (e *NewerError) Error() string {
	return fmt.Sprintf("written by a newer version (format %d, kind %d): upgrade this program", e.Format, e.Kind)
}

// Record is a decoded frame. What it holds are parts of the bytes that it was
// decoded from, valid for as long as those are, and until the next Decode. The
// fields that do not belong to its kind are zero.
type Record struct {
	Kind Kind
	// ID is that of the request; all copies of a record have it.
	ID uuid.UUID
	// Time is when it was written by its writer's clock, in nanoseconds since 1970.
	Time int64

	Store uuid.UUID // of a genesis
	Rules uint64

	SealEpoch uint64 // of an append, a seal or an unseal
	Reason    []byte // of a seal

	Name  []byte // of a lease
	Epoch uint64
	Owner []byte
	TTL   time.Duration

	Parts []Part // of an append

	events []Event // of all parts, in their order
}

// Part is what an append proposes for one stream.
type Part struct {
	Stream   []byte
	Expected eventstore.ExpectedVersion
	// Repetition says that the part was one when it was sent.
	Repetition bool
	// Time is when the events are recorded: the record's time, or an import's.
	Time     int64
	Imported bool
	Events   []Event
}

// Event is an event of a record. The body is its encoded content.
type Event struct {
	ID   uuid.UUID
	Body []byte
}

// At returns a record's or a part's time, in UTC.
func At(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }

// Decode returns a copy of the event as it was appended.
func (e Event) Decode() eventstore.Event {
	r := reader{rest: e.Body}
	event := eventstore.Event{ID: e.ID, Type: string(r.text()), ContentType: string(r.text())}
	if n := r.uvarint(); n > 0 {
		event.Metadata = make(map[string]string, min(n, uint64(len(e.Body))))
		for ; n > 0 && !r.bad; n-- {
			key := string(r.text())
			event.Metadata[key] = string(r.text())
		}
	}
	event.Data = append([]byte{}, r.text()...)
	return event
}

// Type returns the event's type alone.
func (e Event) Type() string {
	r := reader{rest: e.Body}
	return string(r.text())
}
