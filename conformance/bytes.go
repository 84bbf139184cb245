package conformance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func bytesChecks() []Check {
	return []Check{
		{
			Name: "bytes/binary-data", Promise: 9, Requires: binaryContent, Refused: refusesBinary,
			Sentence: "Data of a binary content type comes back byte for byte: every byte value, alone and together, and none at all.",
			Run:      binaryData,
		},
		{
			Name: "bytes/json-data", Promise: 9, Requires: exactData, Refused: jsonAsJSON,
			Sentence: "JSON comes back byte for byte: order and repetition of keys, white space, numbers and escapes included. Where bytes are not kept it comes back equal as JSON, and a repeated append is recognised.",
			Run:      jsonData,
		},
		{
			Name: "bytes/metadata", Promise: 9, Requires: keepsMetadata, Refused: refusesMetadata,
			Sentence: "Metadata comes back as it was: any UTF-8 text as a value, any printable text as a key.",
			Run:      metadataText,
		},
		{
			Name: "bytes/content-type", Promise: 9, Requires: binaryContent, Refused: refusesBinary,
			Sentence: "A content type comes back as it was, with its parameters, case and spaces.",
			Run:      contentTypes,
		},
		{
			Name: "bytes/event-type", Promise: 9,
			Sentence: "Quotes, wildcards, slashes, SQL, Unicode and spaces in an event's type are data.",
			Run:      eventTypes,
		},
		{
			Name: "bytes/event-id", Promise: 9,
			Sentence: "A UUID of any version and variant is an event's ID, and comes back as it was.",
			Run:      eventIDs,
		},
		{
			Name: "bytes/stream-id", Promise: 9,
			Sentence: "Quotes, wildcards, slashes, SQL, Unicode and spaces in a stream's ID are data; two spellings are two streams.",
			Run:      streamIDs,
		},
		{
			Name: "bytes/portable-limits", Promise: 9, plain: true,
			Sentence: "The largest portable stream ID, type, event and append are stored and come back.",
			Run:      portableLimits,
		},
		{
			Name: "bytes/record-time", Promise: 9,
			Sentence: "Record times are UTC, at the declared precision, the time of the append, and the same in every read.",
			Run:      recordTime,
		},
	}
}

// expectRoundTrip appends each list of events to a stream of its own, and returns
// an error unless every way to read, through every handle, returns what was
// appended, and appending it again is recognised.
func expectRoundTrip(ctx context.Context, env *Env, streams []string, events [][]eventstore.Event) error {
	for i, stream := range streams {
		result, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events[i]...)
		if err != nil {
			return fmt.Errorf("append %s: %w", describe(events[i][0]), err)
		}
		if want := uint64(len(events[i])); firstVersion(result) != 1 || result.Version != want || result.Duplicate {
			return unexpected(fmt.Sprintf("append to the fresh stream %q", stream), fmt.Sprintf("versions 1 to %d", want), fmt.Sprintf("%+v", result))
		}
	}
	stores := []*eventstore.Store{env.Store}
	if env.Fixture.OpenAgain != nil {
		again, err := env.Again(ctx)
		if err != nil {
			return err
		}
		stores = append(stores, again)
	}
	for _, store := range stores {
		if err := expectReturned(ctx, env, store, streams, events); err != nil {
			return err
		}
	}
	for i, stream := range streams {
		result, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events[i]...)
		if err != nil || !result.Duplicate {
			return unexpected(fmt.Sprintf("the same append to stream %q again, beginning with %s", stream, describe(events[i][0])), "a duplicate", fmt.Sprintf("%+v, error: %v", result, err))
		}
	}
	return nil
}

func expectReturned(ctx context.Context, env *Env, store *eventstore.Store, streams []string, events [][]eventstore.Event) error {
	var all []eventstore.RecordedEvent
	for i, stream := range streams {
		if err := expectEvents(ctx, store, stream, events[i]...); err != nil {
			return err
		}
		stored, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		all = append(all, stored...)
	}
	if !env.Caps.GlobalOrder.Supported() {
		return nil
	}
	for _, read := range readings(ctx, env, store, streams[0], len(all)) {
		if read.name == "ReadStream" {
			continue // done above
		}
		got, err := read.run()
		if err != nil {
			return err
		}
		if err := expectSame(read.name+" beside ReadStream", all, got); err != nil {
			return err
		}
	}
	return nil
}

