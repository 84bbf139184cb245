package shred_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/shred"
)

var ada = Registered{Customer: "c-7", Name: "Ada <&> é", Email: "ada@example.com"}

func encode[E any](t *testing.T, c *codec.Codec[E], id uuid.UUID, v E) eventstore.Event {
	t.Helper()
	event, err := c.Encode(t.Context(), id, v)
	require.NoError(t, err)
	return event
}

func decode[E any](t *testing.T, c *codec.Codec[E], event eventstore.Event) (E, error) {
	t.Helper()
	v, ok, err := c.Decode(t.Context(), eventstore.RecordedEvent{Event: event, Stream: "customer-7", Version: 1})
	require.Equal(t, err == nil, ok)
	return v, err
}

// fields are an event's, by name.
func fields(t *testing.T, data []byte) map[string]json.RawMessage {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &all))
	return all
}

func stores(t *testing.T) map[string]*eventstore.Store {
	t.Helper()
	backend, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), nil)
	require.NoError(t, err)
	all := make(map[string]*eventstore.Store)
	for name, b := range map[string]eventstore.Backend{"memory": memory.New(), "sqlite": backend} {
		store, err := eventstore.New(b, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		all[name] = store
	}
	return all
}

func TestStreamsAreWholeAfterDelete(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			keys := new(shred.MemoryKeys)
			c := customers(keys)
			bob := Registered{Customer: "c-8", Name: "Bob"}
			for _, v := range []Event{ada, Ordered{Cents: 500}, bob} {
				_, err := store.Append(t.Context(), "customer-7", eventstore.Any(), encode(t, c, uuid.Nil, v))
				require.NoError(t, err)
			}
			read := func() (recorded []eventstore.RecordedEvent, values []Event) {
				for e, err := range c.Each(t.Context(), store.ReadStream(t.Context(), "customer-7", eventstore.ReadOptions{})) {
					require.NoError(t, err)
					recorded, values = append(recorded, e.Recorded), append(values, e.Value)
				}
				return recorded, values
			}
			before, values := read()
			require.Equal(t, []Event{ada, Ordered{Cents: 500}, bob}, values)
			require.NoError(t, keys.Delete(t.Context(), "c-7"))
			after, values := read()
			require.Equal(t, before, after, "nothing that is stored has changed")
			require.Equal(t, []Event{Registered{Customer: "c-7"}, Ordered{Cents: 500}, bob}, values)

			_, err := c.Encode(t.Context(), uuid.Nil, ada)
			require.ErrorIs(t, err, shred.ErrShredded, "there is no second key")
		})
	}
}

func TestARepeatedAppendIsRecognisedByItsContent(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			c, id := customers(new(shred.MemoryKeys)), uuid.New()
			var versions []uint64
			for range 3 {
				event := encode(t, c, id, Event(ada))
				require.Equal(t, encode(t, c, id, Event(ada)), event)
				result, err := store.Append(t.Context(), "customer-7", eventstore.NoStream(), event)
				require.NoError(t, err)
				versions = append(versions, result.Version)
			}
			require.Equal(t, []uint64{1, 1, 1}, versions)
		})
	}
}

func TestWhatIsStoredIsTheSubjectAndATextAndNothingOfTheField(t *testing.T) {
	event := encode(t, customers(new(shred.MemoryKeys)), uuid.Nil, Event(ada))
	all := fields(t, event.Data)
	require.JSONEq(t, `"c-7"`, string(all["customer"]), "what is not named stays as it is")
	for _, name := range []string{"name", "email"} {
		sealed := fields(t, all[name])
		require.Len(t, sealed, 2)
		require.JSONEq(t, `"c-7"`, string(sealed["$sealed"]))
		require.NotEmpty(t, sealed["text"])
	}
	require.NotContains(t, string(event.Data), "Ada")
	require.NotContains(t, string(event.Data), base64.StdEncoding.EncodeToString([]byte("ada@")))

	without := encode(t, customers(new(shred.MemoryKeys)), uuid.Nil, Event(Registered{Customer: "c-7", Name: "Ada"}))
	require.NotContains(t, fields(t, without.Data), "email", "what is absent stays absent")
}

// Two places of a text never share a nonce: with one nonce for two texts AES-GCM keeps
// neither secret, and with one for two places it can be forged.
func TestEveryPlaceAndTextHasANonceOfItsOwn(t *testing.T) {
	type two struct{ A, B string }
	keys, id := new(shred.MemoryKeys), uuid.New()
	whose := "a"
	through := func() codec.TypeOption {
		return codec.Through(shred.Fields(keys, func(two) string { return whose }, "A", "B"))
	}
	seen := make(map[string]string)
	note := func(what, eventType string, id uuid.UUID, v two) {
		event := encode(t, codec.Must(codec.New[two](nil, codec.Of[two](eventType, through()))), id, v)
		for name, member := range fields(t, event.Data) {
			var sealed struct{ Text []byte }
			require.NoError(t, json.Unmarshal(member, &sealed))
			nonce := string(sealed.Text[:12])
			require.Empty(t, seen[nonce], "%s, field %s", what, name)
			seen[nonce] = what
		}
	}
	note("first", "T", id, two{"x", "x"})
	note("another event", "T", uuid.New(), two{"x", "x"})
	note("another text", "T", id, two{"y", "y"})
	note("another type, in another stream, where the same ID may be", "U", id, two{"x", "x"})
	whose = "b"
	note("another subject", "T", id, two{"x", "x"})
}

