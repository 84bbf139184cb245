package transfer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// roundTrip writes an event as a line and reads it back.
func roundTrip(t testing.TB, event eventstore.RecordedEvent) (string, Record) {
	t.Helper()
	line := AppendLine(nil, cloudevents.Source(uuid.Max), event)
	require.Equal(t, 1, strings.Count(string(line), "\n"), "one line")
	require.True(t, json.Valid(line), "%s", line)
	record, err := NewParser().Parse(line)
	require.NoError(t, err, "%s", line)
	return string(line), record
}

func TestALineKeepsEveryByteOfAnEvent(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for name, event := range map[string]eventstore.Event{
		"JSON":                           {Data: []byte(`{"b":1,"a":[1.0,1e400,18446744073709551616],"b":2}`)},
		"JSON with escapes":              {Data: []byte(`{"a":"\u0000\ud83d\ude00 \/ <&>"}`)},
		"JSON with spaces in it":         {Data: []byte(`{ "a" :  1 }`)},
		"JSON with space around it":      {Data: []byte(" {}\t")},
		"JSON on several lines":          {Data: []byte("{\n  \"a\": 1\r\n}")},
		"JSON with a lone surrogate":     {Data: []byte(`"\ud800"`)},
		"JSON with invalid UTF-8":        {Data: []byte("\"\xff\"")},
		"JSON with a right-to-left mark": {Data: []byte("\"a\u202eb\"")},
		"JSON with a C1 control":         {Data: []byte("\"a\u009bb\"")},
		"JSON null":                      {Data: []byte("null")},
		"JSON with tags":                 {Data: []byte("\"a\U000E0041b\"")},
		"JSON with a zero-width space":   {Data: []byte("\"a\u200bb\"")},
		"text that is not shown":         {ContentType: "text/plain", Data: []byte("a\u200b\u200d\U000E0041\U000E0101\u3164\ufeff\u00adb\ufe0f")},
		"metadata that is not shown":     {Data: []byte("1"), Metadata: map[string]string{"a\u200b": "\U000E0041\u2060"}},
		"a +json type":                   {ContentType: "application/vnd.order+json; charset=utf-8", Data: []byte("1")},
		"every byte":                     {ContentType: "application/octet-stream", Data: every},
		"no bytes":                       {ContentType: "text/plain", Data: nil},
		"text":                           {ContentType: "text/plain", Data: []byte("line\nline \u2028 \x1b[31m \"quoted\\\" \u202e 😀 \x00 \x7f \u0080")},
		"metadata":                       {Data: []byte("1"), Metadata: map[string]string{"$correlationId": "c", "A key, odd": "v\n\x00\u202e", "source": "x", "😀": ""}},
		"hostile names":                  {Data: []byte("1"), Type: "a\"b\\c\u2029d"},
	} {
		t.Run(name, func(t *testing.T) {
			if event.Type == "" {
				event.Type = "T"
			}
			if event.ContentType == "" {
				event.ContentType = eventstore.JSONContentType
			}
			event.ID = uuid.Must(uuid.NewV7())
			stored := eventstore.RecordedEvent{
				Event: event, Stream: "s'; DROP TABLE \"é\u200f%_/", Version: 1<<63 - 1,
				Position: eventstore.NewPosition(7, 9), RecordedAt: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC),
			}
			line, record := roundTrip(t, stored)
			for _, r := range strings.TrimSuffix(line, "\n") {
				require.False(t, cloudevents.Hidden(r), "%U is written as an escape", r)
			}
			require.Empty(t, Difference(stored, eventstore.RecordedEvent{Event: record.Event, Stream: record.Stream, Version: record.Version}, false))
			require.Equal(t, stored.Stream, record.Stream)
			require.Equal(t, stored.RecordedAt, *record.RecordedAt)
		})
	}
}

