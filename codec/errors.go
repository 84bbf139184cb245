package codec

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ErrUnknownEvent says that a codec does not know an event's type, the version of its schema
// or its content type. See [UnknownEventError].
var ErrUnknownEvent = errors.New("unknown event")

// UnknownEventError says which event a codec does not know. It matches
// [ErrUnknownEvent].
type UnknownEventError struct {
	// ID, Stream and Version are the event's.
	ID      uuid.UUID
	Stream  string
	Version uint64
	// Type is its type, SchemaVersion the version of its schema as the metadata has
	// it, which is empty for version 1, and ContentType that of its data.
	Type, SchemaVersion, ContentType string
	// Reason says which of them is unknown, and what would help.
	Reason string

	named bool // the metadata has a version of the schema, be it empty
}

func (e *UnknownEventError) Error() string {
	schema := e.SchemaVersion
	if schema == "" && !e.named {
		schema = "1"
	}
	return fmt.Sprintf("unknown event %s (version %d of stream %q): type %q, schema version %.20q, content type %q: %s",
		e.ID, e.Version, e.Stream, e.Type, schema, e.ContentType, e.Reason)
}

// Unwrap makes errors.Is(err, ErrUnknownEvent) true.
func (e *UnknownEventError) Unwrap() error { return ErrUnknownEvent }

func unknown(event eventstore.RecordedEvent, reason string) error {
	_, named := event.Metadata[eventstore.MetaSchemaVersion]
	return &UnknownEventError{
		named: named,
		ID:    event.ID, Stream: event.Stream, Version: event.Version, Type: event.Type,
		SchemaVersion: event.Metadata[eventstore.MetaSchemaVersion], ContentType: event.ContentType, Reason: reason,
	}
}
