package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of contents that look like something that may be changed, and of
// contents that differ in a little.
func contentsChecks() []Check {
	return []Check{
		{
			Name: "contents/media-types", Promise: 9, Needs: NeedsOpenAgain, Requires: exactBinary, Refused: refusesBinary,
			Sentence: "Data of every media type comes back byte for byte, also of those that are text or JSON by their name, in any case and with any parameters.",
			Run:      mediaTypes,
		},
		{
			Name: "contents/one-byte-apart", Promise: 6, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Content that differs in one byte, wherever it is, is other content: appended again under the same ID it is refused, under another ID it is kept apart.",
			Run:      oneByteApart,
		},
		{
			Name: "contents/ids-one-byte-apart", Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Event IDs that differ in one bit, wherever it is, are different IDs.",
			Run:      idsOneByteApart,
		},
		{
			Name: "contents/many-metadata-keys", Promise: 9, Needs: NeedsOpenAgain, Requires: keepsMetadata, Refused: refusesMetadata,
			Sentence: "Hundreds of metadata keys come back, and one that differs makes other content.",
			Run:      manyMetadataKeys,
		},
	}
}

// textData is data that whoever takes it for text changes: line ends, white space,
// marks, escapes, bytes that are no UTF-8.
func textData() []string {
	return []string{
		"", " ", "\n", "a\n", "a\r\nb\r\n", "\ra", "\t a \t", "trailing  ", "a\x00b", "\x00", "\ufeffbom", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "\xe2\x82", "e\u0301 \u00e9",
		"a;b,\"c\nd\"", "<a b='c'>&amp;&#x41;</a>", "%C3%A9+%20", "\\u00e9\\n", "null", "\u2028\u2029", strings.Repeat("long line ", 7000),
	}
}

// jsonTexts are JSON that whoever reads it and writes it again changes.
func jsonTexts() []string {
	return []string{
		`{"b":1,"a":2}`, `{"a":1,"a":2}`, ` {"a" : [ 1 , 2 ] } `, "{\n\t\"a\": 1\n}\n", `[1.0,1e2,1E+2,-0,0.10,12345678901234567890,1e400]`, `{"é":"\u00e9\/\ud83d\ude00"}`,
		`[9007199254740993]`, `"text"`, `null`, `true`, `0`, `""`, `{"a":null}`, `{"<a>":"&"}`, `{"":{"":[]}}`, "\"\u2028\"",
	}
}

func mediaTypes(ctx context.Context, env *Env) error {
	texts := []string{
		"text/plain", "text/plain; charset=utf-8", "text/plain; charset=iso-8859-1", "TEXT/PLAIN", "text/csv", "text/csv; header=present", "text/html", "text/xml", "application/xml", "application/soap+xml",
		"application/x-www-form-urlencoded", "application/x-ndjson", "application/json-seq", "application/jsonlines", "text/json", "application/yaml", "image/svg+xml", "application/jsonx", "json",
		"application/vnd.shop+protobuf", "application/cbor", "multipart/mixed; boundary=x", "text/x", "text",
	}
	jsons := []string{
		"application/json", "application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json", "application/cloudevents+json; charset=UTF-8", "application/problem+json",
		"application/vnd.shop.order.v1+json", "application/vnd.Shop+JSON", "text/x+json", "application/ld+json; profile=\"http://example.com/a b\"", "application/geo+json",
	}
	var events []eventstore.Event
	add := func(contentType, data string) {
		event := env.Event("Happened")
		event.ContentType, event.Data = contentType, []byte(data)
		events = append(events, event)
	}
	for i, contentType := range texts {
		for j, data := range append(textData(), jsonTexts()[i%len(jsonTexts())]) {
			if len(data) < 1000 || (i+j)%8 == 0 {
				add(contentType, data)
			}
		}
	}
	for _, contentType := range jsons {
		for _, data := range jsonTexts() {
			add(contentType, data)
		}
	}
	return inBatches(ctx, env, events...)
}

// apart are the places at which contents of a size are made to differ: both ends,
// and around the sizes that a prefix or a column may have.
func apart(size int) []int {
	var all []int
	for _, at := range append(turns(uint64(size)), 128, 256, 1000, 4000, 8000, 65_000) {
		for _, i := range []int{int(at) - 1, size - int(at)} {
			if 0 <= i && i < size && !slices.Contains(all, i) {
				all = append(all, i)
			}
		}
	}
	return all
}

