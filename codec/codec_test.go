package codec_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Event is a family, and its types are of every kind.
type Event interface{ order() }

type (
	Placed struct {
		Customer string `json:"customer"`
		Cents    int64  `json:"cents"`
	}
	Paid struct {
		Cents float64 `json:"cents"`
	}
	Cancelled struct{ Reason string }
	Noted     string
	Tagged    map[string]string
	Counted   struct{ N int }
)

func (Placed) order()    {}
func (Paid) order()      {}
func (Cancelled) order() {}
func (Noted) order()     {}
func (Tagged) order()    {}
func (*Counted) order()  {}

// Placed had its price in euros, and at first as a text.
type (
	placedV1 struct{ Customer, Euros string }
	placedV2 struct {
		Customer string
		Euros    int64
	}
)

var errNoNumber = errors.New("no number")

func toV2(v placedV1) (placedV2, error) {
	euros, err := strconv.ParseInt(v.Euros, 10, 64)
	if err != nil {
		return placedV2{}, errNoNumber
	}
	return placedV2{v.Customer, euros}, nil
}

func toPlaced(v placedV2) (Placed, error) {
	return Placed{Customer: v.Customer, Cents: 100 * v.Euros}, nil
}

func types(more ...codec.Type) []codec.Type {
	return append([]codec.Type{
		codec.Of[Placed]("OrderPlaced", codec.Up(toV2), codec.Up(toPlaced), codec.Was("OrderMade", "NewOrder")),
		codec.Of[Paid]("OrderPaid"),
		codec.Of[Cancelled]("OrderCancelled", codec.Was("OrderDropped")),
		codec.Of[Noted]("OrderNoted"),
		codec.Of[Tagged]("OrderTagged"),
		codec.Of[*Counted]("OrderCounted"),
	}, more...)
}

func orders(t testing.TB, opts *codec.Options, more ...codec.Type) *codec.Codec[Event] {
	t.Helper()
	c, err := codec.New[Event](opts, types(more...)...)
	require.NoError(t, err)
	return c
}

func recorded(e eventstore.Event) eventstore.RecordedEvent {
	return eventstore.RecordedEvent{Event: e, Stream: "order-1", Version: 3, RecordedAt: time.Now()}
}

// event makes a stored event of a schema's version; 0 names none.
func event(name string, version int, data string) eventstore.RecordedEvent {
	e := eventstore.Event{ID: uuid.Max, Type: name, Data: []byte(data), ContentType: "application/json"}
	if version > 0 {
		e = e.WithSchemaVersion(version)
	}
	return recorded(e)
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	c := orders(t, nil)
	store, err := eventstore.New(memory.New(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	values := []Event{Placed{"ann", 500}, Paid{1.5}, Cancelled{}, Noted("é"), Tagged{"a": "b"}, &Counted{7}}
	var encoded []eventstore.Event
	for _, v := range values {
		e, err := c.Encode(t.Context(), uuid.Nil, v)
		require.NoError(t, err)
		require.EqualValues(t, 7, e.ID.Version(), "the caller knows the ID")
		encoded = append(encoded, e)
	}
	result, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), encoded...)
	require.NoError(t, err)
	for i, e := range result.Events {
		v, ok, err := c.Decode(t.Context(), e)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, values[i], v)
	}
}

func TestAnEventSaysWhatItIs(t *testing.T) {
	c, id := orders(t, nil), uuid.New()
	paid, err := c.Encode(t.Context(), id, Paid{5})
	require.NoError(t, err)
	require.Equal(t, eventstore.Event{ID: id, Type: "OrderPaid", ContentType: "application/json", Data: []byte(`{"cents":5}`)}, paid)
	placed, err := c.Encode(t.Context(), id, Placed{"ann", 5})
	require.NoError(t, err)
	require.Equal(t, "OrderPlaced", placed.Type, "never a name that it had")
	require.Equal(t, map[string]string{"$schemaVersion": "3"}, placed.Metadata)
	again, err := c.Encode(t.Context(), id, Placed{"ann", 5})
	require.NoError(t, err)
	require.Equal(t, placed, again, "a repeated append is recognised by content")
}

