package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// originalKey is the metadata of an event that a transfer had to change: JSON that
// says which remedies did it, and what was there before. An event that was parked or
// skipped is such JSON itself, in the stream of refused events.
const originalKey = "$original"

const refusedPrefix, parkedType, skippedType = "switchyard-refused-", "EventParked", "EventSkipped"

// RefusedStream is the stream of a target in which the events stand that came from a
// source, such as "switchyard:UUID", and were parked or skipped.
func RefusedStream(source string) string {
	id, err := uuid.Parse(strings.TrimPrefix(source, cloudevents.SourcePrefix))
	if err != nil {
		id = uuid.NewSHA1(uuid.NameSpaceURL, []byte(source))
	}
	return refusedPrefix + id.String()
}

// original is what an event was before a transfer changed it. What is absent was not
// changed.
type original struct {
	Source      string     `json:"source"`
	Remedies    []Remedy   `json:"remedies"`
	Stream      *text      `json:"stream,omitempty"`
	Version     uint64     `json:"version,omitempty"`
	ID          *uuid.UUID `json:"id,omitempty"`
	Type        *text      `json:"type,omitempty"`
	ContentType *text      `json:"contentType,omitempty"`
	Metadata    [][2]text  `json:"metadata,omitempty"`
	RecordedAt  *time.Time `json:"recordedAt,omitempty"`
	// Base64 says that the data is the original's in base64, as JSON text.
	Base64 bool `json:"base64,omitempty"`
	// Data is the content of a parked event. SHA256 stands for that of a skipped one, and
	// JSONSHA256 where its data is taken as JSON, if that is another one.
	Data       []byte `json:"data,omitempty"`
	SHA256     string `json:"sha256,omitempty"`
	JSONSHA256 string `json:"jsonSha256,omitempty"`
}

// text is a string in JSON, also where it is no UTF-8, or holds NUL: PostgreSQL's jsonb
// takes that in no form.
type text string

// MarshalJSON implements [json.Marshaler].
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) && !strings.Contains(string(t), "\x00") {
		return json.Marshal(string(t))
	}
	return json.Marshal(map[string][]byte{"base64": []byte(t)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var encoded map[string][]byte
	err := json.Unmarshal(b, &encoded)
	*t = text(encoded["base64"])
	return err
}

// unlike returns what, in JSON, says that a field was another; nil where it was not.
func unlike(was, is string) *text {
	if was == is {
		return nil
	}
	return new(text(was))
}

func pairs(metadata map[string]string) [][2]text {
	list := make([][2]text, 0, len(metadata))
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		list = append(list, [2]text{text(key), text(metadata[key])})
	}
	return list
}

// marked returns a record that was changed with what it was in its metadata.
func (r Record) marked() Record {
	was := r.was
	if was == nil || r.apart {
		return r
	}
	o := original{
		Source: was.source, Remedies: r.remedies, Base64: r.base64,
		Stream: unlike(was.Stream, r.Stream), Type: unlike(was.Type, r.Type), ContentType: unlike(was.ContentType, r.ContentType),
	}
	if was.Version != r.Version {
		o.Version = was.Version
	}
	if was.ID != r.ID {
		o.ID = &was.ID
	}
	if was.RecordedAt != nil && !sameTime(was.RecordedAt, r.RecordedAt) {
		o.RecordedAt = inJSON(was.RecordedAt)
	}
	if _, taken := was.Metadata[originalKey]; taken || !maps.Equal(was.Metadata, r.Metadata) {
		o.Metadata = pairs(was.Metadata)
	}
	r.Event = r.WithMetadata(originalKey, toJSON(o))
	return r
}

// asideOf returns the record in the stream of refused events that stands for r.
func asideOf(r Record, remedy Remedy) Record {
	o := original{Source: r.source, Remedies: []Remedy{remedy}, Stream: new(text(r.Stream)), Version: r.Version, ID: new(r.ID), RecordedAt: inJSON(r.RecordedAt)}
	aside := Record{Stream: RefusedStream(r.source), source: r.source, line: r.line, position: r.position, apart: true, remedies: o.Remedies}
	if remedy == Park {
		o.Type, o.ContentType, o.Metadata, o.Data = new(text(r.Type)), new(text(r.ContentType)), pairs(r.Metadata), r.Data
		aside.Type = parkedType
	} else {
		o.SHA256 = eventDigest(r.recorded(), false).String()
		if asJSON := eventDigest(r.recorded(), true).String(); asJSON != o.SHA256 {
			o.JSONSHA256 = asJSON
		}
		aside.Type = skippedType
	}
	aside.ID = derivedID(r)
	aside.ContentType, aside.Data = eventstore.JSONContentType, []byte(toJSON(o))
	return aside
}

