package relay_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
	"github.com/switchyard-dev/switchyard/relay"
)

var update = flag.Bool("update", false, "write the golden file anew: consumers see every change of it")

const source = "switchyard:0190b5f1-0000-7000-8000-000000000001"

// stored are events of every kind, as a store returns them.
func stored() []eventstore.RecordedEvent {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	event := func(stream string, version uint64, e eventstore.Event) eventstore.RecordedEvent {
		e.ID = uuid.NewSHA1(uuid.Nil, []byte(stream))
		e.ID[15] = byte(version)
		return eventstore.RecordedEvent{Event: e, Stream: stream, Version: version, Position: eventstore.NewPosition(version, 7), RecordedAt: at}
	}
	return []eventstore.RecordedEvent{
		event("order-42", 1, eventstore.Event{Type: "OrderPlaced", ContentType: "application/json", Data: []byte(`{"total":9.50,"n":18446744073709551616}`)}),
		event("order-42", 1<<63-1, eventstore.Event{Type: "OrderPaid", ContentType: "application/json", Data: []byte("{ }"), Metadata: map[string]string{
			"$correlationId": "c-1", "$causationId": "c-2", "$schemaVersion": "3",
			"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b", "Any key": "any\nvalue",
		}}),
		event("a/b?c#d %25é😀", 2, eventstore.Event{Type: "Typ é/1", ContentType: "text/plain; charset=utf-8", Data: []byte("line\nline \"q\" \u202e")}),
		event("bytes", 1, eventstore.Event{Type: "T", ContentType: "application/octet-stream", Data: []byte{0, 0xff}}),
		event("nothing", 1, eventstore.Event{Type: "T", ContentType: "text/plain"}),
		event("odd", 1, eventstore.Event{Type: "T", ContentType: "application/json", Data: []byte("\"\\ud800\""), Metadata: map[string]string{"$correlationId": "not\nallowed"}}),
		event("odd", 2, eventstore.Event{Type: "T", ContentType: "application/json", Data: []byte("{\n}"), Metadata: map[string]string{"\u202e": "\u200d"}}),
	}
}

func TestTheBytesOfCloudEventsStayAsTheyAre(t *testing.T) {
	var got strings.Builder
	for _, event := range stored() {
		c := relay.FromEvent(source, event)
		require.NoError(t, c.Validate())
		got.Write(append(c.AppendJSON(nil), '\n'))
	}
	golden := filepath.Join("testdata", "events.ndjson")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

// attributes reads an event in the JSON format, and its data as it stands there.
func attributes(t *testing.T, text []byte) (map[string]string, string) {
	t.Helper()
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &members), "%s", text)
	all, data := make(map[string]string), ""
	for name, member := range members {
		if name == "data" || name == "data_base64" {
			data = name + ":" + string(member)
			continue
		}
		var value string
		require.NoError(t, json.Unmarshal(member, &value), "%s of %s", name, text)
		all[name] = value
	}
	return all, data
}

func TestACloudEventHoldsWhatExportWrites(t *testing.T) {
	for _, event := range stored() {
		exported, exportedData := attributes(t, transfer.AppendLine(nil, source, event))
		relayed, data := attributes(t, relay.FromEvent(source, event).AppendJSON(nil))
		require.Equal(t, exportedData, data)
		require.True(t, strings.HasPrefix(relayed["source"], exported["source"]+"/"))
		delete(exported, "source")
		for name, value := range exported {
			require.Equal(t, value, relayed[name], name)
		}
	}
}

func TestACloudEventCanBeImported(t *testing.T) {
	for _, event := range stored() {
		line := relay.FromEvent(source, event).AppendJSON(nil)
		record, err := transfer.NewParser().Parse(line)
		require.NoError(t, err)
		require.Equal(t, event.ID, record.ID)
		require.Equal(t, event.Stream, record.Stream)
		require.Equal(t, event.Version, record.Version)
		require.Equal(t, string(event.Data), string(record.Data))
		require.Equal(t, event.RecordedAt, *record.RecordedAt)
	}
}

