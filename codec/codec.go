package codec

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Codec knows one family of events: values of type E, an interface or a struct of
// the application's. It is safe for concurrent use.
type Codec[E any] struct {
	writer        Encoding
	readers       map[string]Encoding
	metadata      func(ctx context.Context, set func(key, value string))
	types         []*entry
	byGoType      map[reflect.Type]*entry
	byName        map[string]*entry // an ignored name has nil
	ignoreUnknown bool
}

// Options configures a [Codec]. The zero value, like nil, means the defaults.
type Options struct {
	// Encodings turn values into bytes and back. The first one writes; each reads
	// what has its content type. Empty means [JSON].
	Encodings []Encoding
	// Metadata, where not nil, is asked at each Encode for keys to add, such as a
	// trace context. What the context carries counts more.
	Metadata func(ctx context.Context, set func(key, value string))
}

// New makes a codec of the types that it is to know.
//
// Errors: ErrInvalid where a type does not implement E, a name or a Go type occurs
// twice, the steps of [Up] do not join, or an option, a step or a filter is nil.
func New[E any](opts *Options, types ...Type) (*Codec[E], error) {
	c := &Codec[E]{byGoType: make(map[reflect.Type]*entry), byName: make(map[string]*entry)}
	encodings := []Encoding{JSON()}
	if opts != nil {
		c.metadata = opts.Metadata
		if len(opts.Encodings) > 0 {
			encodings = opts.Encodings
		}
	}
	var err error
	if c.readers, err = readers(encodings); err != nil {
		return nil, err
	}
	c.writer = encodings[0]
	for _, t := range types {
		if err := c.add(t); err != nil {
			return nil, err
		}
	}
	if len(c.types) == 0 {
		return nil, invalid("it has no types; name those that it is to know, each with Of")
	}
	return c, nil
}

// Must returns c, and panics where err is not nil. It is for variables and functions
// that hold a codec which the program's own text describes: the error is a mistake in
// that text.
func Must[E any](c *Codec[E], err error) *Codec[E] {
	if err != nil {
		panic(err)
	}
	return c
}

func invalid(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "codec", Reason: fmt.Sprintf(format, args...)}
}

// add takes up what Of, Ignore or IgnoreUnknown made.
func (c *Codec[E]) add(t Type) error {
	c.ignoreUnknown = c.ignoreUnknown || t.ignoreUnknown
	for _, name := range t.ignored {
		if err := c.name(name, nil); err != nil {
			return err
		}
	}
	if t.entry == nil {
		return nil
	}
	e := t.entry
	if err := e.check(reflect.TypeFor[E]()); err != nil {
		return err
	}
	if other, twice := c.byGoType[e.goType]; twice {
		return invalid("the Go type %s is given the names %q and %q; it has one, and Was names older ones", e.goType, other.name, e.name)
	}
	c.byGoType[e.goType] = e
	c.types = append(c.types, e)
	for _, name := range append([]string{e.name}, e.was...) {
		if err := c.name(name, e); err != nil {
			return err
		}
	}
	return nil
}

func (c *Codec[E]) name(name string, e *entry) error {
	if name == "" {
		return invalid("a name is empty; events have types of 1 byte at least")
	}
	if _, twice := c.byName[name]; twice {
		return invalid("the name %q occurs twice", name)
	}
	c.byName[name] = e
	return nil
}