func TestAFamilyMayBeOneStruct(t *testing.T) {
	c, err := codec.New[Placed](nil, codec.Of[Placed]("P"))
	require.NoError(t, err)
	e, err := c.Encode(t.Context(), uuid.Nil, Placed{"ann", 1})
	require.NoError(t, err)
	v, ok, err := c.Decode(t.Context(), recorded(e))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, Placed{"ann", 1}, v)
}

func TestEveryVersionAndNameIsReadAsTheNewest(t *testing.T) {
	c := orders(t, nil)
	for _, name := range []string{"OrderPlaced", "OrderMade", "NewOrder"} {
		for version, data := range []string{`{"Customer":"ann","Euros":"5"}`, `{"Customer":"ann","Euros":"5"}`, `{"Customer":"ann","Euros":5}`, `{"customer":"ann","cents":500}`} {
			v, ok, err := c.Decode(t.Context(), event(name, version, data))
			require.NoError(t, err, "version %d", version)
			require.True(t, ok)
			require.Equal(t, Placed{"ann", 500}, v)
		}
	}
}

func TestAStepThatFailsFailsTheEvent(t *testing.T) {
	_, ok, err := orders(t, nil).Decode(t.Context(), event("OrderPlaced", 1, `{"Euros":"five"}`))
	require.ErrorIs(t, err, errNoNumber)
	require.ErrorContains(t, err, uuid.Max.String())
	require.False(t, ok)
}

func TestAnUnknownEventIsAnError(t *testing.T) {
	c := orders(t, nil)
	for name, test := range map[string]struct {
		change func(*eventstore.RecordedEvent)
		want   string
	}{
		"a type":                          {func(e *eventstore.RecordedEvent) { e.Type = "OrderShipped" }, "its type is unknown"},
		"the name in other letters":       {func(e *eventstore.RecordedEvent) { e.Type = "orderplaced" }, "its type is unknown"},
		"a newer version":                 {func(e *eventstore.RecordedEvent) { e.Event = e.WithSchemaVersion(4) }, "the newest known one is 3; deploy"},
		"a version that is none":          {func(e *eventstore.RecordedEvent) { e.Event = e.WithSchemaVersion(0) }, "schema is unknown"},
		"a version that is no number":     {func(e *eventstore.RecordedEvent) { e.Event = e.WithMetadata("$schemaVersion", "two") }, "schema is unknown"},
		"a version that is no text":       {func(e *eventstore.RecordedEvent) { e.Event = e.WithMetadata("$schemaVersion", "") }, "schema is unknown"},
		"a content type":                  {func(e *eventstore.RecordedEvent) { e.ContentType = "application/protobuf" }, "content type is unknown"},
		"a content type that is like one": {func(e *eventstore.RecordedEvent) { e.ContentType = "application/vnd.x+json" }, "content type is unknown"},
		"a content type that is none":     {func(e *eventstore.RecordedEvent) { e.ContentType = ";" }, "content type is unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			e := event("OrderPlaced", 3, `{}`)
			test.change(&e)
			v, ok, err := c.Decode(t.Context(), e)
			require.Nil(t, v)
			require.False(t, ok)
			require.ErrorIs(t, err, codec.ErrUnknownEvent)
			require.ErrorContains(t, err, test.want)
			var unknown *codec.UnknownEventError
			require.ErrorAs(t, err, &unknown)
			require.Equal(t, []any{e.ID, e.Stream, e.Version, e.Type, e.Metadata["$schemaVersion"], e.ContentType},
				[]any{unknown.ID, unknown.Stream, unknown.Version, unknown.Type, unknown.SchemaVersion, unknown.ContentType})
		})
	}
}

func TestWhatIsIgnoredIsPassedOver(t *testing.T) {
	some := orders(t, nil, codec.Ignore("OrderPrinted", "OrderSeen"))
	all := orders(t, nil, codec.IgnoreUnknown())
	for _, c := range []*codec.Codec[Event]{some, all} {
		v, ok, err := c.Decode(t.Context(), event("OrderPrinted", 9, `not JSON`))
		require.NoError(t, err)
		require.False(t, ok)
		require.Nil(t, v)
	}
	_, _, err := some.Decode(t.Context(), event("OrderShipped", 0, `{}`))
	require.ErrorIs(t, err, codec.ErrUnknownEvent)
	_, ok, err := all.Decode(t.Context(), event("OrderShipped", 0, `{}`))
	require.NoError(t, err)
	require.False(t, ok)
	_, _, err = all.Decode(t.Context(), event("OrderPaid", 2, `{}`))
	require.ErrorIs(t, err, codec.ErrUnknownEvent, "a newer version of a known type is no unknown type")
}

