package relay

import (
	"cmp"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/printable"
)

// CloudEvent is an event in the form of CloudEvents 1.0 (cloudevents.io).
type CloudEvent struct {
	// ID and Source together identify the event: whoever gets both again gets the
	// same event again. Source is a URI reference. Neither is empty.
	ID, Source string
	// Type names the event, such as "OrderPlaced". It is not empty.
	Type string
	// Subject is what in the source the event is about; empty means none.
	Subject string
	// Time is when it happened. The zero Time is left out.
	Time time.Time
	// DataContentType is the media type of Data; empty means that it is not told.
	DataContentType string
	// DataSchema is an absolute URI that identifies the schema of Data; empty
	// means none.
	DataSchema string
	// Extensions are further attributes. Their names are lower-case letters and
	// digits, and none of the above.
	Extensions map[string]string
	// Data is the payload; nil means that the event has none.
	Data []byte
}

// SpecVersion is the version of CloudEvents that every CloudEvent follows.
const SpecVersion = cloudevents.SpecVersion

// The extensions that [FromEvent] sets. PartitionKey, Sequence, the IDs of
// correlation and causation and the trace context are those that CloudEvents
// documents.
const (
	// PartitionKey is the stream: what has one key keeps its order.
	PartitionKey = "partitionkey"
	// Sequence is the version in its stream in 20 digits, so that texts compare as
	// the numbers do.
	Sequence = "sequence"
	// Version is the version in its stream, as a number from 1.
	Version = "version"
	// Position is the place in the store's global order; see [eventstore.ParsePosition].
	Position = "position"
	// Metadata is the event's metadata, whole, as a JSON object in a text.
	Metadata = "metadata"
	// CorrelationID is the conversation that the event belongs to.
	CorrelationID = "correlationid"
	// CausationID is the ID of what directly caused the event.
	CausationID = "causationid"
	// TraceParent is the W3C trace context, from the metadata of the same name.
	TraceParent = "traceparent"
	// TraceState belongs to TraceParent, from the metadata of the same name.
	TraceState = "tracestate"
)

// Source returns the source that names a store, for [FromEvent]: "switchyard:" and
// the store's ID. Any other absolute URI will do that is the store's own and stays,
// such as https://shop.example/orders.
func Source(info eventstore.Info) string { return cloudevents.Source(info.ID) }

// FromEvent gives an event as it is: its ID, type, time, content type and the bytes
// of its data, with the stream as the subject and the extensions above. So it is
// the same each time, in what `switchyard export` writes of it, and:
//
//   - the source is source/STREAM, with the stream percent-encoded, because an ID is
//     unique in its stream only;
//   - the data's schema is source/schemas/TYPE/VERSION, with the version of
//     [eventstore.MetaSchemaVersion];
//   - the order of the stream and its trace are in extensions that consumers know.
//
// source identifies the store; see [Source].
func FromEvent(source string, e eventstore.RecordedEvent) CloudEvent {
	c := CloudEvent{
		ID:              e.ID.String(),
		Source:          source + "/" + url.PathEscape(e.Stream),
		Type:            e.Type,
		Subject:         e.Stream,
		Time:            e.RecordedAt,
		DataContentType: cmp.Or(e.ContentType, eventstore.JSONContentType),
		DataSchema:      source + "/schemas/" + url.PathEscape(e.Type) + "/" + strconv.Itoa(e.SchemaVersion()),
		Data:            e.Data,
		Extensions: map[string]string{
			PartitionKey: e.Stream,
			Sequence:     sequence(e.Version),
			Version:      strconv.FormatUint(e.Version, 10),
			Position:     e.Position.String(),
		},
	}
	if c.Data == nil {
		c.Data = []byte{} // no bytes, which is not the same as no data
	}
	if len(e.Metadata) > 0 {
		c.Extensions[Metadata] = string(cloudevents.AppendMetadata(nil, e.Metadata))
	}
	for name, value := range map[string]string{
		CorrelationID: e.CorrelationID(),
		CausationID:   e.CausationID(),
		TraceParent:   e.Metadata[TraceParent],
		TraceState:    e.Metadata[TraceState],
	} {
		// CloudEvents have no control characters; in the metadata they are escaped.
		if value != "" && printable.Fault(value) == "" {
			c.Extensions[name] = value
		}
	}
	return c
}

// sequence is a version as a text that compares as the number does.
func sequence(version uint64) string {
	const digits = 20 // of the largest
	b := strconv.AppendUint(make([]byte, 0, 2*digits), version, 10)
	return "00000000000000000000"[:digits-len(b)] + string(b)
}

// Attributes yields the event's attributes, all but the data, by name: those of
// CloudEvents first, which begin with specversion, and the extensions in the order
// of their names. What is empty is left out. It is for publishers.
func (e CloudEvent) Attributes() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		at := ""
		if !e.Time.IsZero() {
			at = string(cloudevents.AppendTime(nil, e.Time))
		}
		for _, attribute := range [...][2]string{
			{"specversion", SpecVersion},
			{"id", e.ID},
			{"source", e.Source},
			{"type", e.Type},
			{"subject", e.Subject},
			{"time", at},
			{"datacontenttype", e.DataContentType},
			{"dataschema", e.DataSchema},
		} {
			if attribute[1] != "" && !yield(attribute[0], attribute[1]) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(e.Extensions)) {
			if !yield(name, e.Extensions[name]) {
				return
			}
		}
	}
}

// JSONContentType is the media type of what [CloudEvent.AppendJSON] writes.
const JSONContentType = "application/cloudevents+json; charset=UTF-8"

// AppendJSON appends the event in the JSON format of CloudEvents to b, on one line
// and without a line break. The data keeps its bytes: it is embedded where it is
// JSON or text, and in base64 where it would not come out as it was. The event must
// be valid.
func (e CloudEvent) AppendJSON(b []byte) []byte {
	separator := byte('{')
	for name, value := range e.Attributes() {
		b = append(b, separator, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
		b = cloudevents.AppendString(b, value)
		separator = ','
	}
	if e.Data != nil {
		b = cloudevents.AppendData(b, e.DataContentType, e.Data)
	}
	return append(b, '}')
}

// MarshalJSON returns what [CloudEvent.AppendJSON] writes. Package encoding/json
// takes the spaces out of embedded data, so call AppendJSON where bytes count.
//
// Errors: those of [CloudEvent.Validate].
func (e CloudEvent) MarshalJSON() ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.AppendJSON(nil), nil
}
