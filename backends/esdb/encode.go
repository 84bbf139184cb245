package esdb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strings"
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
const (
	ownKey        = "$switchyard"
	foreignKey    = "$esdb.metadata" // custom metadata of other clients that is no JSON object, as base64
	binaryContent = "application/octet-stream"
)

// extra is the value of ownKey.
type extra struct {
	ID          uuid.UUID `json:"id"`
	ContentType string    `json:"contentType,omitempty"` // where the server's JSON flag does not say it
	Key         *string   `json:"key,omitempty"`         // the event's own metadata under ownKey
}

// encode returns an event as it is written.
func encode(event *eventstore.Event) (proposed, error) {
	own := extra{ID: event.ID}
	data := proposed{eventType: event.Type, data: event.Data}
	plain := binaryContent
	if isJSON(event.ContentType) {
		data.json, plain = true, eventstore.JSONContentType
	}
	if event.ContentType != plain {
		own.ContentType = event.ContentType
	}
	if value, ok := event.Metadata[ownKey]; ok {
		own.Key = &value
	}
	if len(event.Metadata) == 0 && own.ContentType == "" {
		data.meta = slices.Concat([]byte(plainStart), []byte(event.ID.String()), []byte(plainEnd))
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

// The form of custom metadata that says no more than the ID, which is most of it.
const plainStart, plainEnd = `{"` + ownKey + `":{"id":"`, `"}}`

func isJSON(contentType string) bool {
	if contentType == eventstore.JSONContentType {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == eventstore.JSONContentType || strings.HasSuffix(media, "+json"))
}

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
	if id, ok := plainID(read.meta); ok {
		event.ID = id
		return event
	}
	if len(read.meta) > 0 {
		decodeMetadata(&event, read.meta)
	}
	return event
}

// plainID reads custom metadata that says no more than the ID.
func plainID(text []byte) (uuid.UUID, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(plainStart))
	if !ok {
		return uuid.UUID{}, false
	}
	rest, ok = bytes.CutSuffix(rest, []byte(plainEnd))
	if !ok || len(rest) != 36 {
		return uuid.UUID{}, false
	}
	id, err := uuid.ParseBytes(rest)
	return id, err == nil
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
func encodeAll(events []eventstore.Event, limit int) ([]proposed, error) {
	data, size := make([]proposed, len(events)), 0
	for i := range events {
		var err error
		if data[i], err = encode(&events[i]); err != nil {
			return nil, err
		}
		size += wireSize(&data[i])
	}
	if size > limit {
		return nil, &eventstore.InvalidError{Field: "events", Reason: fmt.Sprintf("%d bytes with their metadata as JSON, and the server's limit for an append is %d; split the append or keep large content elsewhere", size, limit)}
	}
	return data, nil
}
