package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// What is still held to where a capability is declared absent: that a call is
// refused before any I/O, or what the declaration leaves of the promise.

func exactData(c eventstore.Capabilities) eventstore.Capability { return c.ExactData }

func binaryContent(c eventstore.Capabilities) eventstore.Capability { return c.BinaryData }

func exactBinary(c eventstore.Capabilities) eventstore.Capability {
	return both(c.ExactData, c.BinaryData)
}

func keepsMetadata(c eventstore.Capabilities) eventstore.Capability { return c.Metadata }

func scopedIDs(c eventstore.Capabilities) eventstore.Capability { return c.StreamScopedIDs }

func wholeStreams(c eventstore.Capabilities) eventstore.Capability { return c.WholeStreams }

func snapshotting(c eventstore.Capabilities) eventstore.Capability { return c.Snapshots }

func exactOrder(c eventstore.Capabilities) eventstore.Capability {
	if c.WriterGrace > 0 {
		return eventstore.No(fmt.Sprintf("a reader passes a place that another program reserved after %s", c.WriterGrace))
	}
	return c.GlobalOrder
}

// refusesEvent returns the Refused of a check whose capability an event needs.
func refusesEvent(what string, declared func(eventstore.Capabilities) eventstore.Capability, spoil func(*eventstore.Event)) func(context.Context, *Env) error {
	return func(ctx context.Context, env *Env) error {
		if declared(env.Caps).Supported() {
			return nil // another capability of the check is absent, whose own checks see to it
		}
		store, spy, err := spied(env, eventstore.Options{})
		if err != nil {
			return err
		}
		stream, events := env.Stream("Order"), env.Events(2)
		spoil(&events[1])
		_, err = store.Append(ctx, stream, eventstore.NoStream(), events...)
		if err := errors.Join(expectUnsupported(what, err, declared(env.Caps)), spy.expectNoCalls(what)); err != nil {
			return err
		}
		return expectEvents(ctx, env.Store, stream)
	}
}

func refusesBinary(ctx context.Context, env *Env) error {
	for _, contentType := range []string{"application/octet-stream", "text/plain", "application/jsonx"} {
		err := refusesEvent("an event of the content type "+contentType, binaryContent, func(e *eventstore.Event) {
			e.ContentType, e.Data = contentType, []byte{0, 0xff}
		})(ctx, env)
		if err != nil {
			return err
		}
	}
	return nil
}

func refusesMetadata(ctx context.Context, env *Env) error {
	return refusesEvent("an event with metadata", keepsMetadata, func(e *eventstore.Event) {
		e.Metadata = map[string]string{"key": "value"}
	})(ctx, env)
}

func refusesSnapshots(ctx context.Context, env *Env) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	stream := env.StreamID("Order", 1)
	_, _, loaded := store.LoadSnapshot(ctx, stream, "State")
	saved := store.SaveSnapshot(ctx, eventstore.Snapshot{Stream: stream, Type: "State", Version: 1})
	return errors.Join(
		expectUnsupported("LoadSnapshot", loaded, env.Caps.Snapshots),
		expectUnsupported("SaveSnapshot", saved, env.Caps.Snapshots),
		expectUnsupported("DeleteSnapshot", store.DeleteSnapshot(ctx, stream, "State"), env.Caps.Snapshots),
		spy.expectNoCalls("snapshots that the backend does not keep"))
}

// jsonAsJSON holds a backend that does not keep bytes to what it still promises:
// JSON is equal as JSON, and an append is recognised by what was sent.
func jsonAsJSON(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	var events []eventstore.Event
	for _, text := range jsonTexts() {
		event := env.Event("Happened")
		event.Data = []byte(text)
		events = append(events, event)
	}
	original, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...)
	if err != nil {
		return err
	}
	stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	if len(stored) != len(events) {
		return unexpected("events of JSON", len(events), len(stored))
	}
	for i, event := range events {
		if !sameJSON(event.Data, stored[i].Data) {
			return unexpected(fmt.Sprintf("JSON of event %d", i+1), fmt.Sprintf("what equals %s", event.Data), string(stored[i].Data))
		}
	}
	// Everything at once, and each by itself: an append that is repeated after its
	// outcome was lost is the same bytes again.
	if err := expectDuplicate(ctx, env.Store, stream, eventstore.NoStream(), original, events...); err != nil {
		return fmt.Errorf("JSON whose bytes do not come back, appended again: %w", err)
	}
	for i, event := range events {
		again, err := env.Store.Append(ctx, stream, eventstore.Any(), event)
		if err != nil || !again.Duplicate || again.Version != uint64(i)+1 {
			return unexpected(fmt.Sprintf("the event with the JSON %s appended again", event.Data), fmt.Sprintf("a duplicate at version %d", i+1), fmt.Sprintf("%+v, error %v", again, err))
		}
		event.Data = []byte(`{"other":true}`)
		_, err = env.Store.Append(ctx, stream, eventstore.Any(), event)
		if err := expectError("the ID of an event met again with other JSON", err, eventstore.ErrEventIDReused); err != nil {
			return err
		}
	}
	return nil
}