// inJSON returns a time if JSON can have it: its year has four digits.
func inJSON(at *time.Time) *time.Time {
	if at == nil || at.Year() < 0 || at.Year() > 9999 {
		return nil
	}
	return at
}

func toJSON(o original) string {
	encoded, err := json.Marshal(o)
	if err != nil {
		return "{}" // of texts, numbers and such a time, which encode
	}
	return string(encoded)
}

// derivedID is the same for the same event, and for no other one.
func derivedID(r Record) uuid.UUID {
	name := r.source + "\x00" + r.Stream + "\x00" + eventDigest(r.recorded(), false).String()
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(name))
}

// eventDigest stands for an event's version, ID and content.
func eventDigest(event eventstore.RecordedEvent, asJSON bool) Digest {
	return sha256.Sum256(appendCanonical(nil, event, asJSON))
}

// Original is an event of a target as its source has it.
type Original struct {
	// RecordedEvent has the target's Position and, where it was not changed on the
	// way, its RecordedAt. Of a skipped event it has Stream, Version and ID alone.
	eventstore.RecordedEvent
	// Remedies are what was done with it on the way; none for most events.
	Remedies []Remedy
	// Of a skipped event, by its data's bytes and as JSON.
	sha256, jsonSHA256 string
}

// Apart tells whether the event was parked or skipped.
func (o Original) Apart() bool {
	return slices.Contains(o.Remedies, Park) || o.Skipped()
}

// Skipped tells whether the target does not have the event's content.
func (o Original) Skipped() bool { return slices.Contains(o.Remedies, Skip) }

// Difference is [Difference] for an event of the source and this one, and "stream"
// where that differs. A skipped event is compared by the digest that was kept.
func (o Original) Difference(source eventstore.RecordedEvent, asJSON bool) string {
	switch {
	case o.Stream != source.Stream:
		return "stream"
	case !o.Skipped():
		return Difference(source, o.RecordedEvent, asJSON)
	case o.Digest(asJSON) != eventDigest(source, asJSON):
		return "content"
	}
	return ""
}

// differs is [Difference] for two events of one source, "content" where one was skipped.
func (o Original) differs(other Original, asJSON bool) string {
	field := Difference(o.RecordedEvent, other.RecordedEvent, asJSON)
	switch {
	case !o.Skipped() && !other.Skipped() || field == "version" || field == "id":
		return field
	case o.Digest(asJSON) != other.Digest(asJSON):
		return "content"
	}
	return ""
}

// show returns a field's value for people.
func (o Original) show(field string, asJSON bool) string {
	if field == "content" {
		return "SHA-256 " + o.Digest(asJSON).String()
	}
	return show(o.RecordedEvent, field)
}

// Digest stands for the event's version, ID and content in its source; of a skipped
// event it was kept.
func (o Original) Digest(asJSON bool) Digest {
	if !o.Skipped() {
		return eventDigest(o.RecordedEvent, asJSON)
	}
	var digest Digest
	kept := o.sha256
	if asJSON {
		kept = cmp.Or(o.jsonSHA256, kept)
	}
	_, _ = hex.Decode(digest[:], []byte(kept)) // what is no digest is equal to none
	return digest
}

// errQuoted is the reason of a record that is quoted.
var errQuoted = errors.New("its own $original metadata, or its content, says that it was changed on its way from where it is")

// quoted returns a record so that [Restore] gives it back, whatever it says of itself.
func (r Record) quoted() Record {
	if r.broken != nil || !Changed(r.recorded(), r.source) {
		return r
	}
	was := r
	r.was, r.reason = &was, errQuoted
	r.remedies = append(slices.Clone(r.remedies), Quote)
	return r
}