// Encode makes an event of a value, with the metadata that ctx carries. A zero id is
// replaced by a new version 7 UUID, so the caller knows it before the append.
//
// Errors: ErrInvalid for a value whose type is not in the codec, for a nil pointer, map or
// slice, which no Decode would take, and for a filter that changes the event's ID or type;
// those of the encoding and of the type's filters.
func (c *Codec[E]) Encode(ctx context.Context, id uuid.UUID, v E) (eventstore.Event, error) {
	e, err := c.entryOf(v)
	if err != nil {
		return eventstore.Event{}, err
	}
	fail := func(err error) (eventstore.Event, error) {
		return eventstore.Event{}, fmt.Errorf("encode event of type %q: %w", e.name, err)
	}
	if isNil(v) {
		return fail(invalid("the event is a nil %T; give a value", v))
	}
	data, err := c.writer.Marshal(v)
	if err == nil && isNull(c.writer, data) {
		err = invalid("a %T is encoded as null, and null is no event", v)
	}
	if err != nil {
		return fail(err)
	}
	if id == uuid.Nil {
		if id, err = uuid.NewV7(); err != nil {
			return fail(err)
		}
	}
	event := eventstore.Event{
		ID: id, Type: e.name, Data: data, ContentType: c.writer.ContentType(), Metadata: c.metadataOf(ctx, e.version()),
	}
	if len(e.filters) > 0 {
		if event, err = sealed(ctx, e.filters, v, event); err != nil {
			return fail(err)
		}
	}
	return event, nil
}

// sealed returns an event that has gone through filters. It is a function of its own
// because the event that they are given is allocated: most types have none.
func sealed(ctx context.Context, filters []Filter, value any, event eventstore.Event) (eventstore.Event, error) {
	id, eventType := event.ID, event.Type
	for _, filter := range filters {
		if err := filter.Seal(ctx, value, &event); err != nil {
			return event, err
		}
		if event.ID != id || event.Type != eventType {
			return event, otherEvent(filter)
		}
	}
	return event, nil
}

func otherEvent(filter Filter) error {
	return invalid("the filter %T changes the event's ID or type; it may change the data, its content type and the metadata", filter)
}

// entryOf finds a value's type.
func (c *Codec[E]) entryOf(v any) (*entry, error) {
	goType := reflect.TypeOf(v)
	if goType == nil {
		return nil, invalid("the event is nil")
	}
	if e, ok := c.byGoType[goType]; ok {
		return e, nil
	}
	if goType.Kind() == reflect.Pointer {
		if _, ok := c.byGoType[goType.Elem()]; ok {
			return nil, invalid("the event is a %s; give the %s itself, which the codec knows", goType, goType.Elem())
		}
	}
	return nil, invalid("the event is a %s, which the codec does not know; add it with Of", goType)
}

// metadataOf is an event's metadata: nil where there is none.
func (c *Codec[E]) metadataOf(ctx context.Context, version int) map[string]string {
	carried := carriedBy(ctx)
	if len(carried) == 0 && c.metadata == nil && version == 1 {
		return nil // without the closure, which is allocated
	}
	var all map[string]string
	set := func(key, value string) {
		if all == nil {
			all = make(map[string]string, len(carried)+2)
		}
		all[key] = value
	}
	if c.metadata != nil {
		c.metadata(ctx, set)
	}
	for key, value := range carried {
		set(key, value)
	}
	delete(all, eventstore.MetaSchemaVersion) // it is the codec's to tell
	if version > 1 {
		set(eventstore.MetaSchemaVersion, strconv.Itoa(version))
	}
	return all
}

// Decode returns the event as the newest version of its type. ok is false where the
// type is ignored.
//
// Errors: an [UnknownEventError], which matches [ErrUnknownEvent], for a type, a
// version or a content type that the codec does not know; those of the encoding, of
// the steps of [Up] and of the type's filters, with the event's ID. Data that is null in
// JSON is an error, and so is nil from a step of [Up]: neither is an event.
func (c *Codec[E]) Decode(ctx context.Context, event eventstore.RecordedEvent) (v E, ok bool, err error) {
	e, known := c.byName[event.Type]
	switch {
	case !known && c.ignoreUnknown, known && e == nil:
		return v, false, nil
	case !known:
		return v, false, unknown(event, "its type is unknown; deploy the code that knows it first, or name it with Ignore")
	}
	decoded, err := c.decode(ctx, e, &event)
	if err != nil {
		return v, false, err
	}
	return decoded.(E), true, nil // New has checked that the type implements E
}

