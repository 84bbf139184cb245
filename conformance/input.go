package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The contract's table of bad input, row by row, through every operation that
// takes it. Nothing of it may reach the backend.

func inputChecks() []Check {
	return []Check{
		{
			Name: "input/stream-id", Promise: 22,
			Sentence: "A stream ID that is empty, too long, not UTF-8, has control characters or begins with '$' is refused by every operation that takes one.",
			Run:      badStreamIDs,
		},
		{
			Name: "input/type", Promise: 22,
			Sentence: "An event or snapshot type that is empty, too long, not UTF-8, has control characters or begins with '$' is refused, and the event is named.",
			Run:      badTypes,
		},
		{
			Name: "input/event", Promise: 22,
			Sentence: "Data that is not the JSON it claims to be, a bad content type, bad metadata and a too large event are refused, and the event is named.",
			Run:      badEvents,
		},
		{
			Name: "input/append", Promise: 22,
			Sentence: "An append of no parts, of no or too many events, of too many bytes, with an invalid expectation or with an ID twice is refused.",
			Run:      badAppends,
		},
		{
			Name: "input/range", Promise: 22,
			Sentence: "After at or beyond Before, a version beyond the highest one and a negative limit are refused.",
			Run:      badRanges,
		},
		{
			Name: "input/filter", Promise: 22, Requires: globalOrder, Refused: refusesSubscriptions,
			Sentence: "A filter whose category, prefix or type no stream or event could have is refused by every operation that takes one.",
			Run:      badFilters,
		},
		{
			Name: "input/name", Promise: 22,
			Sentence: "The name of a checkpoint or subscription that is empty, too long, not UTF-8 or has control characters is refused by every operation that takes one.",
			Run:      badCheckpointNames,
		},
		{
			Name: "input/subscription", Promise: 22,
			Sentence: "A subscription without a handler, with a negative number or with a bad park stream is refused.",
			Run:      badSubscriptions,
		},
		{
			Name: "input/snapshot", Promise: 22,
			Sentence: "A snapshot without a version, with a negative schema version or with too much data is refused.",
			Run:      badSnapshots,
		},
		{
			Name: "input/reserved", Promise: 22,
			Sentence: "Names that begin with '$' are stored and come back for whoever opted in.",
			Run:      reservedNames,
		},
	}
}

// bad is input that breaks one rule, on its way through one operation.
type bad struct {
	// what names the input, and operation what takes it.
	what, operation string
	// field and reason are what the error must say; reason is a part of it.
	field, reason string
	call          func(ctx context.Context, store *eventstore.Store) error
}

// expectRefused makes each call and returns an error unless it is refused as
// invalid, with its field and reason, before any I/O.
func expectRefused(ctx context.Context, env *Env, rows ...bad) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	for _, row := range rows {
		what := row.operation + " with " + row.what
		err, late := returnsPromptly(what, func() error { return row.call(ctx, store) })
		if err := errors.Join(late, row.expect(what, err), spy.expectNoCalls(what)); err != nil {
			return err
		}
	}
	return expectEmpty(ctx, env)
}

func (b bad) expect(what string, err error) error {
	if err := expectError(what, err, eventstore.ErrInvalid); err != nil {
		return err
	}
	var invalid *eventstore.InvalidError
	if !errors.As(err, &invalid) {
		return unexpected(what, "an *InvalidError", fmt.Sprintf("%q without one", err))
	}
	if invalid.Field != b.field || !strings.Contains(invalid.Reason, b.reason) {
		return unexpected(what, fmt.Sprintf("an error that names the field %q and says %q", b.field, b.reason), fmt.Sprintf("%q", err))
	}
	return nil
}

// expectEmpty returns an error if anything was written.
func expectEmpty(ctx context.Context, env *Env) error {
	info, err := env.Store.Info(ctx)
	if err == nil && !info.Head.IsZero() {
		err = unexpected("head of the store after refused input", "none", info.Head)
	}
	return err
}

// badText is text that no name may be.
type badText struct{ what, text, reason string }

// badTexts are wrong for every name of at most so many bytes.
func badTexts(limit int) []badText {
	rows := []badText{
		{"nothing", "", "empty"},
		{"one byte too many", strings.Repeat("x", limit+1), fmt.Sprintf("limit %d", limit)},
		{"few characters of many bytes", strings.Repeat("注", limit/3+1), fmt.Sprintf("limit %d", limit)},
		{"a broken code point", "a\xff", "UTF-8"},
		{"a cut code point", "a\xe6\xb3", "UTF-8"},
		{"a surrogate", "a\xed\xa0\x80", "UTF-8"},
		{"an overlong NUL", "a\xc0\x80", "UTF-8"},
	}
	for _, control := range []rune{0, '\t', '\n', '\r', 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9f} {
		for _, text := range []string{"a" + string(control) + "b", string(control), "a" + string(control)} {
			rows = append(rows, badText{fmt.Sprintf("the control character %U", control), text, fmt.Sprintf("%U", control)})
		}
	}
	return rows
}