func TestSealedDataOfAnotherPlaceOrKeyIsRefused(t *testing.T) {
	keys := new(shred.MemoryKeys)
	// So that a type can be mistaken for another one, and both have these fields.
	whose := func(e Registered) string { return e.Customer }
	c := codec.Must(codec.New[Event](nil, codec.Of[Registered]("CustomerRegistered", codec.Was("Renamed"), codec.Through(shred.Fields(keys, whose, "name", "email")))))
	good := encode(t, c, uuid.Nil, Event(ada))
	bob := encode(t, c, uuid.Nil, Event(Registered{Customer: "c-8", Name: "Bob", Email: "bob@example.com"}))
	replaced := func(event eventstore.Event, name string, with json.RawMessage) eventstore.Event {
		all := fields(t, event.Data)
		all[name] = with
		data, err := json.Marshal(all)
		require.NoError(t, err)
		event.Data = data
		return event
	}
	adas, bobs := fields(t, good.Data), fields(t, bob.Data)
	otherEvent, otherType := good, good
	otherEvent.ID, otherType.Type = uuid.New(), "Renamed"
	var damaged struct {
		Subject string `json:"$sealed"`
		Text    []byte `json:"text"`
	}
	require.NoError(t, json.Unmarshal(adas["name"], &damaged))
	damaged.Text[len(damaged.Text)-1] ^= 1
	inDamaged, err := json.Marshal(damaged)
	require.NoError(t, err)
	for what, event := range map[string]eventstore.Event{
		"another event":         otherEvent,
		"another type":          otherType,
		"another field":         replaced(good, "name", adas["email"]),
		"another event's field": replaced(good, "name", bobs["name"]),
		"another subject":       replaced(good, "name", json.RawMessage(strings.Replace(string(adas["name"]), "c-7", "c-8", 1))),
		"a damaged text":        replaced(good, "name", inDamaged),
		"a text without base64": replaced(good, "name", json.RawMessage(`{"$sealed":"c-7","text":"?"}`)),
		"a short text":          replaced(good, "name", json.RawMessage(`{"$sealed":"c-7","text":"AAAA"}`)),
	} {
		v, err := decode(t, c, event)
		require.ErrorIs(t, err, shred.ErrNotAuthentic, what)
		require.Nil(t, v, what)
	}
	others := new(shred.MemoryKeys)
	_, err = decode(t, customers(others), good)
	require.ErrorIs(t, err, shred.ErrNoKey, "a lost key is no deleted one")
	require.ErrorContains(t, err, `field "email" of subject "c-7"`)
	_, err = others.Key(t.Context(), "c-7", true)
	require.NoError(t, err)
	_, err = decode(t, customers(others), good)
	require.ErrorIs(t, err, shred.ErrNotAuthentic, "another key")
	v, err := decode(t, c, good)
	require.NoError(t, err)
	require.Equal(t, Event(ada), v)
}

func TestFieldsOfOlderVersionsAreOpenedToo(t *testing.T) {
	type v1 struct {
		Who, Phone string
	}
	type v2 struct {
		Who    string
		Phones []string
	}
	keys := new(shred.MemoryKeys)
	old := codec.Must(codec.New[v1](nil, codec.Of[v1]("T", codec.Through(shred.Fields(keys, func(v v1) string { return v.Who }, "Phone")))))
	now := codec.Must(codec.New[v2](nil, codec.Of[v2]("T",
		codec.Up(func(v v1) (v2, error) { return v2{v.Who, []string{v.Phone}}, nil }),
		codec.Through(shred.Fields(keys, func(v v2) string { return v.Who }, "phones")), // as encoding/json reads it
	)))
	first, second := encode(t, old, uuid.Nil, v1{"a", "1"}), encode(t, now, uuid.Nil, v2{"a", []string{"1", "2"}})
	require.Contains(t, string(second.Data), "$sealed")
	for _, want := range []struct {
		event eventstore.Event
		v     v2
	}{{first, v2{"a", []string{"1"}}}, {second, v2{"a", []string{"1", "2"}}}} {
		v, err := decode(t, now, want.event)
		require.NoError(t, err)
		require.Equal(t, want.v, v)
	}
	require.NoError(t, keys.Delete(t.Context(), "a"))
	v, err := decode(t, now, first)
	require.NoError(t, err)
	require.Equal(t, v2{"a", []string{""}}, v, "the step is given a zero value")
}