func TestDataThatIsWrongIsAnError(t *testing.T) {
	c := orders(t, nil)
	for _, e := range []eventstore.RecordedEvent{
		event("OrderPaid", 0, `{"cents":"x"}`), event("OrderPaid", 0, `{`), event("OrderPaid", 0, ``), event("OrderCounted", 0, `null`), event("OrderPlaced", 2, `[]`),
	} {
		v, ok, err := c.Decode(t.Context(), e)
		require.Error(t, err, "%s", e.Data)
		require.NotErrorIs(t, err, codec.ErrUnknownEvent)
		require.ErrorContains(t, err, e.ID.String())
		require.False(t, ok)
		require.Nil(t, v)
	}
}

func TestAValueThatIsNotInTheCodecIsRefused(t *testing.T) {
	c := orders(t, nil)
	type stranger struct{ Placed }
	for want, v := range map[string]Event{
		"the event is nil":                  nil,
		"give the codec_test.Placed itself": &Placed{},
		"which the codec does not know":     stranger{},
	} {
		_, err := c.Encode(t.Context(), uuid.Nil, v)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
	_, err := c.Encode(t.Context(), uuid.Nil, Paid{math.NaN()})
	require.ErrorContains(t, err, `encode event of type "OrderPaid"`)
}

func TestACodecThatCannotWorkIsRefused(t *testing.T) {
	type other struct{}
	upTo := func(placedV1) (Paid, error) { return Paid{}, nil }
	fromEvent := func(Event) (Paid, error) { return Paid{}, nil }
	for want, make := range map[string]func() error{
		"it has no types":           func() error { _, err := codec.New[Event](nil); return err },
		"other does not implement":  func() error { _, err := codec.New[Event](nil, codec.Of[other]("X")); return err },
		"*codec_test.Placed is not": func() error { _, err := codec.New[Placed](nil, codec.Of[*Placed]("X")); return err },
		"is the interface":          func() error { _, err := codec.New[Event](nil, codec.Of[Event]("X")); return err },
		`the names "A" and "B"`:     func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("A"), codec.Of[Paid]("B")); return err },
		`the name "A" occurs twice`: func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("A"), codec.Of[Placed]("A")); return err },
		`the name "B" occurs twice`: func() error {
			_, err := codec.New[Event](nil, codec.Of[Paid]("A", codec.Was("B")), codec.Of[Placed]("B"))
			return err
		},
		`the name "C" occurs twice`:         func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("A", codec.Was("C", "C"))); return err },
		`the name "D" occurs twice`:         func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("D"), codec.Ignore("D")); return err },
		"a name is empty":                   func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("")); return err },
		"leads to codec_test.Paid, and":     func() error { _, err := codec.New[Event](nil, codec.Of[Placed]("A", codec.Up(upTo))); return err },
		"leads to codec_test.placedV2, and": func() error { _, err := codec.New[Event](nil, codec.Of[Placed]("A", codec.Up(toV2))); return err },
		"step 1 of Up leads to codec_test.Pla": func() error {
			_, err := codec.New[Event](nil, codec.Of[Placed]("A", codec.Up(toPlaced), codec.Up(toV2)))
			return err
		},
		"begins at the interface": func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("A", codec.Up(fromEvent))); return err },
		"a filter is nil":         func() error { _, err := codec.New[Event](nil, codec.Of[Paid]("A", codec.Through(nil))); return err },
		"encoding 1 is nil": func() error {
			_, err := codec.New[Event](&codec.Options{Encodings: []codec.Encoding{nil}}, types()...)
			return err
		},
		"has two encodings": func() error {
			_, err := codec.New[Event](&codec.Options{Encodings: []codec.Encoding{codec.JSON(), codec.JSON()}}, types()...)
			return err
		},
		"is no media type": func() error {
			_, err := codec.New[Event](&codec.Options{Encodings: []codec.Encoding{named{codec.JSON(), ""}}}, types()...)
			return err
		},
	} {
		t.Run(want, func(t *testing.T) {
			err := make()
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, want)
		})
	}
	require.Panics(t, func() { codec.Must(codec.New[Event](nil)) })
}