func (c *Codec[E]) decode(ctx context.Context, e *entry, event *eventstore.RecordedEvent) (any, error) {
	failed := func(err error) error {
		return fmt.Errorf("decode event %s of type %q (version %d of stream %q): %w", event.ID, event.Type, event.Version, event.Stream, err)
	}
	if len(e.filters) > 0 {
		changed, err := opened(ctx, e.filters, *event)
		if err != nil {
			return nil, failed(err)
		}
		event = &changed
	}
	encoding := c.reader(event.ContentType)
	if encoding == nil {
		return nil, unknown(*event, "its content type is unknown; add its Encoding to the codec")
	}
	version, ok := schemaVersion(event.Metadata)
	if !ok || version > e.version() {
		return nil, unknown(*event, fmt.Sprintf("the version of its schema is unknown, and the newest known one is %d; deploy the code that knows it first", e.version()))
	}
	v, err := e.decode(encoding, event.Data, version)
	if err != nil {
		return nil, failed(err)
	}
	return v, nil
}

// opened returns an event that has gone through filters, which may change what is the
// caller's. It is a function of its own for the same reason as sealed.
func opened(ctx context.Context, filters []Filter, event eventstore.RecordedEvent) (eventstore.RecordedEvent, error) {
	event.Data, event.Metadata = bytes.Clone(event.Data), maps.Clone(event.Metadata)
	id, eventType := event.ID, event.Type
	for _, filter := range slices.Backward(filters) {
		if err := filter.Open(ctx, &event); err != nil {
			return event, err
		}
		if event.ID != id || event.Type != eventType {
			return event, otherEvent(filter)
		}
	}
	return event, nil
}

// schemaVersion reads the version that an event names: 1 where it names none.
func schemaVersion(metadata map[string]string) (version int, ok bool) {
	text, named := metadata[eventstore.MetaSchemaVersion]
	if !named {
		return 1, true
	}
	version, err := strconv.Atoi(text)
	return version, err == nil && version >= 1
}

// Decoded is an event and what it says.
type Decoded[E any] struct {
	Value    E
	Recorded eventstore.RecordedEvent
}

// Each decodes what a read yields, and leaves out what is ignored. It ends after the
// first error, the read's or that of [Codec.Decode].
func (c *Codec[E]) Each(ctx context.Context, events iter.Seq2[eventstore.RecordedEvent, error]) iter.Seq2[Decoded[E], error] {
	return func(yield func(Decoded[E], error) bool) {
		for event, err := range events {
			d, ok := Decoded[E]{Recorded: event}, true
			if err == nil {
				d.Value, ok, err = c.Decode(ctx, event)
			}
			if err != nil {
				yield(Decoded[E]{}, err)
				return
			}
			if ok && !yield(d, nil) {
				return
			}
		}
	}
}

// Types returns the names of all events that are decoded, old names too, in the order
// in which the codec was given them: for [eventstore.Filter].Types.
func (c *Codec[E]) Types() []string {
	var names []string
	for _, e := range c.types {
		names = append(append(names, e.name), e.was...)
	}
	return names
}

// Schema is one version of one type.
type Schema struct {
	// Name is the type's in the store, or one that it had, and Version that of its
	// schema, from 1.
	Name    string
	Version int
	// Type is the Go type that it is decoded into.
	Type reflect.Type
}

// Schemas returns every version of every type under each of its names, old ones too, in
// the order in which the codec was given them: for tests that hold them against what is
// stored.
func (c *Codec[E]) Schemas() []Schema {
	var schemas []Schema
	for _, e := range c.types {
		for _, name := range append([]string{e.name}, e.was...) {
			for i, step := range e.steps {
				schemas = append(schemas, Schema{Name: name, Version: i + 1, Type: step.from})
			}
			schemas = append(schemas, Schema{Name: name, Version: e.version(), Type: e.goType})
		}
	}
	return schemas
}
