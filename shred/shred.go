package shred

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Fields returns a filter for codec.Through that encrypts fields of events of type T
// with the key of the subject that an event names. A field is a member of the event's
// JSON, by its name there, upper and lower case being the same as encoding/json has it;
// what is inside of it is encrypted with it. Fields that are absent stay so.
//
// Of a struct that encoding/json encodes by its fields, those that are named are checked
// against its own. Of a map and of a type with a JSON form of its own nobody can tell a
// field that is absent from one whose name is misspelt, and which would be stored in
// clear: every event of these must have every field that is named, null where it is empty.
//
// Encode then fails with ErrInvalid where the filter cannot work: keys or subject are
// nil, a field is named that T does not have, the event's data is no JSON object, its
// subject is empty or no UTF-8, or another field of it looks like an encrypted one; and
// with [ErrShredded] where the subject's key was deleted.
//
// Decode opens what an event of any version has encrypted, and leaves out what a
// deleted key sealed. It fails with [ErrNoKey], and with [ErrNotAuthentic]; other
// errors of the key store are passed on.
func Fields[T any](keys KeyStore, subject func(T) string, fields ...string) codec.Filter {
	f := &filter[T]{keys: keys, subject: subject, fields: fields}
	for _, field := range fields {
		if !byFields[T]() || !knows[T](field) {
			f.required = append(f.required, field)
		}
	}
	return f
}

type filter[T any] struct {
	keys    KeyStore
	subject func(T) string
	fields  []string
	// required are those whose absence is a mistake: encoding/json does not know them in
	// T, or nothing is known about T.
	required []string
}

// byFields tells whether encoding/json encodes a T by its fields.
func byFields[T any]() bool {
	t := reflect.TypeFor[T]()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	switch reflect.New(t).Interface().(type) {
	case json.Marshaler, json.Unmarshaler, encoding.TextMarshaler, encoding.TextUnmarshaler:
		return false
	}
	return true
}

// knows tells whether encoding/json puts a field into values of type T.
func knows[T any](field string) bool {
	object, err := json.Marshal(map[string]any{field: nil})
	if err != nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(object))
	d.DisallowUnknownFields()
	err = d.Decode(new(T))
	return err == nil || !strings.Contains(err.Error(), "unknown field")
}

// Seal implements [codec.Filter].
func (f *filter[T]) Seal(ctx context.Context, value any, event *eventstore.Event) error {
	v, ok := value.(T)
	switch {
	case f.keys == nil || f.subject == nil || len(f.fields) == 0:
		return invalid("filter", "its keys or its subject are nil, or it names no field; give Fields all three")
	case !ok:
		return invalid("filter", "it is for a %T, and the event is a %T; give each type a filter of its own", *new(T), value)
	}
	members := membersOf(event.Data)
	if members == nil || !event.IsJSON() {
		return invalid("data", "content type %q: it is no JSON object; fields are encrypted in these alone", event.ContentType)
	}
	names, err := f.present(members)
	if err != nil || len(names) == 0 {
		return err
	}
	subject := f.subject(v)
	switch {
	case subject == "":
		return invalid("subject", "it is empty; name whose key the event is sealed with")
	case !utf8.ValidString(subject): // its JSON would name another one
		return invalid("subject", "%q is no UTF-8; name the subject in text", subject)
	}
	key, err := f.keys.Key(ctx, subject, true)
	if err != nil {
		return fmt.Errorf("key of subject %q: %w", subject, err)
	}
	box, err := newBox(key)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := place{id: event.ID, eventType: event.Type, field: name, subject: subject}
		if members[name], err = json.Marshal(sealed{Subject: &subject, Text: box.seal(at, members[name])}); err != nil {
			return err
		}
	}
	event.Data, err = json.Marshal(members)
	return err
}

// present returns the names of the members that are to be sealed.
func (f *filter[T]) present(members map[string]json.RawMessage) ([]string, error) {
	var names []string
	found := make(map[string]bool)
	for name, data := range members {
		i := slices.IndexFunc(f.fields, func(field string) bool { return strings.EqualFold(field, name) })
		if i >= 0 {
			names = append(names, name)
			found[f.fields[i]] = true
		} else if _, looks := sealedIn(data); looks {
			return nil, invalid("data", "the field %q has $sealed and text, as an encrypted one has, and would be opened as such; name it too, or change it", name)
		}
	}
	for _, field := range f.required {
		switch {
		case found[field]:
		case byFields[T]():
			return nil, invalid("filter", "a %T has no field %q; give the name that its JSON has", *new(T), field)
		default:
			return nil, invalid("filter", "the JSON of this %s has no field %q; give the name that it has, and encode the field as null where it is empty", reflect.TypeFor[T](), field)
		}
	}
	return names, nil
}

// Open implements [codec.Filter].
func (f *filter[T]) Open(ctx context.Context, event *eventstore.RecordedEvent) error {
	if f.keys == nil {
		return invalid("filter", "its keys are nil")
	}
	members := membersOf(event.Data)
	changed := false
	for _, name := range slices.Sorted(maps.Keys(members)) {
		data, isSealed := sealedIn(members[name])
		if !isSealed {
			continue
		}
		changed = true
		plain, err := f.open(ctx, place{id: event.ID, eventType: event.Type, field: name, subject: *data.Subject}, *data.Text)
		switch {
		case errors.Is(err, ErrShredded):
			delete(members, name)
		case err != nil:
			return fmt.Errorf("field %q of subject %q: %w", name, *data.Subject, err)
		default:
			members[name] = plain
		}
	}
	if !changed {
		return nil
	}
	var err error
	event.Data, err = json.Marshal(members)
	return err
}

func (f *filter[T]) open(ctx context.Context, at place, text string) ([]byte, error) {
	key, err := f.keys.Key(ctx, at.subject, false)
	if err != nil {
		return nil, err
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	return box.open(at, text)
}

// membersOf returns the members of a JSON object, or nil where data is none.
func membersOf(data []byte) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil // whoever decodes it says what is wrong
	}
	return members
}

func invalid(field, format string, args ...any) error {
	return &eventstore.InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