// badNames are wrong for every stream ID and type.
func badNames(limit int) []badText {
	rows := badTexts(limit)
	for _, reserved := range []string{"$", "$all", "$ce-Order"} {
		rows = append(rows, badText{"a reserved name", reserved, "reserved"})
	}
	return rows
}

func badStreamIDs(ctx context.Context, env *Env) error {
	var rows []bad
	for _, name := range badNames(eventstore.PortableLimits().MaxStreamBytes) {
		for _, call := range storeCalls(env, name.text) {
			switch call.name {
			case "Append", "AppendStreams", "ReadStream", "StreamVersion", "LoadSnapshot", "SaveSnapshot", "DeleteSnapshot":
				rows = append(rows, bad{name.what, call.name, "stream", name.reason, call.run})
			}
		}
		if env.Caps.MultiStreamAppend.Supported() {
			rows = append(rows, bad{name.what, "AppendStreams, second part,", "stream", name.reason, func(ctx context.Context, s *eventstore.Store) error {
				_, err := s.AppendStreams(ctx, part(env.StreamID("Order", 1), eventstore.Any(), env.Events(1)...), part(name.text, eventstore.Any(), env.Events(1)...))
				return err
			}})
		}
	}
	return expectRefused(ctx, env, rows...)
}

func badTypes(ctx context.Context, env *Env) error {
	var rows []bad
	for _, name := range badNames(eventstore.PortableLimits().MaxTypeBytes) {
		rows = append(rows, inSecondEvent(env, name.what, "type", name.reason, func(e *eventstore.Event) { e.Type = name.text })...)
		for _, call := range []storeCall{
			{"LoadSnapshot", func(ctx context.Context, s *eventstore.Store) error {
				_, _, err := s.LoadSnapshot(ctx, env.StreamID("Order", 1), name.text)
				return err
			}},
			{"SaveSnapshot", func(ctx context.Context, s *eventstore.Store) error {
				return s.SaveSnapshot(ctx, eventstore.Snapshot{Stream: env.StreamID("Order", 1), Type: name.text, Version: 1})
			}},
			{"DeleteSnapshot", func(ctx context.Context, s *eventstore.Store) error {
				return s.DeleteSnapshot(ctx, env.StreamID("Order", 1), name.text)
			}},
		} {
			rows = append(rows, bad{name.what, call.name, "snapshot type", name.reason, call.run})
		}
	}
	return expectRefused(ctx, env, rows...)
}

// inSecondEvent spoils the second of two events, in both operations that append.
func inSecondEvent(env *Env, what, field, reason string, spoil func(*eventstore.Event)) []bad {
	events := func() []eventstore.Event {
		events := env.Events(2)
		spoil(&events[1])
		return events
	}
	field = "events[1]." + field
	return []bad{
		{what, "Append", field, reason, func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Append(ctx, env.StreamID("Order", 1), eventstore.Any(), events()...)
			return err
		}},
		{what, "AppendStreams", field, reason, func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.AppendStreams(ctx, part(env.StreamID("Order", 1), eventstore.Any(), events()...))
			return err
		}},
	}
}