// inBatches is expectRoundTrip for events that are spread over streams, so that
// each append fits the portable limits.
func inBatches(ctx context.Context, env *Env, events ...eventstore.Event) error {
	const most = 64
	var streams []string
	var lists [][]eventstore.Event
	for len(events) > 0 {
		n := min(most, len(events))
		streams, lists = append(streams, env.Stream("Order")), append(lists, events[:n])
		events = events[n:]
	}
	return expectRoundTrip(ctx, env, streams, lists)
}

// binaryEvent returns an event with this data, which claims no form for it.
func binaryEvent(env *Env, data []byte) eventstore.Event {
	event := env.Event("Happened")
	event.ContentType, event.Data = "application/octet-stream", data
	return event
}

// sizedEvent returns an event of a size, in the content type that the backend can
// hold: zeros, or a JSON string.
func sizedEvent(env *Env, size int) eventstore.Event {
	if env.Caps.BinaryData.Supported() {
		event := binaryEvent(env, nil)
		event.Data = make([]byte, size-event.Size())
		return event
	}
	event := env.Event("Happened")
	event.Data = nil
	event.Data = fmt.Appendf(nil, "%q", strings.Repeat("x", size-event.Size()-2))
	return event
}

func binaryData(ctx context.Context, env *Env) error {
	var every, pairs []byte
	var events []eventstore.Event
	for b := range 256 {
		every = append(every, byte(b))
		events = append(events, binaryEvent(env, []byte{byte(b)}))
		pairs = append(pairs, byte(b), byte(255-b))
	}
	random := make([]byte, 10_000)
	for i := range random {
		random[i] = byte(env.Rand.Uint32())
	}
	for _, data := range [][]byte{
		every, pairs, random, nil,
		{},
		[]byte("\x00"), []byte("\x00\x00text\x00"), []byte("text\x00"), []byte("\xef\xbb\xbftext"), []byte("\xff\xfe\x00"),
		[]byte("\r\n"), []byte("text\n"), []byte(" text "), []byte("\t"), []byte(`\x00\n`), []byte(`{"not":"touched"  }`), []byte("null"), []byte("'); --"),
	} {
		events = append(events, binaryEvent(env, data))
	}
	text := env.Event("Happened")
	text.ContentType, text.Data = "text/plain", nil
	return inBatches(ctx, env, append(events, text)...)
}

func jsonData(ctx context.Context, env *Env) error {
	var events []eventstore.Event
	for _, data := range []string{
		`{"b":1,"a":2,"B":3}`, `{"a":1,"a":2}`, " {\n\t\"a\" : [ 1 , 2 ]\r\n} ", "{}\n", `{}`, `[]`, `null`, `true`, `"text"`, `""`, `0`, `-0`, `-0.0`,
		`1.0`, `1.10`, `1e2`, `1E+2`, `100`, `9007199254740993`, `18446744073709551616`, `123456789012345678901234567890.123456789012345678901234567890`, `1e400`, `1e-400`, `0.1`,
		`"\u0000"`, `{"\u0000":"a\u0000b"}`, `"\u0041\/\b\f\n\r\t\"\\"`, `"\ud83d\ude00"`, `"😀"`, `"\ud800"`, `"\u00e9"`, `"é"`, "\"e\u0301\"", "\"\u2028\u2029\"", "\"\u007f\u0085\"", "\"\ufeff\"",
		`"<script>&amp;</script>"`, `"'; drop table events; --"`, `{"":""}`, `{"$type":"x","_id":1}`,
		strings.Repeat("[", 500) + strings.Repeat("]", 500),
	} {
		for _, contentType := range []string{eventstore.JSONContentType, "application/vnd.shop.order+json; v=2"} {
			event := env.Event("Happened")
			event.ContentType, event.Data = contentType, []byte(data)
			events = append(events, event)
		}
	}
	return inBatches(ctx, env, events...)
}

func metadataText(ctx context.Context, env *Env) error {
	texts := append(hardText(), "", "line\nline\r\n", "\t", "\x1b[31mred\x7f", "\u0085", "{\"json\":1}", "null", "1", "1.0", "true", strings.Repeat("long ", 2000))
	var events []eventstore.Event
	together := make(map[string]string)
	for i, text := range texts {
		together[fmt.Sprintf("key-%d", i)] = text
		events = append(events, env.Event("Happened").WithMetadata("key", text))
	}
	keys := append(hardText(), strings.Repeat("k", 255), strings.Repeat("é", 127), eventstore.MetaCausationID, "key", "Key", "KEY", "a.b", "a[0]", "id", "type", "data", "__proto__", "0")
	apart := make(map[string]string)
	for i, key := range keys {
		apart[key] = fmt.Sprint(i)
		events = append(events, env.Event("Happened").WithMetadata(key, "value"))
	}
	for _, metadata := range []map[string]string{nil, {}, together, apart} {
		event := env.Event("Happened")
		event.Metadata = metadata
		events = append(events, event)
	}
	return inBatches(ctx, env, append(events,
		env.Event("Happened").WithCorrelationID("correlation").WithSchemaVersion(3),
	)...)
}