// named is an encoding under another name.
type named struct {
	codec.Encoding
	contentType string
}

func (n named) ContentType() string { return n.contentType }

type xmlEncoding struct{}

func (xmlEncoding) ContentType() string                { return "application/xml; charset=utf-8" }
func (xmlEncoding) Marshal(v any) ([]byte, error)      { return xml.Marshal(v) }
func (xmlEncoding) Unmarshal(data []byte, v any) error { return xml.Unmarshal(data, v) }

func TestTheFirstEncodingWritesAndEachReadsItsContentType(t *testing.T) {
	c := orders(t, &codec.Options{Encodings: []codec.Encoding{xmlEncoding{}, codec.JSON()}})
	e, err := c.Encode(t.Context(), uuid.Nil, Paid{5})
	require.NoError(t, err)
	require.Equal(t, "application/xml; charset=utf-8", e.ContentType)
	require.Equal(t, "<Paid><Cents>5</Cents></Paid>", string(e.Data))
	for contentType, data := range map[string]string{
		e.ContentType: string(e.Data), "application/xml": string(e.Data), "": `{"cents":5}`, "application/json;charset=UTF-8": `{"cents":5}`, "Application/JSON": `{"cents":5}`,
	} {
		read := recorded(eventstore.Event{Type: "OrderPaid", ContentType: contentType, Data: []byte(data)})
		v, ok, err := c.Decode(t.Context(), read)
		require.NoError(t, err, contentType)
		require.True(t, ok)
		require.Equal(t, Paid{5}, v)
	}
}

func TestTheContextsMetadataIsOnEveryEvent(t *testing.T) {
	c := orders(t, &codec.Options{Metadata: func(_ context.Context, set func(key, value string)) {
		set("traceparent", "00-1")
		set("tenant", "none")
		set("$schemaVersion", "77")
	}})
	cause := recorded(eventstore.Event{ID: uuid.Max, Metadata: map[string]string{"$correlationId": "c-1"}})
	mine := map[string]string{"tenant": "a", "user": "ann"}
	ctx := codec.WithMetadata(codec.WithCorrelation(t.Context(), "c-0"), mine)
	mine["user"] = "changed afterwards"
	caused := codec.WithCause(ctx, cause)
	check := func(ctx context.Context, name string, want map[string]string) {
		t.Run(name, func(t *testing.T) {
			e, err := c.Encode(ctx, uuid.Nil, Paid{1})
			require.NoError(t, err)
			require.Equal(t, want, e.Metadata)
		})
	}
	nothing, own := map[string]string{"traceparent": "00-1", "tenant": "none"}, uuid.Max.String()
	check(t.Context(), "nothing", nothing)
	check(codec.WithMetadata(codec.WithCorrelation(t.Context(), ""), nil), "what is empty", nothing)
	check(ctx, "all", map[string]string{"traceparent": "00-1", "tenant": "a", "user": "ann", "$correlationId": "c-0"})
	check(caused, "a cause in a conversation", map[string]string{"traceparent": "00-1", "tenant": "a", "user": "ann", "$correlationId": "c-1", "$causationId": own})
	check(ctx, "the context before", map[string]string{"traceparent": "00-1", "tenant": "a", "user": "ann", "$correlationId": "c-0"})
	check(codec.WithCause(t.Context(), recorded(eventstore.Event{ID: uuid.Max})), "a cause that begins one",
		map[string]string{"traceparent": "00-1", "tenant": "none", "$correlationId": own, "$causationId": own})
	check(codec.WithMetadata(t.Context(), map[string]string{"$schemaVersion": "9"}), "a version that is claimed", nothing)
	plain, err := orders(t, nil).Encode(t.Context(), uuid.Nil, Paid{1})
	require.NoError(t, err)
	require.Nil(t, plain.Metadata)
}

