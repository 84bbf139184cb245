package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// JSONContentType is the content type of an event that names none.
const JSONContentType = "application/json"

// Metadata keys with a meaning of their own. Values are plain text.
const (
	// MetaCorrelationID names the conversation that an event belongs to.
	MetaCorrelationID = "$correlationId"
	// MetaCausationID is the ID of the message that directly caused an event.
	MetaCausationID = "$causationId"
	// MetaSchemaVersion is the version of the event type's schema, from 1.
	MetaSchemaVersion = "$schemaVersion"
)

// Event is what a caller appends.
type Event struct {
	// ID identifies the event within its stream and makes its append idempotent.
	// A zero ID is replaced by a new version 7 UUID (RFC 9562).
	ID uuid.UUID
	// Type names the event, such as "OrderPlaced": 1–255 bytes of UTF-8.
	Type string
	// Data is the payload; it is stored and returned byte for byte. It must be
	// valid JSON if the content type says so.
	Data []byte
	// ContentType is Data's media type; empty means [JSONContentType].
	ContentType string
	// Metadata is text about the event: keys are not empty, and keys and values
	// are UTF-8. Keys that start with '$' belong to this package.
	Metadata map[string]string
}

// RecordedEvent is an event as the store holds it.
type RecordedEvent struct {
	Event
	// Stream is the ID of the event's stream.
	Stream string
	// Version is the event's number in its stream: 1, 2, 3 … without holes.
	Version uint64
	// Position is the event's place in the store's global order.
	Position Position
	// RecordedAt is when the store recorded the event: UTC, at the backend's
	// declared precision.
	RecordedAt time.Time
}

// JSONEvent makes an event of the given type whose data is v as JSON.
func JSONEvent(eventType string, v any) (Event, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Event{}, fmt.Errorf("encode event %q: %w", eventType, err)
	}
	return Event{Type: eventType, Data: data, ContentType: JSONContentType}, nil
}

// WithMetadata returns a copy of e that has key set to value.
func (e Event) WithMetadata(key, value string) Event {
	m := make(map[string]string, len(e.Metadata)+1)
	maps.Copy(m, e.Metadata)
	m[key] = value
	e.Metadata = m
	return e
}

// WithCorrelationID returns a copy of e in the conversation id.
func (e Event) WithCorrelationID(id string) Event { return e.WithMetadata(MetaCorrelationID, id) }

// WithSchemaVersion returns a copy of e whose data follows version n of its type's schema.
func (e Event) WithSchemaVersion(n int) Event {
	return e.WithMetadata(MetaSchemaVersion, strconv.Itoa(n))
}

// CausedBy returns a copy of e that names cause as its causation and continues
// cause's conversation; where cause has none, cause starts it.
func (e Event) CausedBy(cause RecordedEvent) Event {
	correlation := cause.CorrelationID()
	if correlation == "" {
		correlation = cause.ID.String()
	}
	return e.WithCorrelationID(correlation).WithMetadata(MetaCausationID, cause.ID.String())
}

// CorrelationID returns the conversation that e belongs to, or "".
func (e Event) CorrelationID() string { return e.Metadata[MetaCorrelationID] }

// CausationID returns the ID of what directly caused e, or "".
func (e Event) CausationID() string { return e.Metadata[MetaCausationID] }

// SchemaVersion returns the version of the schema that e's data follows: 1
// unless [Event.WithSchemaVersion] said otherwise.
func (e Event) SchemaVersion() int {
	n, err := strconv.Atoi(e.Metadata[MetaSchemaVersion])
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Size is what an event counts against [Limits], in bytes: type, content type,
// data, and metadata as encoding/json writes it, with every escape, and 6 bytes a
// pair for its punctuation. It is what the largest known form of an event takes,
// so a limit means the same on every backend.
func (e Event) Size() int {
	n := len(e.Type) + len(e.Data) + len(e.ContentType)
	for k, v := range e.Metadata {
		n += jsonLen(k) + jsonLen(v) + 6
	}
	return n
}

// jsonLen is the length of s between the quotes that encoding/json puts around it.
func jsonLen(s string) int {
	n := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			n += asciiLen(c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || r == '\u2028' || r == '\u2029' {
			n += len(`\u2028`)
		} else {
			n += size
		}
		i += size
	}
	return n
}

func asciiLen(c byte) int {
	switch {
	case c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t':
		return len(`\n`)
	case c < ' ' || c == '<' || c == '>' || c == '&':
		return len(`\u003c`)
	}
	return 1
}

// IsJSON tells whether e's content type is JSON: application/json, or any that
// ends in +json (RFC 6839). An empty one stands for application/json.
func (e Event) IsJSON() bool {
	if e.ContentType == "" || e.ContentType == JSONContentType {
		return true
	}
	media, _, err := mime.ParseMediaType(e.ContentType)
	return err == nil && (media == JSONContentType || strings.HasSuffix(media, "+json"))
}

// SameContent tells whether two events agree in everything but their ID: type,
// data, content type and metadata.
func (e Event) SameContent(other Event) bool {
	return e.Type == other.Type && e.ContentType == other.ContentType &&
		bytes.Equal(e.Data, other.Data) && maps.Equal(e.Metadata, other.Metadata)
}

// Category returns a stream's category: the part of its ID before the first
// '-', or the whole ID where there is none. "Order-42" has the category "Order".
func Category(stream string) string {
	category, _, _ := strings.Cut(stream, "-")
	return category
}
