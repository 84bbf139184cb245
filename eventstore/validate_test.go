package eventstore_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestBadInputIsRefusedByFieldBeforeTheBackendIsCalled(t *testing.T) {
	good := event("A")
	with := func(change func(*eventstore.Event)) eventstore.Event {
		e := good
		change(&e)
		return e
	}
	long := strings.Repeat("x", 256)
	for _, test := range []struct {
		name, stream string
		event        eventstore.Event
		want         string
	}{
		{"an empty stream", "", good, "invalid stream: it is empty"},
		{"a long stream", long, good, "invalid stream: 256 bytes, limit 255"},
		{"a reserved stream", "$all", good, "invalid stream: \"$all\" starts with '$'"},
		{"a stream that is not UTF-8", "a\xff", good, "invalid stream: it is not valid UTF-8"},
		{"a stream with a NUL", "a\x00b", good, "invalid stream: control character U+0000 at byte 1"},
		{"a stream with a C1 control", "a\u0085b", good, "invalid stream: control character U+0085"},
		{"an empty type", "s", with(func(e *eventstore.Event) { e.Type = "" }), "invalid events[0].type: it is empty"},
		{"a long type", "s", with(func(e *eventstore.Event) { e.Type = long }), "invalid events[0].type: 256 bytes"},
		{"a reserved type", "s", with(func(e *eventstore.Event) { e.Type = "$T" }), "invalid events[0].type: \"$T\" starts"},
		{"data that is not JSON", "s", with(func(e *eventstore.Event) { e.Data = []byte("{") }), "invalid events[0].data: it is not valid JSON (1 bytes)"},
		{"JSON with a text that is not UTF-8", "s", with(func(e *eventstore.Event) { e.Data = []byte("\"\xff\"") }), "invalid events[0].data: it is not valid JSON (3 bytes)"},
		{"no data for JSON", "s", with(func(e *eventstore.Event) { e.Data = nil }), "invalid events[0].data: it is not valid JSON (0 bytes)"},
		{"broken JSON of a suffix type", "s", with(func(e *eventstore.Event) {
			e.Data, e.ContentType = []byte("{"), "application/vnd.x+json; charset=utf-8"
		}), "invalid events[0].data"},
		{"large data", "s", with(func(e *eventstore.Event) { e.Data, e.ContentType = make([]byte, 256<<10), "text/plain" }), "invalid events[0].data: the event has 262155 bytes, limit 262144"},
		{"an empty metadata key", "s", with(func(e *eventstore.Event) { e.Metadata = map[string]string{"": "x"} }), "invalid events[0].metadata: a key is empty"},
		{"a metadata key with a control character", "s", with(func(e *eventstore.Event) { e.Metadata = map[string]string{"a\n": "x"} }), "invalid events[0].metadata: key \"a\\n\""},
		{"a metadata value that is not UTF-8", "s", with(func(e *eventstore.Event) { e.Metadata = map[string]string{"a": "\xff"} }), "invalid events[0].metadata: the value of \"a\""},
		{"a metadata value with a NUL", "s", with(func(e *eventstore.Event) { e.Metadata = map[string]string{"a": "x\x00"} }), "invalid events[0].metadata: the value of \"a\" holds a NUL"},
		{"a stream of what stands beside the events", "switchyard:x", good, "invalid stream: \"switchyard:x\" starts with \"switchyard:\", which is reserved"},
		{"a stream of the tests'", "switchyard-test-1", good, "which is reserved"},
		{"a content type with a control character", "s", with(func(e *eventstore.Event) { e.ContentType = "text/plain\r\n" }), "invalid events[0].contentType"},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend := newScripted()
			_, err := backend.open(t, nil).Append(t.Context(), test.stream, eventstore.Any(), test.event)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, backend.calls.Load())
		})
	}
}

func TestHostileTextIsData(t *testing.T) {
	store := newScripted().open(t, nil)
	for _, stream := range []string{`o'brien"; drop table events;--`, "100%_\\", "a/b?c#d", "\u202eright-to-left", "e\u0301", "é", " spaces ", "🛤️-1"} {
		_, err := store.Append(t.Context(), stream, eventstore.NoStream(), event(stream))
		require.NoError(t, err, "%q", stream)
		require.Equal(t, stream, collect(t, store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}))[0].Type)
	}
}

func TestReservedNamesCanBeOptedInto(t *testing.T) {
	store := newScripted().open(t, &eventstore.Options{AllowReserved: true})
	_, err := store.Append(t.Context(), "$system", eventstore.NoStream(), event("$Type"))
	require.NoError(t, err)
}