func TestAFilterThatCannotWorkIsRefusedAtTheFirstEvent(t *testing.T) {
	type shape struct {
		Who  string
		Text string `json:",omitempty"`
		Any  any
	}
	whose := func(s shape) string { return s.Who }
	keys := new(shred.MemoryKeys)
	for reason, c := range map[string]struct {
		filter codec.Filter
		v      shape
	}{
		"give Fields all three":       {shred.Fields(keys, whose), shape{Who: "a"}},
		"subject are nil":             {shred.Fields[shape](keys, nil, "Text"), shape{Who: "a", Text: "t"}},
		`has no field "Txet"`:         {shred.Fields(keys, whose, "Text", "Txet"), shape{Who: "a", Text: "t"}},
		"a filter of its own":         {shred.Fields(keys, func(Ordered) string { return "a" }, "cents"), shape{Who: "a"}},
		"subject: it is empty":        {shred.Fields(keys, whose, "Text"), shape{Text: "t"}},
		"would be opened as such":     {shred.Fields(keys, whose, "Text"), shape{Who: "a", Any: map[string]string{"$sealed": "x", "text": "y"}}},
		`the field "Any" has $sealed`: {shred.Fields(keys, whose, "Text"), shape{Who: "a", Any: map[string]string{"$sealed": "x", "text": "y"}}},
	} {
		_, err := codec.Must(codec.New[shape](nil, codec.Of[shape]("T", codec.Through(c.filter)))).Encode(t.Context(), uuid.Nil, c.v)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, reason)
	}
	type text string
	_, err := codec.Must(codec.New[text](nil, codec.Of[text]("T", codec.Through(shred.Fields(keys, func(text) string { return "a" }, "x"))))).Encode(t.Context(), uuid.Nil, "x")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "no JSON object")

	c := codec.Must(codec.New[shape](nil, codec.Of[shape]("T", codec.Through(shred.Fields(keys, whose, "Text", "Any")))))
	inside := shape{Who: "a", Any: map[string]any{"$sealed": "x", "text": "y"}}
	v, err := decode(t, c, encode(t, c, uuid.Nil, inside))
	require.NoError(t, err)
	require.Equal(t, inside, v, "what is encrypted is opened once")
	_, err = decode(t, codec.Must(codec.New[shape](nil, codec.Of[shape]("T", codec.Through(shred.Fields(nil, whose, "Text"))))), encode(t, c, uuid.Nil, inside))
	require.ErrorContains(t, err, "its keys are nil")
	_, err = keys.Key(t.Context(), "nobody", false)
	require.ErrorIs(t, err, shred.ErrNoKey)
	encode(t, codec.Must(codec.New[shape](nil, codec.Of[shape]("T", codec.Through(shred.Fields(keys, whose, "Text"))))), uuid.Nil, shape{Who: "nobody"})
	_, err = keys.Key(t.Context(), "nobody", false)
	require.ErrorIs(t, err, shred.ErrNoKey, "an event without the fields makes no key")
}

// empty is a key store with a mistake in it.
type empty struct{ shred.KeyStore }

func (empty) Key(context.Context, string, bool) (shred.Key, error) { return shred.Key{}, nil }

func TestNothingIsSealedWithAnEmptyKey(t *testing.T) {
	_, err := customers(empty{}).Encode(t.Context(), uuid.Nil, ada)
	require.ErrorContains(t, err, "an empty key")
	_, err = decode(t, customers(empty{}), encode(t, customers(new(shred.MemoryKeys)), uuid.Nil, Event(ada)))
	require.ErrorContains(t, err, "an empty key")
}

// FuzzOpen: whatever is stored, opening it does not panic, and gives nothing that no
// key sealed.
func FuzzOpen(f *testing.F) {
	keys := new(shred.MemoryKeys)
	c := customers(keys)
	if _, err := keys.Key(f.Context(), "c-7", true); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"name":{"$sealed":"c-7","text":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`))
	f.Add([]byte(`{"name":{"$sealed":"","text":""},"email":{"$sealed":null,"text":""}}`))
	f.Add([]byte(`{"customer":{"$sealed":"c-7"},"name":"Ada"}`))
	f.Add([]byte(`[{"$sealed":"c-7","text":""}]`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, ok, err := c.Decode(t.Context(), eventstore.RecordedEvent{Event: eventstore.Event{ID: uuid.Max, Type: "CustomerRegistered", Data: data}})
		if ok != (err == nil) || ok != (v != nil) {
			t.Fatalf("%v %v %v", v, ok, err)
		}
		var plain Registered
		if ok && (json.Unmarshal(data, &plain) != nil || v != Event(plain)) {
			t.Fatalf("%s was opened as %+v", data, v)
		}
	})
}
