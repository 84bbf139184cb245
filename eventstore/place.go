package eventstore

import (
	"fmt"

	"github.com/google/uuid"
)

// Place is a position together with the event that is there. A position alone
// says nothing once a store was restored from a backup: it may have been given to
// another event since. A place can be held against the store, by reading that one
// event of its stream.
//
// A place whose Stream is empty is a position that nobody can verify, such as one
// that a caller typed.
type Place struct {
	Position Position
	Stream   string
	Version  uint64
	ID       uuid.UUID
}

// Place returns where e is.
func (e RecordedEvent) Place() Place {
	return Place{Position: e.Position, Stream: e.Stream, Version: e.Version, ID: e.ID}
}

// IsZero tells whether p lies before the first event.
func (p Place) IsZero() bool { return p == Place{} }

// Named tells whether p says which event is at its position.
func (p Place) Named() bool { return p.Stream != "" }

// String returns the position and, where it is named, the event.
func (p Place) String() string {
	if !p.Named() {
		return p.Position.String()
	}
	return fmt.Sprintf("%s (version %d of stream %q)", p.Position, p.Version, clip(p.Stream))
}