func TestALineIsReadable(t *testing.T) {
	line, _ := roundTrip(t, eventstore.RecordedEvent{
		Event: eventstore.Event{
			ID: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"), Type: "OrderPlaced", Data: []byte(`{"total":9.50}`),
			ContentType: "application/json", Metadata: map[string]string{"b": "2", "a": "1"},
		},
		Stream: "order-1", Version: 1, Position: eventstore.NewPosition(1, 0), RecordedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	})
	want := []byte(`{"specversion":"1.0","id":"01890a5d-ac96-774b-bcce-b302099a8057","source":"switchyard:ffffffff-ffff-ffff-ffff-ffffffffffff",` +
		`"type":"OrderPlaced","subject":"order-1","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json",` +
		`"version":"1","position":"1","metadata":"{\"a\":\"1\",\"b\":\"2\"}","data":{"total":9.50}}` + "\n")
	require.Equal(t, string(want), line, "byte by byte")
}

const id = `"specversion":"1.0","id":"01890a5d-ac96-774b-bcce-b302099a8057"`

func TestAForeignCloudEventKeepsItsAttributes(t *testing.T) {
	record, err := NewParser().Parse([]byte(`{` + id + `,"source":"/shop","type":"T","subject":"s","traceparent":"00-1","retries":3,"urgent":true,"gone":null,"dataschema":"x:y","data":{"a": 1}}`))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"source": "/shop", "traceparent": "00-1", "retries": "3", "urgent": "true", "dataschema": "x:y"}, record.Metadata)
	require.JSONEq(t, `{"a":1}`, string(record.Data))
	require.Equal(t, "application/json", record.ContentType)
	require.Zero(t, record.Version, "it goes to the end of its stream")
	require.Nil(t, record.RecordedAt)
}

func TestWhatCloudEventsAllowsIsImported(t *testing.T) {
	const rest = `"source":"/shop","type":"T","subject":"s"`
	for name, test := range map[string]struct {
		line        string
		data        string
		contentType string
		time        string
	}{
		"optional attributes that are null": {
			`{` + id + `,` + rest + `,"time":null,"datacontenttype":null,"version":null,"position":null,"metadata":null,"data_base64":null,"data":1}`,
			`1`, "application/json", "",
		},
		"a source that is null":          {`{` + id + `,"source":null,"type":"T","subject":"s","data":1}`, `1`, "application/json", ""},
		"no data":                        {`{` + id + `,` + rest + `}`, `null`, "application/json", ""},
		"no data, and base64 null":       {`{` + id + `,` + rest + `,"data_base64":null}`, `null`, "application/json", ""},
		"no data of another type":        {`{` + id + `,` + rest + `,"datacontenttype":"text/plain"}`, ``, "text/plain", ""},
		"data that is null":              {`{` + id + `,` + rest + `,"data":null}`, `null`, "application/json", ""},
		"a time in small letters":        {`{` + id + `,` + rest + `,"data":1,"time":"2026-01-02t03:04:05.5z"}`, `1`, "application/json", "2026-01-02T03:04:05.5Z"},
		"a leap second":                  {`{` + id + `,` + rest + `,"data":1,"time":"2016-12-31T23:59:60Z"}`, `1`, "application/json", "2017-01-01T00:00:00Z"},
		"a leap second in its time zone": {`{` + id + `,` + rest + `,"data":1,"time":"1990-12-31T15:59:60.25-08:00"}`, `1`, "application/json", "1991-01-01T00:00:00.25Z"},
		"an ID in capitals": {
			`{"specversion":"1.0","id":"01890A5D-AC96-774B-BCCE-B302099A8057",` + rest + `,"data":1}`, `1`, "application/json", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			record, err := NewParser().Parse([]byte(test.line))
			require.NoError(t, err)
			require.Equal(t, "01890a5d-ac96-774b-bcce-b302099a8057", record.ID.String())
			require.Equal(t, test.data, string(record.Data))
			require.Equal(t, test.contentType, record.ContentType)
			if test.time == "" {
				require.Nil(t, record.RecordedAt)
			} else {
				require.Equal(t, test.time, record.RecordedAt.Format(time.RFC3339Nano))
			}
			store := newStore(t, nil)
			_, err = Import(t.Context(), store, strings.NewReader(test.line), nil)
			require.NoError(t, err, "the store takes it")
		})
	}
}

func TestAWrongLineSaysWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		``:                                "ends early",
		`{`:                               "ends early",
		`{"specversion":"1.0","id":"`:     "ends early",
		`[]`:                              "not a JSON object",
		`{}`:                              `specversion is not "1.0"`,
		`{"specversion":"0.3"}`:           `specversion is not "1.0"`,
		`{"specversion":1}`:               "attribute specversion is not a text",
		`{"specversion":"1.0"}`:           "id is missing",
		`{"specversion":"1.0","id":"7"}`:  `id "7" is not a UUID`,
		`{"specversion":"1.0","id":null}`: "id is missing",
		`{"specversion":"1.0","id":null,"id":"x"}`:                                            "attribute id occurs twice",
		`{"specversion":"1.0","id":"{01890a5d-ac96-774b-bcce-b302099a8057}"}`:                 "is not a UUID such as",
		`{"specversion":"1.0","id":"01890a5dac96774bbcceb302099a8057"}`:                       "is not a UUID such as",
		`{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000000"}`:                   "is not a UUID such as",
		`{` + id + `,"time":"2016-12-31T23:59:61Z"}`:                                          "RFC 3339",
		`{` + id + `,"time":"2016-12-30T23:59:60Z"}`:                                          "RFC 3339",
		`{` + id + `,"time":"2016-12-31T23:58:60Z"}`:                                          "RFC 3339",
		`{` + id + `,"time":"2016-12-31 23:59:59Z"}`:                                          "RFC 3339",
		`{` + id + `,"type":"T","subject":null,"data":1}`:                                     "subject is missing",
		`{` + id + `,"type":"T","subject":"s","data":{"a":"\ud800"}}`:                         "data_base64",
		`{` + id + `,"type":"T"}`:                                                             "subject is missing",
		`{` + id + `,"subject":"s"}`:                                                          "type is missing",
		`{` + id + `,"type":"T","type":"U"}`:                                                  "attribute type occurs twice",
		`{` + id + `,"x":"T","x":"U"}`:                                                        `attribute "x" occurs twice`,
		`{` + id + `,"x":{}}`:                                                                 "an object or a list",
		`{` + id + `,"time":"yesterday"}`:                                                     "RFC 3339",
		`{` + id + `,"version":"0"}`:                                                          "not a number from 1",
		`{` + id + `,"version":-1}`:                                                           "not a number from 1",
		`{` + id + `,"version":true}`:                                                         "attribute version is not a text",
		`{` + id + `,"type":"T","subject":"s","data":1,"data_base64":"MQ=="}`:                 "both data and data_base64",
		`{` + id + `,"type":"T","subject":"s","data_base64":"M?"}`:                            "data_base64",
		`{` + id + `,"type":"T","subject":"s","datacontenttype":"text/plain","data":1}`:       "not a JSON string",
		`{` + id + `,"type":"T","subject":"s","data":1,"metadata":"[]"}`:                      "metadata is not",
		`{` + id + `,"type":"T","subject":"s","data":1,"metadata":"{\"a\":1}"}`:               "metadata is not",
		`{` + id + `,"type":"T","subject":"s","data":1,"metadata":"{\"a\":\"1\"","x":1}`:      "metadata is not",
		`{` + id + `,"type":"T","subject":"s","data":1,"metadata":"{\"x\":\"1\"}","x":"2"}`:   "in the metadata too",
		`{` + id + `,"type":"T","subject":"s","data":1,"metadata":"{\"a\":\"\",\"a\":\"\"}"}`: "metadata is not",
		`{` + id + `,"type":"T","subject":"s","data":1} {}`:                                   "something follows",
		`{` + id + `,"type":"\ud800"}`:                                                        "not JSON",
		`{` + id + ",\"type\":\"\xff\"}":                                                      "not JSON",
		`{` + id + `,"type":"T","data":{"a":}}`:                                               "not JSON",
	} {
		t.Run(line, func(t *testing.T) {
			_, err := NewParser().Parse([]byte(line))
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "jsontext")
		})
	}
}