func badEvents(ctx context.Context, env *Env) error {
	var rows []bad
	add := func(what, field, reason string, spoil func(*eventstore.Event)) {
		rows = append(rows, inSecondEvent(env, what, field, reason, spoil)...)
	}
	for _, contentType := range []string{"", "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.shop.order+json", "application/cloudevents+json; v=1"} {
		for _, data := range []string{"", " ", "{", "{]", `{"a":}`, `{a:1}`, `{'a':1}`, `{"a":1,}`, "{} {}", "01", "+1", ".5", "NaN", "\xef\xbb\xbf{}", "\"\x00\"", "\"a\nb\"", "<xml/>", "\xff"} {
			add(fmt.Sprintf("the content type %q and the data %q", contentType, data), "data", "JSON", func(e *eventstore.Event) {
				e.ContentType, e.Data = contentType, []byte(data)
			})
		}
	}
	for _, text := range badTexts(255) {
		if text.text != "" {
			add("a content type with "+text.what, "contentType", text.reason, func(e *eventstore.Event) { e.ContentType = text.text })
		}
		add("a metadata key with "+text.what, "metadata", text.reason, func(e *eventstore.Event) { e.Metadata = map[string]string{text.text: "value"} })
	}
	for _, value := range []string{"\xff", "a\xe6\xb3", "\xed\xa0\x80"} {
		add("a metadata value that is not UTF-8", "metadata", "UTF-8", func(e *eventstore.Event) { e.Metadata = map[string]string{"key": value} })
	}
	limit := eventstore.PortableLimits().MaxEventBytes
	large := fmt.Sprintf("limit %d", limit)
	add("one byte too many in its data", "data", large, func(e *eventstore.Event) {
		e.ContentType, e.Data = "text/plain", nil
		e.Data = make([]byte, limit-e.Size()+1)
	})
	add("one byte too many in its metadata", "data", large, func(e *eventstore.Event) {
		e.Metadata = map[string]string{"key": ""}
		e.Metadata["key"] = strings.Repeat("x", limit-e.Size()+1)
	})
	return expectRefused(ctx, env, rows...)
}

func badAppends(ctx context.Context, env *Env) error {
	limits := eventstore.PortableLimits()
	spread := env.Events(4)
	for i := range spread {
		spread[i].ContentType, spread[i].Data = "text/plain", nil
		spread[i].Data = make([]byte, limits.MaxAppendBytes/4-spread[i].Size())
	}
	spread[3].Data = append(spread[3].Data, 0)
	var rows []bad
	for _, row := range []struct {
		what, field, reason string
		part                eventstore.StreamAppend
	}{
		{"no events", "events", "none", part(env.StreamID("Order", 1), eventstore.Any())},
		{"one event too many", "events", fmt.Sprintf("limit %d", limits.MaxAppendEvents), part(env.StreamID("Order", 1), eventstore.Any(), env.Events(limits.MaxAppendEvents+1)...)},
		{"one byte too many in all", "events", fmt.Sprintf("limit %d", limits.MaxAppendBytes), part(env.StreamID("Order", 1), eventstore.Any(), spread...)},
		{"no expectation", "expected version", "Any()", part(env.StreamID("Order", 1), eventstore.ExpectedVersion{}, env.Events(1)...)},
		{"a version beyond the highest one", "expected version", fmt.Sprint(int64(math.MaxInt64)), part(env.StreamID("Order", 1), eventstore.Exactly(math.MaxInt64+1), env.Events(1)...)},
		{"the highest number as a version", "expected version", fmt.Sprint(int64(math.MaxInt64)), part(env.StreamID("Order", 1), eventstore.Exactly(math.MaxUint64), env.Events(1)...)},
	} {
		rows = append(
			rows,
			bad{row.what, "Append", row.field, row.reason, func(ctx context.Context, s *eventstore.Store) error {
				_, err := s.Append(ctx, row.part.Stream, row.part.Expected, row.part.Events...)
				return err
			}},
			bad{row.what, "AppendStreams", row.field, row.reason, func(ctx context.Context, s *eventstore.Store) error {
				_, err := s.AppendStreams(ctx, row.part)
				return err
			}},
		)
	}
	rows = append(rows, bad{"no parts", "AppendStreams", "append", "no parts", func(ctx context.Context, s *eventstore.Store) error {
		_, err := s.AppendStreams(ctx)
		return err
	}})
	if env.Caps.MultiStreamAppend.Supported() {
		half := limits.MaxAppendEvents/2 + 1
		rows = append(rows, bad{"too many events in all its parts", "AppendStreams", "events", fmt.Sprintf("limit %d", limits.MaxAppendEvents), func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.AppendStreams(ctx, part(env.StreamID("Order", 1), eventstore.Any(), env.Events(half)...), part(env.StreamID("Order", 2), eventstore.Any(), env.Events(half)...))
			return err
		}})
	}
	return errors.Join(expectRefused(ctx, env, rows...), idTwice(ctx, env))
}