func TestTheSourceIsDifferentForEveryStream(t *testing.T) {
	seen := make(map[string]string)
	for _, stream := range []string{"a", "a/b", "a%2Fb", "a%2fb", "a b", "a+b", "a%20b", "é", "e\u0301", "..", ".", "a?b", "a#b", "a;b", "A", "schemas", "schemas/T/1"} {
		c := relay.FromEvent(source, eventstore.RecordedEvent{Event: eventstore.Event{ID: uuid.Max, Type: "T"}, Stream: stream, Version: 1, RecordedAt: time.Now()})
		require.NoError(t, c.Validate(), stream)
		require.NotContains(t, seen, c.Source, "%q and %q", seen[c.Source], stream)
		require.NotEqual(t, c.Source, c.DataSchema)
		seen[c.Source] = stream
	}
}

func TestSequencesCompareAsVersionsDo(t *testing.T) {
	last := ""
	for _, version := range []uint64{1, 2, 9, 10, 11, 99, 100, 1<<32 - 1, 1 << 32, 1<<63 - 1} {
		c := relay.FromEvent(source, eventstore.RecordedEvent{Version: version})
		require.Len(t, c.Extensions[relay.Sequence], 20)
		require.Less(t, last, c.Extensions[relay.Sequence])
		last = c.Extensions[relay.Sequence]
	}
}

func TestMarshalJSONIsTheSameEvent(t *testing.T) {
	c := relay.FromEvent(source, stored()[1])
	text, err := json.Marshal(c)
	require.NoError(t, err)
	require.JSONEq(t, string(c.AppendJSON(nil)), string(text))
	c.ID = ""
	_, err = json.Marshal(c)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.NotContains(t, string(relay.CloudEvent{ID: "1", Source: "/s", Type: "T"}.AppendJSON(nil)), "data", "an event may have none")
}

func TestAnEventThatCloudEventsDoNotAllowIsRefused(t *testing.T) {
	for want, change := range map[string]func(*relay.CloudEvent){
		"CloudEvent's id: it is empty":                                            func(c *relay.CloudEvent) { c.ID = "" },
		"CloudEvent's source: it is empty":                                        func(c *relay.CloudEvent) { c.Source = "" },
		"CloudEvent's type: it is empty":                                          func(c *relay.CloudEvent) { c.Type = "" },
		`CloudEvent's source: "%zz" is no URI reference`:                          func(c *relay.CloudEvent) { c.Source = "%zz" },
		`CloudEvent's dataschema: "T/1" is no absolute URI`:                       func(c *relay.CloudEvent) { c.DataSchema = "T/1" },
		"CloudEvent's time: RFC 3339 has no year 10000":                           func(c *relay.CloudEvent) { c.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		`CloudEvent's extension "": a name consists of`:                           func(c *relay.CloudEvent) { c.Extensions = map[string]string{"": "x"} },
		`CloudEvent's extension "Upper": a name consists of`:                      func(c *relay.CloudEvent) { c.Extensions = map[string]string{"Upper": "x"} },
		`CloudEvent's extension "data_base64": a name consists of`:                func(c *relay.CloudEvent) { c.Extensions = map[string]string{"data_base64": "x"} },
		`CloudEvent's extension "id": CloudEvents have this attribute themselves`: func(c *relay.CloudEvent) { c.Extensions = map[string]string{"id": "x"} },
		"CloudEvent's note: control character U+000A":                             func(c *relay.CloudEvent) { c.Extensions = map[string]string{"note": "a\nb"} },
		"CloudEvent's subject: it is not valid UTF-8":                             func(c *relay.CloudEvent) { c.Subject = "\xff" },
	} {
		t.Run(want, func(t *testing.T) {
			c := relay.CloudEvent{ID: "1", Source: "/shop", Type: "T", Extensions: map[string]string{"ok9": ""}}
			require.NoError(t, c.Validate())
			change(&c)
			err := c.Validate()
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, want)
		})
	}
}