// wrap is a filter that leaves its marks around the data.
type wrap struct{ left, right string }

func (w wrap) Seal(_ context.Context, value any, e *eventstore.Event) error {
	if value == (Paid{13}) {
		return errors.New("not thirteen")
	}
	e.Data = []byte(w.left + string(e.Data) + w.right)
	e.ContentType = "application/octet-stream"
	return nil
}

func (w wrap) Open(_ context.Context, e *eventstore.RecordedEvent) error {
	text, isLeft := strings.CutPrefix(string(e.Data), w.left)
	text, isRight := strings.CutSuffix(text, w.right)
	if !isLeft || !isRight {
		return errors.New("not sealed so")
	}
	clear(e.Data) // it is the filter's to change
	delete(e.Metadata, "user")
	e.Data, e.ContentType = []byte(text), "application/json"
	return nil
}

func TestFiltersSealInOrderAndOpenInReverse(t *testing.T) {
	c, err := codec.New[Event](nil, codec.Of[Paid]("P", codec.Through(wrap{"<", ">"}), codec.Through(wrap{"[", "]"})), codec.Of[Placed]("Q"))
	require.NoError(t, err)
	ctx := codec.WithMetadata(t.Context(), map[string]string{"user": "ann"})
	e, err := c.Encode(ctx, uuid.Nil, Paid{5})
	require.NoError(t, err)
	require.Equal(t, `[<{"cents":5}>]`, string(e.Data))
	require.Equal(t, "application/octet-stream", e.ContentType)
	v, ok, err := c.Decode(ctx, recorded(e))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, Paid{5}, v)
	require.Equal(t, `[<{"cents":5}>]`, string(e.Data), "the caller's event is left alone")
	require.Equal(t, map[string]string{"user": "ann"}, e.Metadata)

	plain, err := c.Encode(ctx, uuid.Nil, Placed{"ann", 1})
	require.NoError(t, err)
	require.Equal(t, "application/json", plain.ContentType, "the filters are of one type alone")
	_, err = c.Encode(ctx, uuid.Nil, Paid{13})
	require.ErrorContains(t, err, "not thirteen")
	_, _, err = c.Decode(ctx, recorded(eventstore.Event{ID: uuid.Max, Type: "P", Data: []byte("<[]>")}))
	require.ErrorContains(t, err, "not sealed so")
	require.ErrorContains(t, err, uuid.Max.String())
}

func TestEachDecodesWhatAReadYields(t *testing.T) {
	c := orders(t, nil, codec.Ignore("OrderPrinted"))
	reading := errors.New("lost")
	read := func(events ...any) iter.Seq2[eventstore.RecordedEvent, error] {
		return func(yield func(eventstore.RecordedEvent, error) bool) {
			for _, e := range events {
				err, failed := e.(error)
				var event eventstore.RecordedEvent
				if !failed {
					event = e.(eventstore.RecordedEvent)
				}
				if !yield(event, err) {
					return
				}
			}
		}
	}
	collect := func(seq iter.Seq2[codec.Decoded[Event], error], most int) (values []Event, last error) {
		for d, err := range seq {
			if err != nil {
				last = err
				continue
			}
			require.NotEmpty(t, d.Recorded.Type)
			if values = append(values, d.Value); len(values) == most {
				break
			}
		}
		return values, last
	}
	paid, printed, strange := event("OrderPaid", 0, `{"cents":1}`), event("OrderPrinted", 0, ``), event("Strange", 0, ``)
	values, err := collect(c.Each(t.Context(), read(paid, printed, paid)), 9)
	require.NoError(t, err)
	require.Equal(t, []Event{Paid{1}, Paid{1}}, values)
	values, err = collect(c.Each(t.Context(), read(paid, reading, paid)), 9)
	require.ErrorIs(t, err, reading)
	require.Len(t, values, 1, "it ends after an error")
	values, err = collect(c.Each(t.Context(), read(paid, strange, paid)), 9)
	require.ErrorIs(t, err, codec.ErrUnknownEvent)
	require.Len(t, values, 1)
	values, err = collect(c.Each(t.Context(), read(paid, paid, strange)), 1)
	require.NoError(t, err)
	require.Len(t, values, 1, "it ends with its reader")
}