// idTwice has an error of its own: the ID is reused, within one append.
func idTwice(ctx context.Context, env *Env) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	events := env.Events(3)
	events[2].ID = events[0].ID
	same := []eventstore.Event{events[0], events[1], events[0]} // not even with the same content
	calls := []storeCall{
		{"other content", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Append(ctx, env.StreamID("Order", 1), eventstore.Any(), events...)
			return err
		}},
		{"the same content", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Append(ctx, env.StreamID("Order", 1), eventstore.Any(), same...)
			return err
		}},
	}
	if env.Caps.MultiStreamAppend.Supported() {
		calls = append(calls, storeCall{"another part for the same stream", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.AppendStreams(ctx, part(env.StreamID("Order", 1), eventstore.Any(), events[0]), part(env.StreamID("Order", 1), eventstore.Any(), events[2]))
			return err
		}})
	}
	for _, call := range calls {
		what := "an append with an ID twice, with " + call.name
		err := call.run(ctx, store)
		if err := errors.Join(expectError(what, err, eventstore.ErrEventIDReused), spy.expectNoCalls(what)); err != nil {
			return err
		}
		var reused *eventstore.EventIDReusedError
		if !errors.As(err, &reused) || reused.ID != events[0].ID || reused.Stream != env.StreamID("Order", 1) {
			return unexpected(what, fmt.Sprintf("an *EventIDReusedError that names %s", events[0].ID), fmt.Sprintf("%q", err))
		}
	}
	return expectEmpty(ctx, env)
}

func badRanges(ctx context.Context, env *Env) error {
	var rows []bad
	for _, backward := range []bool{false, true} {
		for _, row := range []struct {
			what, field, reason string
			opts                eventstore.ReadOptions
		}{
			{"After at Before", "range", "not below", eventstore.ReadOptions{After: 5, Before: 5}},
			{"After beyond Before", "range", "not below", eventstore.ReadOptions{After: 6, Before: 5}},
			{"After beyond the highest version", "range", "beyond", eventstore.ReadOptions{After: math.MaxInt64 + 1}},
			{"Before beyond the highest version", "range", "beyond", eventstore.ReadOptions{Before: math.MaxUint64}},
			{"a negative limit", "limit", "negative", eventstore.ReadOptions{Limit: -1}},
			{"the lowest limit", "limit", "negative", eventstore.ReadOptions{Limit: math.MinInt}},
		} {
			row.opts.Backward = backward
			rows = append(rows, bad{row.what, fmt.Sprintf("ReadStream, backward %t,", backward), row.field, row.reason, func(ctx context.Context, s *eventstore.Store) error {
				_, err := collect(s.ReadStream(ctx, env.StreamID("Order", 1), row.opts))
				return err
			}})
		}
		if !env.Caps.GlobalOrder.Supported() {
			continue
		}
		five, six, within := eventstore.NewPosition(5, 0), eventstore.NewPosition(6, 0), eventstore.NewPosition(5, 1)
		for _, row := range []struct {
			what, field, reason string
			opts                eventstore.ReadAllOptions
		}{
			{"After at Before", "range", "not below", eventstore.ReadAllOptions{After: five, Before: five}},
			{"After beyond Before", "range", "not below", eventstore.ReadAllOptions{After: six, Before: five}},
			{"After beyond Before by its low word", "range", "not below", eventstore.ReadAllOptions{After: within, Before: five}},
			{"a negative limit", "limit", "negative", eventstore.ReadAllOptions{Limit: -1}},
		} {
			row.opts.Backward = backward
			rows = append(rows, bad{row.what, fmt.Sprintf("ReadAll, backward %t,", backward), row.field, row.reason, func(ctx context.Context, s *eventstore.Store) error {
				_, err := collect(s.ReadAll(ctx, row.opts))
				return err
			}})
		}
	}
	return expectRefused(ctx, env, rows...)
}

func badFilters(ctx context.Context, env *Env) error {
	limits := eventstore.PortableLimits()
	var rows []bad
	add := func(what, field, reason string, filter eventstore.Filter) {
		for _, call := range []storeCall{
			{"ReadAll", func(ctx context.Context, s *eventstore.Store) error {
				_, err := collect(s.ReadAll(ctx, eventstore.ReadAllOptions{Filter: filter}))
				return err
			}},
			{"Subscribe", func(ctx context.Context, s *eventstore.Store) error {
				_, err := collect(s.Subscribe(ctx, eventstore.SubscribeOptions{Filter: filter}))
				return err
			}},
			{"Run", func(ctx context.Context, s *eventstore.Store) error {
				return s.Run(ctx, eventstore.Subscription{Name: "filtered", Handler: ignoreEvent, Filter: filter})
			}},
		} {
			rows = append(rows, bad{what, call.name, "filter " + field, reason, call.run})
		}
	}
	for _, text := range badTexts(limits.MaxStreamBytes) {
		if text.text != "" {
			add("a category with "+text.what, "categories[0]", text.reason, eventstore.Filter{Categories: []string{text.text}})
			add("a prefix with "+text.what, "stream prefixes[0]", text.reason, eventstore.Filter{StreamPrefixes: []string{text.text}})
		}
	}
	for _, category := range []string{"Order-1", "Order-", "-"} {
		add("a category that contains '-'", "categories[0]", "'-'", eventstore.Filter{Categories: []string{category}})
	}
	for _, text := range badTexts(limits.MaxTypeBytes) {
		add("a type with "+text.what, "types[1]", text.reason, eventstore.Filter{Types: []string{"Happened", text.text}})
	}
	return expectRefused(ctx, env, rows...)
}