func contentTypes(ctx context.Context, env *Env) error {
	var events []eventstore.Event
	for _, contentType := range append(hardText(),
		eventstore.JSONContentType, "application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON", "application/cloudevents+json",
		"text/plain", "text/plain; charset=\"utf-8\"; format=flowed", "application/octet-stream", "application/x-protobuf; proto=shop.OrderPlaced",
		"application/avro", "not a media type", "x", strings.Repeat("x", 255),
	) {
		event := env.Event("Happened")
		event.ContentType = contentType
		events = append(events, event)
	}
	if err := inBatches(ctx, env, events...); err != nil {
		return err
	}
	// An empty one stands for JSON, and comes back as that.
	stream, event := env.Stream("Order"), env.Event("Happened")
	event.ContentType = ""
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), event); err != nil {
		return err
	}
	event.ContentType = eventstore.JSONContentType
	return expectEvents(ctx, env.Store, stream, event)
}

func eventTypes(ctx context.Context, env *Env) error {
	var events []eventstore.Event
	for _, text := range env.oddTypes(append(hardText(), strings.Repeat("T", 255), "order.placed.v1", "Shop.Orders, Shop.Domain, Version=1.0.0.0")...) {
		events = append(events, env.Event(text))
	}
	return inBatches(ctx, env, events...)
}

func eventIDs(ctx context.Context, env *Env) error {
	var events []eventstore.Event
	add := func(id uuid.UUID) {
		event := env.Event("Happened")
		event.ID = id
		events = append(events, event)
	}
	for version := range 16 {
		for _, variant := range []byte{0x00, 0x80, 0xc0, 0xe0} { // NCS, RFC 9562, Microsoft, future
			id := env.ID()
			id[6], id[8] = byte(version)<<4|id[6]&0x0f, variant|id[8]&0x1f
			add(id)
		}
	}
	least := uuid.UUID{15: 1}
	first := uuid.UUID{0: 1}
	add(uuid.Max)
	add(least)
	add(first)
	for range 4 {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make an event ID: %w", err)
		}
		add(id)
	}
	return inBatches(ctx, env, events...)
}