// sameJSON tells whether two texts are equal as JSON: the order of keys, white
// space, escapes, and the spelling of numbers do not count; of a key that is
// repeated the last value does.
func sameJSON(a, b []byte) bool {
	decode := func(data []byte) (any, error) {
		var value any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		err := decoder.Decode(&value)
		return value, err
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && sameValue(x, y)
}

func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		n, ok := b.(json.Number)
		x, okX := new(big.Rat).SetString(a.String())
		y, okY := new(big.Rat).SetString(n.String())
		return ok && okX && okY && x.Cmp(y) == 0
	case []any:
		list, ok := b.([]any)
		return ok && slices.EqualFunc(a, list, sameValue)
	case map[string]any:
		object, ok := b.(map[string]any)
		if !ok || len(a) != len(object) {
			return false
		}
		for key, value := range a {
			if other, ok := object[key]; !ok || !sameValue(value, other) {
				return false
			}
		}
		return true
	}
	return a == b
}

// sharesIDs is what holds where an ID belongs to one stream of the whole store.
func sharesIDs(ctx context.Context, env *Env) error {
	first, second := env.Stream("Order"), env.Stream("Order")
	events := env.Events(2)
	original, err := env.Store.Append(ctx, first, eventstore.NoStream(), events...)
	if err != nil {
		return err
	}
	other := env.Event("Happened")
	other.ID = events[1].ID
	for name, again := range map[string][]eventstore.Event{"the same content": {events[0]}, "other content": {other}, "a new event before it": {env.Event("Happened"), events[1]}} {
		_, err := env.Store.Append(ctx, second, eventstore.Any(), again...)
		if err := expectError("an ID that another stream has, with "+name, err, eventstore.ErrEventIDReused); err != nil {
			return err
		}
	}
	return errors.Join(
		expectDuplicate(ctx, env.Store, first, eventstore.NoStream(), original, events...),
		expectEvents(ctx, env.Store, first, events...), expectEvents(ctx, env.Store, second))
}

func declaredChecks() []Check {
	return []Check{
		{
			Name: "capability/names", Promise: 22, plain: true,
			Sentence: "Stream IDs and event types that match the declared patterns are stored, and all others are refused with ErrInvalid before any I/O.",
			Run:      declaredNames,
		},
		{
			Name: "capability/record-time-range", Promise: 21, Requires: preservedRecordTime, Refused: refusesRecordTime,
			Sentence: "Record times are kept up to both declared bounds, year 1 where the range has it; one beyond is refused with ErrInvalid before any I/O.",
			Run:      recordTimeRange,
		},
		{
			Name: "capability/idempotency-time", Promise: 5,
			Sentence: "Where event IDs are forgotten by time, they are known for longer than an append is tried again.",
			Run:      idempotencyTime,
		},
		{
			Name: "capability/whole-streams", Promise: 11, Requires: wholeStreams, Refused: cutStreams,
			Sentence: "A stream begins at version 1. Where its owner may cut off its beginning there is still no hole, its version stands, and its checkpoints are not taken for another store's.",
			Run:      streamsBeginAtOne,
		},
	}
}

func declaredNames(ctx context.Context, env *Env) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	limits := env.Caps.Limits
	for i, name := range slices.Concat(hardText(), hostileStreams()) {
		if strings.HasPrefix(name, "$") || len(name) > 255 {
			continue
		}
		spy.take()
		_, err := store.Append(ctx, name, eventstore.Any(), env.Event("Happened"))
		what := fmt.Sprintf("an append to stream %q with the pattern %q", name, limits.StreamPattern)
		if err := expectName(what, takes(limits.StreamPattern, name), err, spy); err != nil {
			return err
		}
		_, err = store.Append(ctx, env.StreamID("Typed", 3000+i), eventstore.Any(), env.Event(name))
		what = fmt.Sprintf("an append of type %q with the pattern %q", name, limits.TypePattern)
		if err := expectName(what, takes(limits.TypePattern, name), err, spy); err != nil {
			return err
		}
	}
	for _, name := range []string{env.StreamID("Order", 1), env.StreamID("Cart", 2)} {
		if !takes(limits.StreamPattern, name) {
			return unexpected("stream ID of the harness", "one that matches the declared pattern "+limits.StreamPattern, name)
		}
	}
	return nil
}

func expectName(what string, taken bool, err error, spy *spy) error {
	if taken {
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		spy.take()
		return nil
	}
	return errors.Join(expectError(what, err, eventstore.ErrInvalid), spy.expectNoCalls(what))
}