func badCheckpointNames(ctx context.Context, env *Env) error {
	var rows []bad
	for _, name := range badTexts(255) {
		for _, call := range []storeCall{
			{"LoadCheckpoint", func(ctx context.Context, s *eventstore.Store) error {
				_, _, err := s.LoadCheckpoint(ctx, name.text)
				return err
			}},
			{"SaveCheckpoint", func(ctx context.Context, s *eventstore.Store) error {
				return s.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: name.text})
			}},
			{"DeleteCheckpoint", func(ctx context.Context, s *eventstore.Store) error { return s.DeleteCheckpoint(ctx, name.text) }},
			{"Run", func(ctx context.Context, s *eventstore.Store) error {
				return s.Run(ctx, eventstore.Subscription{Name: name.text, Handler: ignoreEvent})
			}},
		} {
			rows = append(rows, bad{"a name with " + name.what, call.name, "name", name.reason, call.run})
		}
	}
	return expectRefused(ctx, env, rows...)
}

func badSubscriptions(ctx context.Context, env *Env) error {
	var rows []bad
	add := func(what, field, reason string, spoil func(*eventstore.Subscription)) {
		sub := eventstore.Subscription{Name: "bad", Handler: ignoreEvent}
		spoil(&sub)
		rows = append(rows, bad{what, "Run", field, reason, func(ctx context.Context, s *eventstore.Store) error { return s.Run(ctx, sub) }})
	}
	add("no handler", "handler", "nil", func(s *eventstore.Subscription) { s.Handler = nil })
	add("a negative CheckpointEvery", "subscription", "negative", func(s *eventstore.Subscription) { s.CheckpointEvery = -1 })
	add("a negative CheckpointInterval", "subscription", "negative", func(s *eventstore.Subscription) { s.CheckpointInterval = -time.Second })
	add("negative attempts", "subscription", "negative", func(s *eventstore.Subscription) { s.Retry.Attempts = -1 })
	add("a negative pause", "subscription", "negative", func(s *eventstore.Subscription) { s.Retry.Pause = -1 })
	add("a negative longest pause", "subscription", "negative", func(s *eventstore.Subscription) { s.Retry.MaxPause = -1 })
	for _, name := range badNames(eventstore.PortableLimits().MaxStreamBytes) {
		if name.text != "" { // nothing means that Run stops instead
			add("a park stream with "+name.what, "park stream", name.reason, func(s *eventstore.Subscription) { s.ParkStream = name.text })
		}
	}
	return expectRefused(ctx, env, rows...)
}

func badSnapshots(ctx context.Context, env *Env) error {
	var rows []bad
	add := func(what, field, reason string, snapshot eventstore.Snapshot) {
		snapshot.Stream, snapshot.Type = env.StreamID("Order", 1), "State"
		rows = append(rows, bad{what, "SaveSnapshot", field, reason, func(ctx context.Context, s *eventstore.Store) error {
			return s.SaveSnapshot(ctx, snapshot)
		}})
	}
	limit := eventstore.PortableLimits().MaxEventBytes
	add("no version", "snapshot version", "zero", eventstore.Snapshot{})
	add("a negative schema version", "snapshot schema version", "negative", eventstore.Snapshot{Version: 1, SchemaVersion: -1})
	add("one byte too many", "snapshot data", fmt.Sprintf("limit %d", limit), eventstore.Snapshot{Version: 1, Data: make([]byte, limit+1)})
	return expectRefused(ctx, env, rows...)
}

func reservedNames(ctx context.Context, env *Env) error {
	store, err := env.NewStore(env.Fixture.Backend, eventstore.Options{AllowReserved: true})
	if err != nil {
		return err
	}
	names := []string{"$", "$all", "$ce-Order", "$$Order-1", "$1"}
	types := env.oddTypes(names...)
	for i, stream := range env.odd(names...) {
		event := env.Event(types[i])
		if _, err := store.Append(ctx, stream, eventstore.NoStream(), event); err != nil {
			return fmt.Errorf("append a reserved name that was opted into: %w", err)
		}
		if err := expectEvents(ctx, store, stream, event); err != nil {
			return err
		}
	}
	return nil
}