// oneByteApart has an event that is long in each of its fields.
func oneByteApart(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	text := func(n int) string { return strings.Repeat("x", n) }
	flip := func(s string, at int) string { return s[:at] + "y" + s[at+1:] }
	original := binaryEvent(env, nil)
	original.Type, original.ContentType = text(255), "application/"+text(200)
	original.Data = []byte(text(70_000))
	original.Metadata = map[string]string{text(255): text(3000), "key": "value"}
	before := env.Event("Happened")
	stream := env.Stream("Order")
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), before, original); err != nil {
		return err
	}
	var others []eventstore.Event
	other := func(change func(*eventstore.Event)) {
		event := original
		event.Metadata = maps.Clone(original.Metadata)
		change(&event)
		others = append(others, event)
	}
	key := text(255)
	for _, at := range apart(255) {
		other(func(e *eventstore.Event) { e.Type = flip(e.Type, at) })
		other(func(e *eventstore.Event) {
			delete(e.Metadata, key)
			e.Metadata[flip(key, at)] = original.Metadata[key]
		})
	}
	for _, at := range apart(200) {
		other(func(e *eventstore.Event) { e.ContentType = "application/" + flip(text(200), at) })
	}
	for _, at := range apart(3000) {
		other(func(e *eventstore.Event) { e.Metadata[key] = flip(e.Metadata[key], at) })
	}
	for _, at := range apart(70_000) {
		other(func(e *eventstore.Event) { e.Data = []byte(flip(string(e.Data), at)) })
	}
	other(func(e *eventstore.Event) { e.Data = e.Data[:len(e.Data)-1] })
	other(func(e *eventstore.Event) { e.Data = append(slices.Clone(e.Data), 'x') })
	other(func(e *eventstore.Event) { e.Data = append(slices.Clone(e.Data), 0) })
	other(func(e *eventstore.Event) { e.Type = e.Type[:254] })
	other(func(e *eventstore.Event) { e.Metadata[key] += " " })
	other(func(e *eventstore.Event) { e.Metadata["key"] = "Value" })
	other(func(e *eventstore.Event) { e.Metadata["Key"], e.Metadata["key"] = "value", "" })
	for i, event := range others {
		what := fmt.Sprintf("variation %d of %d of an event's content under its ID", i+1, len(others))
		again := [][]eventstore.Event{{event}, {before, event}}[i%2]
		_, err := stores[i%2].Append(ctx, stream, eventstore.Any(), again...)
		if err := expectError(what, err, eventstore.ErrEventIDReused); err != nil {
			return fmt.Errorf("%w: %s", err, describe(event))
		}
	}
	if result, err := stores[1].Append(ctx, stream, eventstore.Any(), before, original); err != nil || !result.Duplicate {
		return unexpected("the same append again", "a duplicate", fmt.Sprintf("%+v, error %v", result, err))
	}
	apart := env.Stream("Order")
	for i := range others {
		others[i].ID = env.ID()
		if _, err := stores[i%2].Append(ctx, apart, eventstore.Exactly(uint64(i)), others[i]); err != nil {
			return err
		}
	}
	return expectEvents(ctx, env.Store, apart, others...)
}

func idsOneByteApart(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, first := env.Stream("Order"), env.Event("Happened")
	events := []eventstore.Event{first}
	for bit := range 128 {
		event := env.Event("Happened")
		event.ID = first.ID
		event.ID[bit/8] ^= 1 << (bit % 8)
		events = append(events, event)
	}
	for i, event := range events {
		result, err := stores[i%2].Append(ctx, stream, eventstore.Exactly(uint64(i)), event)
		if err != nil {
			return fmt.Errorf("an event whose ID %s differs from %s in one bit: %w", event.ID, first.ID, err)
		}
		if result.Duplicate {
			return unexpected(fmt.Sprintf("an event whose ID %s differs from %s in one bit", event.ID, first.ID), "a new event", "a duplicate")
		}
	}
	for i, event := range events {
		result, err := stores[1-i%2].Append(ctx, stream, eventstore.NoStream(), event)
		if err != nil || !result.Duplicate || result.Version != uint64(i)+1 {
			return unexpected("the same event again among IDs that differ in one bit", fmt.Sprintf("a duplicate at version %d", i+1), fmt.Sprintf("%+v, error %v", result, err))
		}
	}
	return expectEvents(ctx, stores[1], stream, events...)
}

func manyMetadataKeys(ctx context.Context, env *Env) error {
	var events []eventstore.Event
	for _, n := range []int{63, 64, 100, 255, 256, 257, 500, 1000, 2000} {
		event := env.Event("Happened")
		for i := range n {
			event.Metadata[fmt.Sprintf("key-%d", i)] = fmt.Sprintf("%d%s", i, strings.Repeat("v", i%40))
		}
		events = append(events, event)
	}
	if err := inBatches(ctx, env, events...); err != nil {
		return err
	}
	stream, original := env.Stream("Order"), events[len(events)-1]
	original.ID = env.ID()
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), original); err != nil {
		return err
	}
	for _, i := range []int{0, 63, 64, 99, 100, 255, 256, 999, 1999} {
		for _, change := range []func(map[string]string, string){
			func(m map[string]string, key string) { delete(m, key) },
			func(m map[string]string, key string) { m[key] += "!" },
			func(m map[string]string, key string) { m[key+"!"], m[key] = m[key], "" },
		} {
			event := original
			event.Metadata = maps.Clone(original.Metadata)
			change(event.Metadata, fmt.Sprintf("key-%d", i))
			_, err := env.Store.Append(ctx, stream, eventstore.Any(), event)
			if err := expectError(fmt.Sprintf("an ID met again with another metadata key %d of 2000", i), err, eventstore.ErrEventIDReused); err != nil {
				return err
			}
		}
	}
	return nil
}
