package codec

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Type says what a codec knows of one type of events; see [Of], [Ignore] and
// [IgnoreUnknown].
type Type struct {
	entry         *entry
	ignored       []string
	ignoreUnknown bool
}

// TypeOption says more of a type; see [Was], [Up] and [Through].
type TypeOption func(*entry)

// entry is a type that is encoded and decoded.
type entry struct {
	name    string
	was     []string
	goType  reflect.Type
	steps   []step
	filters []Filter
	read    readFunc // the newest version
	missing string   // an option that is nil
}

type readFunc func(encoding Encoding, data []byte) (any, error)

// step leads from one version of a schema to the next.
type step struct {
	from, to reflect.Type
	read     readFunc
	up       func(any) (any, error)
}

// Of gives the Go type T its name in the store. Names are never made from Go's:
// renaming a Go type changes nothing stored.
func Of[T any](name string, opts ...TypeOption) Type {
	e := &entry{name: name, goType: reflect.TypeFor[T](), read: read[T]}
	for i, opt := range opts {
		if opt == nil {
			e.missing = fmt.Sprintf("option %d is nil", i+1)
			continue
		}
		opt(e)
	}
	return Type{entry: e}
}

// Ignore names types that Decode passes over.
func Ignore(names ...string) Type { return Type{ignored: names} }

// IgnoreUnknown makes Decode pass over all types that the codec does not know. It is
// right for streams of many owners and wrong for a decision. A version or a content
// type of a known type that the codec does not know stays an error.
func IgnoreUnknown() Type { return Type{ignoreUnknown: true} }

// Was gives names that the type had before: they are read, never written.
func Was(names ...string) TypeOption {
	return func(e *entry) { e.was = append(e.was, names...) }
}

// Up is the step from one version of the schema to the next, in order: the first one
// goes from version 1. The current version is one more than there are steps, so it
// cannot be forgotten. Steps are pure and return no nil. An event that became two keeps
// its type: the code that adds events up knows both forms.
func Up[From, To any](up func(From) (To, error)) TypeOption {
	return func(e *entry) {
		if up == nil {
			e.missing = fmt.Sprintf("step %d of Up is nil", len(e.steps)+1)
		}
		e.steps = append(e.steps, step{
			from: reflect.TypeFor[From](), to: reflect.TypeFor[To](), read: read[From],
			up: func(v any) (any, error) { return up(v.(From)) }, // New has checked that the steps join
		})
	}
}

// Through sends the type's events through a filter, such as encryption: Seal in the
// order given, Open in the reverse one.
func Through(filter Filter) TypeOption {
	return func(e *entry) { e.filters = append(e.filters, filter) }
}

// Filter changes events on their way into the store and out of it. It is safe for
// concurrent use.
type Filter interface {
	// Seal changes the event that value was encoded as: its data, content type or
	// metadata, and not its ID or type. It is deterministic, as [Encoding].Marshal: the same event is sealed
	// to the same bytes.
	Seal(ctx context.Context, value any, event *eventstore.Event) error
	// Open undoes Seal. The event is the filter's to change, but for its ID and type.
	Open(ctx context.Context, event *eventstore.RecordedEvent) error
}

var errNil = errors.New("the data is null, and no event")

// read decodes data into a value of type T.
func read[T any](encoding Encoding, data []byte) (any, error) {
	if isNull(encoding, data) {
		return nil, errNil // which JSON would take for a zero value
	}
	v := new(T)
	if err := encoding.Unmarshal(data, v); err != nil {
		return nil, err
	}
	decoded := any(*v)
	if isNil(decoded) {
		return nil, errNil
	}
	return decoded, nil
}

// isNil tells whether a value is nil, or a pointer to what is.
func isNil(v any) bool {
	for value := reflect.ValueOf(v); ; value = value.Elem() {
		switch value.Kind() {
		case reflect.Invalid:
			return true
		case reflect.Pointer:
			if value.IsNil() {
				return true
			}
		case reflect.Map, reflect.Slice:
			return value.IsNil()
		default:
			return false
		}
	}
}

// version is the newest one of the schema.
func (e *entry) version() int { return len(e.steps) + 1 }

// decode reads data of a known version and brings it to the newest.
func (e *entry) decode(encoding Encoding, data []byte, version int) (any, error) {
	if version == e.version() {
		return e.read(encoding, data)
	}
	v, err := e.steps[version-1].read(encoding, data)
	for i := version - 1; err == nil && i < len(e.steps); i++ {
		if v, err = e.steps[i].up(v); err == nil && isNil(v) {
			err = fmt.Errorf("step %d of Up returned nil, which is no event", i+1)
		}
	}
	return v, err
}

// check refuses what can be neither encoded nor decoded as one of a family.
func (e *entry) check(family reflect.Type) error {
	switch {
	case e.missing != "":
		return invalid("type %q: %s", e.name, e.missing)
	case e.goType.Kind() == reflect.Interface:
		return invalid("type %q is the interface %s; name the types that implement it", e.name, e.goType)
	case family.Kind() == reflect.Interface && !e.goType.Implements(family):
		return invalid("type %q: %s does not implement %s", e.name, e.goType, family)
	case family.Kind() != reflect.Interface && e.goType != family:
		return invalid("type %q: %s is not %s, of which the codec is", e.name, e.goType, family)
	}
	for i, s := range e.steps {
		next := e.goType
		if i+1 < len(e.steps) {
			next = e.steps[i+1].from
		}
		if s.to != next {
			return invalid("type %q: step %d of Up leads to %s, and the version after it is %s", e.name, i+1, s.to, next)
		}
		if s.from.Kind() == reflect.Interface {
			return invalid("type %q: step %d of Up begins at the interface %s, which cannot be decoded", e.name, i+1, s.from)
		}
	}
	for _, filter := range e.filters {
		if filter == nil {
			return invalid("type %q: a filter is nil", e.name)
		}
	}
	return nil
}