// Restore returns an event of a target as its source has it, where it was changed,
// parked or skipped on its way from there; any other event as it is. The source is
// such as "switchyard:UUID", or what the lines of an imported file name. What the metadata
// says comes first: an event that was parked or skipped has none.
func Restore(event eventstore.RecordedEvent, source string) Original {
	if encoded, marked := event.Metadata[originalKey]; marked {
		if o, ok := restore(event, source, encoded, false); ok {
			return o
		}
	}
	if strings.HasPrefix(event.Stream, refusedPrefix) && (event.Type == parkedType || event.Type == skippedType) {
		if o, ok := restore(event, source, string(event.Data), true); ok {
			return o
		}
	}
	return Original{RecordedEvent: event}
}

// restore returns what an event was by the JSON that says so, and whether it does.
func restore(event eventstore.RecordedEvent, source, encoded string, apart bool) (Original, bool) {
	var was original
	if json.Unmarshal([]byte(encoded), &was) != nil || was.Source != source || len(was.Remedies) == 0 {
		return Original{}, false
	}
	o := Original{RecordedEvent: event, Remedies: was.Remedies, sha256: was.SHA256, jsonSHA256: was.JSONSHA256}
	if apart {
		o.Event = eventstore.Event{Data: was.Data}
	}
	for _, field := range []struct {
		was  *text
		into *string
	}{{was.Stream, &o.Stream}, {was.Type, &o.Type}, {was.ContentType, &o.ContentType}} {
		if field.was != nil {
			*field.into = string(*field.was)
		}
	}
	if was.Version > 0 {
		o.Version = was.Version
	}
	if was.ID != nil {
		o.ID = *was.ID
	}
	if was.RecordedAt != nil {
		o.RecordedAt = *was.RecordedAt
	}
	if was.Base64 && json.Unmarshal(event.Data, &o.Data) != nil {
		return Original{}, false
	}
	o.Metadata = was.metadata(event.Metadata)
	return o, true
}

// metadata returns an event's own, of the one that the target has.
func (o original) metadata(stored map[string]string) map[string]string {
	metadata := make(map[string]string)
	if o.Metadata != nil {
		for _, pair := range o.Metadata {
			metadata[string(pair[0])] = string(pair[1])
		}
		return metadata
	}
	maps.Copy(metadata, stored)
	delete(metadata, originalKey)
	return metadata
}

// Translate returns where in a target the event is that a source has at a place, and
// whether it is there. Of one that was parked or skipped it is where its record is,
// in the stream of refused events.
func Translate(ctx context.Context, target *eventstore.Store, source string, place eventstore.Place) (eventstore.Place, bool, error) {
	for _, stream := range append([]string{place.Stream}, otherNames(place.Stream, target.Limits().MaxStreamBytes)...) {
		event, found, err := find(ctx, target, stream, source, place.Version)
		if err != nil && !errors.Is(err, eventstore.ErrInvalid) { // a name that it cannot hold
			return eventstore.Place{}, false, err
		}
		if o := Restore(event, source); found && o.Stream == place.Stream && o.ID == place.ID {
			return event.Place(), true, nil
		}
	}
	for event, err := range target.ReadStream(ctx, RefusedStream(source), eventstore.ReadOptions{}) {
		if err != nil {
			return eventstore.Place{}, false, err
		}
		if o := Restore(event, source); o.Stream == place.Stream && o.Version == place.Version && o.ID == place.ID {
			return event.Place(), true, nil
		}
	}
	return eventstore.Place{}, false, nil
}

// find returns a stream's event that its source has at a version, and whether there
// is one. Versions of a target are its source's, or lower: by as much at the stream's
// end as anywhere before, or more.
func find(ctx context.Context, store *eventstore.Store, stream, source string, version uint64) (eventstore.RecordedEvent, bool, error) {
	last, exists, err := lastOf(ctx, store, stream)
	if err != nil || !exists {
		return last, false, err
	}
	end := Restore(last, source).Version
	if end < version {
		return last, false, nil
	}
	lower := end - last.Version
	after := uint64(0)
	if version > lower {
		after = version - lower - 1
	}
	for event, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{After: after}) {
		if err != nil {
			return event, false, err
		}
		if at := Restore(event, source).Version; at >= version {
			return event, at == version, nil
		}
	}
	return eventstore.RecordedEvent{}, false, nil
}

// lastOf returns a stream's last event, and whether there is one.
func lastOf(ctx context.Context, store *eventstore.Store, stream string) (eventstore.RecordedEvent, bool, error) {
	for event, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{Backward: true, Limit: 1}) {
		return event, err == nil, err
	}
	return eventstore.RecordedEvent{}, false, nil
}