// FuzzLine holds the parser against any input, and what it accepts against the
// writer: an event that came out of a line goes through another one unchanged.
func FuzzLine(f *testing.F) {
	f.Add([]byte(`{` + id + `,"source":"/shop","type":"T","subject":"s","traceparent":"00-1","data":{"a": 1}}`))
	f.Add([]byte(`{` + id + `,"source":"switchyard:x","type":"T","subject":"s","version":"3","position":"4","time":"2026-01-02T03:04:05.6Z","metadata":"{\"a\":\"\\u0000\"}","datacontenttype":"text/plain","data":"x\ny"}`))
	f.Add([]byte(`{` + id + `,"type":"T","subject":"s","datacontenttype":"a/b","data_base64":"/w=="}`))
	f.Add([]byte(`{` + id + `,"type":"T","subject":"s","data":"\ud800"}`))
	f.Add([]byte(`{"specversion":"1.0","id"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := NewParser().Parse(line)
		if err != nil {
			require.True(t, utf8.ValidString(strings.ToValidUTF8(err.Error(), "")))
			return
		}
		stored := eventstore.RecordedEvent{Event: record.Event, Stream: record.Stream, Version: max(record.Version, 1)}
		if record.RecordedAt != nil {
			stored.RecordedAt = *record.RecordedAt
		}
		if stored.RecordedAt.Year() < 1 || stored.RecordedAt.Year() > 9999 {
			t.Skip("RFC 3339 has no such year")
		}
		_, again := roundTrip(t, stored)
		require.Empty(t, Difference(stored, eventstore.RecordedEvent{Event: again.Event, Stream: again.Stream, Version: again.Version}, false))
		require.Equal(t, record.Stream, again.Stream)
		require.True(t, stored.RecordedAt.Equal(*again.RecordedAt))
	})
}

func BenchmarkParse(b *testing.B) {
	line := AppendLine(nil, cloudevents.Source(uuid.Max), typicalEvent())
	parser := NewParser()
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendLine(b *testing.B) {
	event, source := typicalEvent(), cloudevents.Source(uuid.Max)
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = AppendLine(line[:0], source, event)
	}
	b.SetBytes(int64(len(line)))
}

func typicalEvent() eventstore.RecordedEvent {
	return eventstore.RecordedEvent{
		Event: eventstore.Event{
			ID: uuid.Must(uuid.NewV7()), Type: "FileChanged", ContentType: "application/json",
			Data:     []byte(`{"author":"A. Committer","date":"2026-11-22T19:56:30Z","insertions":120,"deletions":3,"path":"backends/memory/memory.go","subject":"backends/memory: a chunked log instead of one slice that is copied as it grows"}`),
			Metadata: map[string]string{"$correlationId": "b46717c0b46717c0b46717c0b46717c0b46717c0"},
		},
		Stream: "file-backends/memory/memory.go", Version: 12, Position: eventstore.NewPosition(123456, 0), RecordedAt: time.Now().UTC(),
	}
}

// A line is Unicode text. What other programs wrote may be none, and a replacement
// character would make two names one.
func TestAnExportRefusesTextThatNoLineHolds(t *testing.T) {
	for name, event := range map[string]eventstore.RecordedEvent{
		"stream":       {Stream: "caf\xe9-1"},
		"type":         {Stream: "s", Event: eventstore.Event{Type: "T\xff"}},
		"content type": {Stream: "s", Event: eventstore.Event{ContentType: "text/\xff"}},
		"metadata":     {Stream: "s", Event: eventstore.Event{Metadata: map[string]string{"k": "caf\xe9"}}},
		"metadata key": {Stream: "s", Event: eventstore.Event{Metadata: map[string]string{"caf\xe9": "v"}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &filled{Backend: memory.New(), id: uuid.New()}
			f.add("clean", 1, eventstore.Event{})
			f.add(event.Stream, 1, event.Event)
			source := openFilled(t, f)
			var b strings.Builder
			n, err := Export(t.Context(), source, &b, nil)
			require.ErrorContains(t, err, fmt.Sprintf("event at version 1 of stream %q: its %s is no UTF-8, which no line holds", event.Stream, strings.TrimSuffix(name, " key")))
			require.ErrorContains(t, err, "copy --on-refused")
			require.Equal(t, 1, n)
			require.Equal(t, 1, strings.Count(b.String(), "\n"), "what is before it is written")

			target := openFilled(t, strict{memory.New(), nil})
			_, err = Copy(t.Context(), source, target, &CopyOptions{OnRefused: []Remedy{Rename, KeepBytes}})
			require.NoError(t, err)
			back := openFilled(t, strict{memory.New(), nil})
			_, err = Import(t.Context(), back, strings.NewReader(export(t, target)), nil)
			require.NoError(t, err)
			requireRestored(t, f, back)
		})
	}
}