// hardText is text that careless storage changes, cuts, folds, escapes or takes
// for something else. All of it is a valid name, and no two are the same.
func hardText() []string {
	return []string{
		"plain", "Plain", "PLAIN", " plain", "plain ", "plain  ", " ", "  ", "pl ain", "pl  ain", "plain.", "plain-", "-plain", "-", "--", "plain--1",
		"o'brien", `o''brien`, `say "hi"`, "`tick`", `back\slash`, `\`, `\\`, `\n`, `\u0000`, "100%", "%", "_", "plai_", "pl%", "*", "?", "[a-z]*",
		"a/b", "a/b/c", "/", "//", "../../etc/passwd", "a?b=c&d#e", "a+b", "a%20b", "a b", "a:b", "a|b", "a,b", "a;b", "a@b", "a=b", "a~b", "a^b", "~", "a$b", "{a}", "{{a}}", "<a>", "&lt;",
		"'; DROP TABLE events; --", "1 OR 1=1", "' OR ''='", "x $1", "x$$", "?1", ":name", "@p", "NULL", "null", "undefined", "true", "0", "00", "1e3", "nan", ".", "..", "#", "!",
		"caf\u00e9", "cafe\u0301", "CAF\u00c9", "\u212b", "\u00c5", "A\u030a", "stra\u00dfe", "strasse", "\u0130stanbul", "istanbul", "\u0131stanbul", "\ufb01n", "fin", "\uff21", "A", "\u0410",
		"\u202egnp.exe", "\u200fabc", "a\u200bb", "a\u200db", "ab", "\u00a0", "\u3000", "\ufeffbom", "bom", "\u00adsoft", "soft", "\ufffd", "\uffff", "\U0010ffff",
		"\u6ce8\u6587-1", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\U0001f6e4\ufe0f", "\U0001f6e4", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001d518",
	}
}

func streamIDs(ctx context.Context, env *Env) error {
	long := strings.Repeat("s", 250)
	names := env.odd(append(hardText(), long+"aaaaa", long+"aaaab", long+"aaaa", long)...)
	events := make([][]eventstore.Event, len(names))
	for i := range names {
		events[i] = env.Events(1)
	}
	return expectRoundTrip(ctx, env, names, events)
}

func portableLimits(ctx context.Context, env *Env) error {
	limits := eventstore.PortableLimits()
	want := limits
	want.StreamPattern, want.TypePattern = env.Caps.Limits.StreamPattern, env.Caps.Limits.TypePattern
	if got := env.Store.Limits(); got != want {
		return unexpected("limits of a Store without options", fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got))
	}
	sized := func(size int) eventstore.Event {
		event := sizedEvent(env, size)
		for i := range event.Data {
			if !event.IsJSON() {
				event.Data[i] = byte(env.Rand.Uint32())
			}
		}
		return event
	}
	largest := sized(limits.MaxEventBytes)
	asJSON := env.Event("Happened")
	asJSON.Data = nil
	asJSON.Data = fmt.Appendf(nil, "%q", strings.Repeat("x", limits.MaxEventBytes-asJSON.Size()-2))
	asMetadata := env.Event("Happened")
	asEscapes := env.Event("Happened") // the largest form of each character: six bytes for one
	if env.Caps.Metadata.Supported() {
		asMetadata.Metadata["text"], asEscapes.Metadata["text"] = "", ""
		asMetadata.Metadata["text"] = strings.Repeat("é", (limits.MaxEventBytes-asMetadata.Size())/2)
		asEscapes.Metadata["text"] = strings.Repeat("<", (limits.MaxEventBytes-asEscapes.Size())/6)
	}
	var most, full []eventstore.Event
	for range limits.MaxAppendEvents {
		most = append(most, env.Event(strings.Repeat("T", limits.MaxTypeBytes)))
		full = append(full, sized(limits.MaxAppendBytes/limits.MaxAppendEvents))
	}
	var few []eventstore.Event
	for left := limits.MaxAppendBytes; left > 0; {
		few = append(few, sized(min(left, limits.MaxEventBytes)))
		left -= few[len(few)-1].Size()
	}
	long := strings.Repeat("s", limits.MaxStreamBytes-1)
	wide := strings.Repeat("注", limits.MaxStreamBytes/3)
	return expectRoundTrip(ctx, env,
		append(env.odd(long+"1", long+"2", wide, wide[:len(wide)-3]), env.Stream("Order"), env.Stream("Order"), env.Stream("Order")),
		[][]eventstore.Event{{largest}, {asJSON}, {asMetadata}, most, full, few, {asEscapes}})
}

func recordTime(ctx context.Context, env *Env) error {
	// Clocks of servers differ by seconds; a lost time zone, by a quarter of an
	// hour at least.
	const apart = 5 * time.Minute
	stream := env.Stream("Order")
	began := time.Now().Add(-apart)
	for range 3 {
		if _, err := env.Store.Append(ctx, stream, eventstore.Any(), env.Events(2)...); err != nil {
			return err
		}
	}
	ended := time.Now().Add(apart)
	var first []eventstore.RecordedEvent
	for _, read := range readings(ctx, env, env.Store, stream, 6) {
		events, err := read.run()
		if err != nil {
			return err
		}
		for i, event := range events {
			what := fmt.Sprintf("record time of event %d in %s", i+1, read.name)
			if err := expectTime(what, event.RecordedAt, env.Caps.TimePrecision); err != nil {
				return err
			}
			if event.RecordedAt.Before(began) || event.RecordedAt.After(ended) {
				return unexpected(what, fmt.Sprintf("between %s and %s", began, ended), event.RecordedAt)
			}
		}
		if first == nil {
			first = events
		}
		if err := expectSame(read.name+" beside ReadStream", first, events); err != nil {
			return err
		}
	}
	if env.Fixture.OpenAgain == nil {
		return nil
	}
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	events, err := collect(again.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	return expectSame("ReadStream through another handle", first, events)
}

// expectTime returns an error unless a record time has the form of one.
func expectTime(what string, at time.Time, precision time.Duration) error {
	switch {
	case at.IsZero():
		return unexpected(what, "a time", "none")
	case at.Location() != time.UTC:
		return unexpected(what+", its location", time.UTC, at.Location())
	case !at.Truncate(precision).Equal(at):
		return unexpected(what, fmt.Sprintf("a multiple of the declared precision, %s", precision), at.Format(time.RFC3339Nano))
	}
	return nil
}