func TestACodecTellsItsNamesAndSchemas(t *testing.T) {
	c := orders(t, nil, codec.Ignore("OrderPrinted"))
	require.Equal(t, []string{"OrderPlaced", "OrderMade", "NewOrder", "OrderPaid", "OrderCancelled", "OrderDropped", "OrderNoted", "OrderTagged", "OrderCounted"}, c.Types())
	require.Equal(t, []codec.Schema{
		{Name: "OrderPlaced", Version: 1, Type: reflect.TypeFor[placedV1]()},
		{Name: "OrderPlaced", Version: 2, Type: reflect.TypeFor[placedV2]()},
		{Name: "OrderPlaced", Version: 3, Type: reflect.TypeFor[Placed]()},
		{Name: "OrderMade", Version: 1, Type: reflect.TypeFor[placedV1]()},
	}, c.Schemas()[:4])
	require.Contains(t, c.Schemas(), codec.Schema{Name: "OrderDropped", Version: 1, Type: reflect.TypeFor[Cancelled]()})
	require.Len(t, c.Schemas(), 3*3+1+2+3)
}

func TestACodecIsUsedByManyAtOnce(t *testing.T) {
	c := orders(t, nil)
	var working sync.WaitGroup
	for i := range 8 {
		working.Go(func() {
			for range 200 {
				e, err := c.Encode(codec.WithCorrelation(t.Context(), fmt.Sprint(i)), uuid.Nil, Placed{"ann", int64(i)})
				if err != nil {
					t.Error(err)
					return
				}
				if v, _, err := c.Decode(t.Context(), recorded(e)); err != nil || v != (Placed{"ann", int64(i)}) || e.CorrelationID() != fmt.Sprint(i) {
					t.Error(v, err)
					return
				}
			}
		})
	}
	working.Wait()
}

// FuzzDecode: whatever is stored, Decode neither panics nor returns nothing without
// an error.
func FuzzDecode(f *testing.F) {
	f.Add("OrderPlaced", "1", "application/json", []byte(`{"Euros":"5"}`))
	f.Add("OrderPlaced", "2", "", []byte(`{"Euros":5}`))
	f.Add("OrderCounted", "", "application/json", []byte(`null`))
	f.Add("OrderTagged", "1", "application/json", []byte(`null`))
	f.Add("OrderPaid", "-1", "application/xml", []byte(`<Paid/>`))
	f.Add("OrderDropped", "99999999999999999999", "a/b;c", []byte{0xff})
	f.Add("OrderPrinted", "\x00", ";", []byte(nil))
	c := orders(f, &codec.Options{Encodings: []codec.Encoding{codec.JSON(), xmlEncoding{}}}, codec.Ignore("OrderPrinted"))
	f.Fuzz(func(t *testing.T, name, version, contentType string, data []byte) {
		e := recorded(eventstore.Event{Type: name, Data: data, ContentType: contentType}.WithMetadata("$schemaVersion", version))
		v, ok, err := c.Decode(t.Context(), e)
		if ok != (err == nil && v != nil) || err != nil && v != nil {
			t.Fatalf("%v %v %v", v, ok, err)
		}
		if !ok && err == nil && name != "OrderPrinted" {
			t.Fatal("an event was passed over that nobody ignores")
		}
		if p, isPointer := v.(*Counted); isPointer && p == nil {
			t.Fatal("a nil pointer is no event")
		}
		if !ok {
			return
		}
		again, err := c.Encode(t.Context(), uuid.Nil, v)
		if err != nil {
			return // what a reader accepts a writer may refuse
		}
		back, ok, err := c.Decode(t.Context(), recorded(again))
		if err != nil || !ok {
			t.Fatal("what was encoded cannot be decoded", err)
		}
		if name != "OrderTagged" && !reflect.DeepEqual(v, back) {
			t.Fatalf("%#v became %#v", v, back)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	c := orders(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Encode(b.Context(), uuid.Max, Paid{5}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	c, e := orders(b, nil), event("OrderPaid", 0, `{"cents":5}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Decode(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