func TestPortableLimitsHoldUnlessTheyAreLifted(t *testing.T) {
	many := make([]eventstore.Event, 65)
	for i := range many {
		many[i] = event("A")
	}
	_, err := newScripted().open(t, nil).Append(t.Context(), "s", eventstore.Any(), many...)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "65 or more in one append, limit 64")
	_, err = newScripted().open(t, &eventstore.Options{BackendLimits: true}).Append(t.Context(), "s", eventstore.Any(), many...)
	require.NoError(t, err)

	large := make([]eventstore.Event, 4)
	for i := range large {
		large[i] = eventstore.Event{Type: "A", ContentType: "text/plain", Data: make([]byte, 250<<10)}
	}
	_, err = newScripted().open(t, nil).Append(t.Context(), "s", eventstore.Any(), large...)
	require.ErrorContains(t, err, "bytes in one append, limit 917504")
}

func TestWhatABackendDeclaresAbsentIsRefusedWithItsReason(t *testing.T) {
	backend := newScripted()
	backend.caps = func(c eventstore.Capabilities) eventstore.Capabilities {
		c.MultiStreamAppend = eventstore.No("one stream at a time")
		c.PreservedRecordTime = eventstore.No("the server's clock rules")
		c.GlobalOrder = eventstore.No("partitions")
		return c
	}
	store := backend.open(t, nil)
	part := eventstore.StreamAppend{Stream: "a", Expected: eventstore.Any(), Events: []eventstore.Event{event("A")}}
	_, err := store.AppendStreams(t.Context(), part, part)
	require.ErrorIs(t, err, eventstore.ErrUnsupported)
	require.ErrorContains(t, err, "one stream at a time")
	for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.ErrorIs(t, err, eventstore.ErrUnsupported)
	}
	for _, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
		require.ErrorIs(t, err, eventstore.ErrUnsupported)
	}
	require.Zero(t, backend.calls.Load())
}

func TestWhatABackendDoesNotDeclareReadsAsAbsentAndIsFoundByValidate(t *testing.T) {
	changes := map[string]func(*eventstore.Capabilities){
		"MultiStreamAppend":   func(c *eventstore.Capabilities) { c.MultiStreamAppend = eventstore.Capability{} },
		"PreservedRecordTime": func(c *eventstore.Capabilities) { c.PreservedRecordTime = eventstore.No("") },
		"MaxEventBytes":       func(c *eventstore.Capabilities) { c.Limits.MaxEventBytes = 0 },
		"Backend":             func(c *eventstore.Capabilities) { c.Backend = "" },
		"Durability":          func(c *eventstore.Capabilities) { c.Durability = 0 },
		"TimePrecision":       func(c *eventstore.Capabilities) { c.TimePrecision = 0 },
		"PollInterval": func(c *eventstore.Capabilities) {
			c.PollInterval, c.LivePush = 0, eventstore.No("no push")
		},
	}
	for field, change := range changes {
		backend := newScripted()
		backend.caps = func(c eventstore.Capabilities) eventstore.Capabilities {
			change(&c)
			return c
		}
		require.ErrorContains(t, backend.Capabilities().Validate(), field)
		store := backend.open(t, &eventstore.Options{BackendLimits: true})
		_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A"))
		require.NoError(t, err, "a backend that was written before %s existed goes on working", field)
	}
	old := newScripted()
	old.caps = func(c eventstore.Capabilities) eventstore.Capabilities {
		c.Seal = eventstore.Capability{}
		return c
	}
	store := old.open(t, nil)
	require.Equal(t, "no: this backend was written before the capability existed", store.Capabilities().Seal.String())
	_, err := store.Seal(t.Context(), "moved")
	require.ErrorIs(t, err, eventstore.ErrUnsupported)

	_, err = eventstore.New(nil, nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = eventstore.New(newScripted(), &eventstore.Options{PageSize: -1})
	require.ErrorContains(t, err, "PageSize")
	broken := newScripted()
	broken.caps = func(c eventstore.Capabilities) eventstore.Capabilities {
		c.Limits.StreamPattern = "("
		return c
	}
	_, err = eventstore.New(broken, nil)
	require.ErrorContains(t, err, "does not compile")
}

func TestWhatAStoreCannotHoldIsRefusedBeforeTheBackendIsCalled(t *testing.T) {
	earliest, latest := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	backend := newScripted()
	backend.caps = func(c eventstore.Capabilities) eventstore.Capabilities {
		c.Limits.StreamPattern = `[a-z]+-[0-9]+`
		c.Limits.TypePattern = `[A-Z][A-Za-z]*`
		c.BinaryData = eventstore.No("its column is JSON")
		c.Metadata = eventstore.No("it has no column for it")
		c.Earliest, c.Latest = &earliest, &latest
		return c
	}
	store := backend.open(t, &eventstore.Options{BackendLimits: true})
	year1 := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	late := latest.Add(1)
	for _, test := range []struct {
		name, stream string
		event        eventstore.Event
		at           *time.Time
		sentinel     error
		want         string
	}{
		{"a stream that its pattern does not match", "order-1x", event("A"), nil, eventstore.ErrInvalid, `it must match [a-z]+-[0-9]+`},
		{"a stream of which its pattern matches the end", "Xorder-1", event("A"), nil, eventstore.ErrInvalid, `it must match [a-z]+-[0-9]+`},
		{"a type that its pattern does not match", "order-1", event("order placed"), nil, eventstore.ErrInvalid, "events[0].type"},
		{"a content type other than JSON", "order-1", eventstore.Event{Type: "A", ContentType: "text/plain"}, nil, eventstore.ErrUnsupported, "BinaryData"},
		{"metadata", "order-1", event("A").WithMetadata("k", "v"), nil, eventstore.ErrUnsupported, "Metadata"},
		{"a time before the earliest", "order-1", event("A"), &year1, eventstore.ErrInvalid, "0001-01-01T00:00:00Z is before 1900"},
		{"a time after the latest", "order-1", event("A"), &late, eventstore.ErrInvalid, "is after 2100"},
		{"the stream of what stands beside the events", "switchyard:checkpoints", event("A"), nil, eventstore.ErrInvalid, "must match"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := store.AppendStreams(t.Context(), eventstore.StreamAppend{
				Stream: test.stream, Expected: eventstore.Any(), Events: []eventstore.Event{test.event}, RecordedAt: test.at,
			})
			require.ErrorIs(t, err, test.sentinel)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, backend.calls.Load())
		})
	}
}