func recordTimeRange(ctx context.Context, env *Env) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	times := []time.Time{{}, time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)} // the zero time is a time like any other
	if bound := env.Caps.Earliest; bound != nil {
		times = append(times, *bound, bound.Add(-env.Caps.TimePrecision), bound.AddDate(-1, 0, 0))
	}
	if bound := env.Caps.Latest; bound != nil {
		times = append(times, *bound, bound.Add(env.Caps.TimePrecision), bound.AddDate(1, 0, 0))
	}
	for _, at := range times {
		stream, event := env.Stream("Order"), env.Event("Happened")
		spy.take()
		results, err := store.AppendStreams(ctx, eventstore.StreamAppend{Stream: stream, Expected: eventstore.NoStream(), Events: []eventstore.Event{event}, RecordedAt: &at})
		what := "an append with the record time " + at.UTC().Format(time.RFC3339Nano)
		if !holdsTime(env.Caps, at) {
			if err := errors.Join(expectError(what, err, eventstore.ErrInvalid), spy.expectNoCalls(what)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		stored, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil || len(stored) != 1 {
			return unexpected(what, "one event", fmt.Sprintf("%d, error %v", len(stored), err))
		}
		for _, got := range []time.Time{results[0].Events[0].RecordedAt, stored[0].RecordedAt} {
			if got.Location() != time.UTC || at.Sub(got).Abs() >= env.Caps.TimePrecision {
				return unexpected(what, "that time in UTC, to "+env.Caps.TimePrecision.String(), got.Format(time.RFC3339Nano))
			}
		}
	}
	return nil
}

// holdsTime tells whether a time lies within what a backend declares.
func holdsTime(c eventstore.Capabilities, at time.Time) bool {
	return (c.Earliest == nil || !at.Before(*c.Earliest)) && (c.Latest == nil || !at.After(*c.Latest))
}

func idempotencyTime(ctx context.Context, env *Env) error {
	const least = time.Minute // a Store tries for 15 s, and whoever settles an unknown outcome for some more
	window := env.Caps.IdempotencyTime
	if window > 0 && window < least {
		return unexpected("time for which event IDs are known", "at least "+least.String(), window)
	}
	stream, events := env.Stream("Order"), env.Events(2)
	original, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...)
	if err != nil {
		return err
	}
	if err := sleep.For(ctx, env.Scale.Rest/4); err != nil {
		return err
	}
	return expectDuplicate(ctx, env.Store, stream, eventstore.NoStream(), original, events...)
}

func streamsBeginAtOne(ctx context.Context, env *Env) error {
	for i := range 3 {
		stream, events := env.Stream("Order"), env.Events(1+i*20)
		if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
			return err
		}
		if err := expectEvents(ctx, env.Store, stream, events...); err != nil {
			return err
		}
	}
	if env.Fixture.CutStream == nil {
		return nil
	}
	return errors.New("expected no way to cut a stream where WholeStreams is declared, but the fixture has CutStream")
}

// cutStreams is what holds of a stream whose beginning its owner has cut off.
func cutStreams(ctx context.Context, env *Env) error {
	if env.Fixture.CutStream == nil {
		return skip("the fixture has no CutStream, so that no stream of the suite begins above version 1")
	}
	const n, first = 8, 3
	stream, events := env.Stream("Order"), env.Events(n)
	result, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...)
	if err != nil {
		return err
	}
	info, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	checkpoint := eventstore.Checkpoint{Name: "cut", Store: info.ID, Place: result.Events[0].Place()}
	keeps := checkpointing(env.Caps).Supported()
	if keeps {
		if err := env.Store.SaveCheckpoint(ctx, checkpoint); err != nil {
			return err
		}
	}
	if err := env.Fixture.CutStream(ctx, stream, first); err != nil {
		return fmt.Errorf("the fixture's CutStream: %w", err)
	}
	for _, opts := range []eventstore.ReadOptions{{}, {After: 1}, {After: first - 1}, {Backward: true}, {Before: n + 1}} {
		got, err := collect(env.Store.ReadStream(ctx, stream, opts))
		if err != nil {
			return err
		}
		want := slices.Clone(result.Events[first-1:])
		if opts.Backward {
			slices.Reverse(want)
		}
		if err := expectSame(fmt.Sprintf("a stream that was cut, read with %+v", opts), want, got); err != nil {
			return err
		}
	}
	if version, err := env.Store.StreamVersion(ctx, stream); err != nil || version != n {
		return unexpected("version of a stream that was cut", n, fmt.Sprintf("%d, error %v", version, err))
	}
	_, err = env.Store.Append(ctx, stream, eventstore.NoStream(), env.Event("Happened"))
	if err := expectConflict("an append that expects no stream where one was cut", err, stream, eventstore.NoStream(), n); err != nil {
		return err
	}
	next, err := env.Store.Append(ctx, stream, eventstore.Exactly(n), env.Events(2)...)
	if err != nil {
		return err
	}
	if err := expectResult("an append to a stream that was cut", next, n+1, n+2); err != nil || !keeps {
		return err
	}
	// No event at the checkpoint's place is no proof of another store.
	if _, found, err := env.Store.LoadCheckpoint(ctx, checkpoint.Name); err != nil || !found {
		return unexpected("a checkpoint whose event was cut off", "found", fmt.Sprintf("found %t, error %v", found, err))
	}
	var handled recorder
	err = env.Store.Run(ctx, eventstore.Subscription{Name: checkpoint.Name, UntilCaughtUp: true, Handler: handled.handle})
	return errors.Join(err, expectSame("what is handled after a checkpoint whose event was cut off", append(result.Events[first-1:], next.Events...), handled.events()))
}
