package esdb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// An event's custom metadata is a JSON object: the event's own metadata as
// strings, for every tool to read, and under ownKey what EventStoreDB has no
// place for. Its event ID is there too. The ID that the server sees is new for
// each attempt to write: the server compares IDs and never content, and answers
// a repeated write as if it had been the first, so two different events that
// race under one ID would both be acknowledged and one be lost.
//
// So is the record time: the server stamps events too, and does not say with what
// when it acknowledges them. Reading that back would make every append two calls.
const (
	ownKey        = "$switchyard"
	foreignKey    = "$esdb.metadata" // custom metadata of other clients that is no JSON object, as base64
	binaryContent = "application/octet-stream"
)

// extra is the value of ownKey.
type extra struct {
	ID          uuid.UUID `json:"id"`
	At          string    `json:"at,omitempty"`          // see timeLayout
	ContentType string    `json:"contentType,omitempty"` // where the server's JSON flag does not say it
	Key         *string   `json:"key,omitempty"`         // the event's own metadata under ownKey
}

// timeLayout has the precision of the server's own stamps, 100 ns, and always the
// same length.
const (
	timeLayout    = "2006-01-02T15:04:05.0000000Z"
	timePrecision = 100 * time.Nanosecond
)

// encode returns an event as it is written at a time, which is UTC.
func encode(event *eventstore.Event, at string) (proposed, error) {
	own := extra{ID: event.ID, At: at}
	data := proposed{eventType: event.Type, data: event.Data}
	plain := binaryContent
	if event.IsJSON() {
		data.json, plain = true, eventstore.JSONContentType
	}
	if event.ContentType != plain {
		own.ContentType = event.ContentType
	}
	if value, ok := event.Metadata[ownKey]; ok {
		own.Key = &value
	}
	if len(event.Metadata) == 0 && own.ContentType == "" {
		data.meta = slices.Concat([]byte(plainStart), []byte(event.ID.String()), []byte(plainMiddle), []byte(at), []byte(plainEnd))
		return data, nil
	}
	all := make(map[string]any, len(event.Metadata)+1)
	for key, value := range event.Metadata {
		all[key] = value
	}
	all[ownKey] = own
	text, err := json.Marshal(all)
	if err != nil {
		return data, fmt.Errorf("encode metadata: %w", err)
	}
	data.meta = text
	return data, nil
}

// The form of custom metadata that says no more than the ID and the time, which is
// most of it.
const plainStart, plainMiddle, plainEnd = `{"` + ownKey + `":{"id":"`, `","at":"`, `"}}`

// wireSize is what the server counts of an event against its append limit.
func wireSize(event *proposed) int {
	units := len(event.eventType)
	if strings.ContainsFunc(event.eventType, func(r rune) bool { return r >= 0x80 }) {
		units = len(utf16.Encode([]rune(event.eventType)))
	}
	return len(event.data) + len(event.meta) + 2*units
}

// decode returns an event as it was read. stream is its ID for callers.
func decode(read *recorded, stream string) eventstore.RecordedEvent {
	event := eventstore.RecordedEvent{
		Stream:     stream,
		Version:    read.revision + 1,
		Position:   read.position,
		RecordedAt: read.created,
	}
	event.Type, event.Data = read.eventType, read.data
	if event.Data == nil {
		event.Data = []byte{}
	}
	event.ID, event.ContentType = read.id, binaryContent
	if read.json {
		event.ContentType = eventstore.JSONContentType
	}
	if id, at, ok := plain(read.meta); ok {
		event.ID, event.RecordedAt = id, at
		return event
	}
	if len(read.meta) > 0 {
		decodeMetadata(&event, read.meta)
	}
	return event
}

// plain reads custom metadata that says no more than the ID and the time.
func plain(text []byte) (id uuid.UUID, at time.Time, ok bool) {
	const idLength = 36
	if len(text) != len(plainStart)+idLength+len(plainMiddle)+len(timeLayout)+len(plainEnd) {
		return id, at, false
	}
	rest, ok := bytes.CutPrefix(text, []byte(plainStart))
	if !ok {
		return id, at, false
	}
	id, err := uuid.ParseBytes(rest[:idLength])
	if err != nil {
		return id, at, false
	}
	rest, ok = bytes.CutPrefix(rest[idLength:], []byte(plainMiddle))
	if !ok || !bytes.HasSuffix(rest, []byte(plainEnd)) {
		return id, at, false
	}
	at, err = time.Parse(time.RFC3339Nano, string(rest[:len(timeLayout)])) // which is faster than with timeLayout
	return id, at, err == nil
}

func decodeMetadata(event *eventstore.RecordedEvent, text []byte) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil || all == nil {
		event.Metadata = map[string]string{foreignKey: base64.StdEncoding.EncodeToString(text)}
		return
	}
	event.Metadata = make(map[string]string, len(all))
	for key, value := range all {
		event.Metadata[key] = asText(value)
	}
	var own extra
	if json.Unmarshal(all[ownKey], &own) != nil || own.ID == uuid.Nil {
		return // another client's event
	}
	event.ID = own.ID
	if at, err := time.Parse(time.RFC3339Nano, own.At); err == nil {
		event.RecordedAt = at
	}
	if own.ContentType != "" {
		event.ContentType = own.ContentType
	}
	delete(event.Metadata, ownKey)
	if own.Key != nil {
		event.Metadata[ownKey] = *own.Key
	}
	if len(event.Metadata) == 0 {
		event.Metadata = nil
	}
}

// asText returns a JSON string's text, and any other JSON value as it is written.
func asText(value json.RawMessage) string {
	var text string
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// encodeAll encodes an append and holds it against the server's limit.
func encodeAll(events []eventstore.Event, now time.Time, limit int) ([]proposed, error) {
	data, size := make([]proposed, len(events)), 0
	at := now.UTC().Format(timeLayout)
	for i := range events {
		var err error
		if data[i], err = encode(&events[i], at); err != nil {
			return nil, err
		}
		size += wireSize(&data[i])
	}
	if size > limit {
		return nil, &eventstore.InvalidError{Field: "events", Reason: fmt.Sprintf("%d bytes with their metadata as JSON, and the server's limit for an append is %d; split the append or keep large content elsewhere", size, limit)}
	}
	return data, nil
}