func TestASizeIsWhatTheLargestFormOfAnEventTakes(t *testing.T) {
	for _, text := range []string{"", "plain", "<&>", "\"quoted\"\\", "\n\t\x01\x7f", "\u2028\u2029é🛤", "a\xffb"} {
		encoded, err := json.Marshal(map[string]string{"key": text})
		require.NoError(t, err)
		e := eventstore.Event{Type: "T", Metadata: map[string]string{"key": text}}
		require.Equal(t, len("T")+len(encoded)-len("{}")+1, e.Size(), "%q: a pair counts a comma too", text)
	}
}

func TestAnAppendWithoutAnyEventIsRefused(t *testing.T) {
	store := newScripted().open(t, nil)
	check := eventstore.StreamAppend{Stream: "a", Expected: eventstore.NoStream()}
	_, err := store.AppendStreams(t.Context(), check, check)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "give at least one")
}

// FuzzAppendInput: what is accepted is safe to store everywhere and comes back
// as it was; what is refused is refused as ErrInvalid, before the backend.
func FuzzAppendInput(f *testing.F) {
	f.Add("order-1", "OrderPlaced", "application/json", []byte(`{"a":1}`), "$correlationId", "x")
	f.Add("", "", "", []byte(nil), "", "")
	f.Add("$all", "$T", "text/plain", []byte{0xff}, "k\x00", "\xff")
	f.Add("a\u202eb", "ü", "application/x+json;q=\"", []byte("{"), "k", "multi\nline")
	f.Fuzz(func(t *testing.T, stream, eventType, contentType string, data []byte, key, value string) {
		backend := newScripted()
		store := backend.open(t, nil)
		e := eventstore.Event{Type: eventType, ContentType: contentType, Data: data, Metadata: map[string]string{key: value}}
		_, err := store.Append(t.Context(), stream, eventstore.NoStream(), e)
		if err != nil {
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.Zero(t, backend.calls.Load())
			require.True(t, utf8.ValidString(err.Error()), "%q", err.Error())
			return
		}
		for _, text := range []string{stream, eventType, key} {
			require.True(t, utf8.ValidString(text))
			require.NotContains(t, text, "\x00")
			require.NotContains(t, text, "\n")
			require.NotEmpty(t, text)
			require.LessOrEqual(t, len(text), 255)
		}
		if contentType == "" {
			require.True(t, json.Valid(data))
			e.ContentType = eventstore.JSONContentType
		}
		stored := collect(t, store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}))
		require.Len(t, stored, 1)
		require.True(t, e.SameContent(stored[0].Event))
	})
}

func TestAReadOfWhatOtherProgramsNamedIsAllowedWhereItIsAskedFor(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, name := range []string{"a\tb", "\u0085", long} {
		for anyName, want := range map[bool]error{false: eventstore.ErrInvalid, true: nil} {
			store, err := eventstore.New(memory.New(), &eventstore.Options{ReadAnyName: anyName})
			require.NoError(t, err)
			version, err := store.StreamVersion(t.Context(), name)
			require.ErrorIs(t, err, want)
			require.Zero(t, version)
			_, err = store.Append(t.Context(), name, eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
			require.ErrorIs(t, err, eventstore.ErrInvalid, "writers keep the rules")
			for _, never := range []string{"", "a\x00", "a\xff"} {
				_, err = store.StreamVersion(t.Context(), never)
				require.ErrorIs(t, err, eventstore.ErrInvalid)
			}
			require.NoError(t, store.Close())
		}
	}
}
