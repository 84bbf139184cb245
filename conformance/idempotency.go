package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	sentenceIdempotent = "An append whose events are all already in the stream, contiguous, in the same order and with the same content, returns the original versions and positions with Duplicate: true, whatever the expectation, and writes nothing."
	sentenceReused     = "An ID met again with other content, a partial overlap, another order, or twice in one append: ErrEventIDReused; nothing is written."
)

// Checks of promises 5 and 6: idempotency by event ID within the stream.
func idempotencyChecks() []Check {
	checks := []Check{
		{
			Name: "idempotency/at-once", Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: sentenceIdempotent, Run: idempotentAtOnce,
		},
		{
			Name: "idempotency/parts-of-original-batches", Promise: 5, Core: true,
			Sentence: sentenceIdempotent, Run: idempotentPart,
		},
		{
			Name: "idempotency/spellings-of-nothing", Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: "No metadata and empty metadata, no data and empty data, no content type and the default are the same content.",
			Run:      idempotentNothing,
		},
		{
			Name: "idempotency/after-later-appends", Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: sentenceIdempotent, Run: idempotentLater,
		},
		{
			Name: "idempotency/after-reopening", Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Idempotency holds after a restart of the application.",
			Requires: durable, Run: func(ctx context.Context, env *Env) error { return idempotentAfter(ctx, env, env.Reopen) },
		},
		{
			Name: "idempotency/after-a-crash", Promise: 5, Needs: NeedsRestart,
			Sentence: "Idempotency holds after a restart of the server.",
			Requires: durable, Run: func(ctx context.Context, env *Env) error { return idempotentAfter(ctx, env, env.Restart) },
		},
		{
			Name: "idempotency/reuse-is-refused", Promise: 6, Core: true, Needs: NeedsOpenAgain,
			Sentence: sentenceReused, Run: reuseRefused,
		},
		{
			Name: "idempotency/another-stream-is-another-event", Promise: 6, Core: true,
			Sentence: "The same ID in another stream is another event.", Requires: scopedIDs, Refused: sharesIDs, Run: sameIDElsewhere,
		},
	}
	for _, racers := range []int{2, 8, 32} {
		checks = append(checks, Check{
			Name: fmt.Sprintf("idempotency/concurrently-with-the-original-%d", racers), Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Idempotency holds concurrently with the original: one append writes, all return the same.",
			Run:      func(ctx context.Context, env *Env) error { return idempotentRace(ctx, env, racers) },
		})
	}
	return checks
}

// expectDuplicate appends events again and wants what the original returned.
func expectDuplicate(ctx context.Context, store *eventstore.Store, stream string, expected eventstore.ExpectedVersion, original eventstore.AppendResult, events ...eventstore.Event) error {
	what := fmt.Sprintf("the same append again, expecting %s", expected)
	got, err := store.Append(ctx, stream, expected, events...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	original.Duplicate = true
	if !sameResult(got, original) {
		return unexpected(what, describeResult(original), describeResult(got))
	}
	return nil
}

func expectations(current uint64) []eventstore.ExpectedVersion {
	return []eventstore.ExpectedVersion{
		eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(),
		eventstore.Exactly(current), eventstore.Exactly(current + 1), eventstore.Exactly(current - 1), eventstore.Exactly(current + 1000),
	}
}

func idempotentAtOnce(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for _, size := range []int{1, 2, 7} {
		stream, before := env.Stream("order"), env.Events(2)
		if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), before...); err != nil {
			return err
		}
		events := env.Events(size)
		original, err := env.Store.Append(ctx, stream, eventstore.Exactly(2), events...)
		if err != nil {
			return err
		}
		head, err := whereItIs(ctx, env.Store)
		if err != nil {
			return err
		}
		for i, expected := range expectations(original.Version) {
			if err := expectDuplicate(ctx, stores[i%2], stream, expected, original, events...); err != nil {
				return err
			}
		}
		if err := expectEvents(ctx, env.Store, stream, append(before, events...)...); err != nil {
			return err
		}
		if err := expectSameHead(ctx, env.Store, head); err != nil {
			return err
		}
	}
	return nil
}

// idempotentNothing appends each event in one spelling and again in the other.
func idempotentNothing(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for _, change := range []func(*eventstore.Event){
		func(e *eventstore.Event) { e.Metadata = nil },
		func(e *eventstore.Event) { e.Metadata = map[string]string{} },
		func(e *eventstore.Event) { e.Data, e.ContentType = nil, "application/octet-stream" },
		func(e *eventstore.Event) { e.Data, e.ContentType = []byte{}, "application/octet-stream" },
		func(e *eventstore.Event) { e.ContentType = "" },
		func(e *eventstore.Event) { e.ContentType = eventstore.JSONContentType },
	} {
		stream, event := env.Stream("order"), env.Event("Happened")
		change(&event)
		original, err := stores[0].Append(ctx, stream, eventstore.NoStream(), event)
		if err != nil {
			return err
		}
		switch {
		case len(event.Data) == 0 && event.Data == nil:
			event.Data = []byte{}
		case len(event.Data) == 0:
			event.Data = nil
		case event.ContentType == "":
			event.ContentType = eventstore.JSONContentType
		case len(event.Metadata) == 0 && event.Metadata == nil:
			event.Metadata = map[string]string{}
		case len(event.Metadata) == 0:
			event.Metadata = nil
		default:
			event.ContentType = ""
		}
		if err := expectDuplicate(ctx, stores[1], stream, eventstore.NoStream(), original, event); err != nil {
			return fmt.Errorf("nothing spelled in another way: %w", err)
		}
	}
	return nil
}

// idempotentPart repeats events of an append of three and one of two.
func idempotentPart(ctx context.Context, env *Env) error {
	stream, events := env.Stream("order"), env.Events(5)
	for _, batch := range [][]eventstore.Event{events[:3], events[3:]} {
		if _, err := env.Store.Append(ctx, stream, eventstore.Any(), batch...); err != nil {
			return err
		}
	}
	stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	for _, part := range [][2]int{{0, 2}, {1, 3}, {4, 5}, {1, 4}, {0, 5}} {
		from, to := part[0], part[1]
		original := eventstore.AppendResult{Version: uint64(to), Position: stored[to-1].Position, Events: stored[from:to]}
		if err := expectDuplicate(ctx, env.Store, stream, eventstore.Any(), original, events[from:to]...); err != nil {
			return err
		}
	}
	return expectEvents(ctx, env.Store, stream, events...)
}

func idempotentLater(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, events := env.Stream("order"), env.Events(2)
	original, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...)
	if err != nil {
		return err
	}
	all := events
	appends := 12
	if window := env.Caps.IdempotencyWindow; window > 0 { // no more is promised
		appends = min(appends, int(min(window, 1<<20)-2)/3)
	}
	for range appends {
		later := env.Events(3)
		if _, err := stores[1].Append(ctx, stream, eventstore.Any(), later...); err != nil {
			return err
		}
		all = append(all, later...)
	}
	for i, expected := range expectations(uint64(len(all))) {
		if err := expectDuplicate(ctx, stores[i%2], stream, expected, original, events...); err != nil {
			return err
		}
	}
	return expectEvents(ctx, env.Store, stream, all...)
}

func idempotentAfter(ctx context.Context, env *Env, restart func(context.Context) error) error {
	stream, events := env.Stream("order"), env.Events(3)
	original, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...)
	if err != nil {
		return err
	}
	if err := restart(ctx); err != nil {
		return err
	}
	for _, expected := range expectations(original.Version) {
		if err := expectDuplicate(ctx, env.Store, stream, expected, original, events...); err != nil {
			return err
		}
	}
	return expectEvents(ctx, env.Store, stream, events...)
}

// idempotentRace has many racers append the same events, to an absent stream and
// to one with two events, under each kind of expectation that lets one in.
func idempotentRace(ctx context.Context, env *Env, racers int) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for _, row := range []struct {
		before   int
		expected eventstore.ExpectedVersion
	}{
		{0, eventstore.NoStream()},
		{0, eventstore.Any()},
		{2, eventstore.Any()},
		{2, eventstore.Exactly(2)},
		{2, eventstore.StreamExists()},
	} {
		stream, before, events := env.Stream("order"), env.Events(row.before), env.Events(3)
		if row.before > 0 {
			if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), before...); err != nil {
				return err
			}
		}
		results := make([]eventstore.AppendResult, racers)
		var originals atomic.Int64
		err := race(racers, func(i int) error {
			result, err := stores[i%2].Append(ctx, stream, row.expected, events...)
			if err != nil {
				return fmt.Errorf("the same append beside the original, expecting %s: %w", row.expected, err)
			}
			if !result.Duplicate {
				originals.Add(1)
			}
			result.Duplicate = false
			results[i] = result
			return nil
		})
		if err != nil {
			return err
		}
		if originals.Load() != 1 {
			return unexpected("appends that are not duplicates", 1, originals.Load())
		}
		for _, result := range results {
			if !sameResult(result, results[0]) {
				return unexpected("the result of every racer", describeResult(results[0]), describeResult(result))
			}
		}
		if err := expectResult("the result of every racer", results[0], uint64(row.before)+1, uint64(row.before)+3); err != nil {
			return err
		}
		if err := expectEvents(ctx, env.Store, stream, append(before, events...)...); err != nil {
			return err
		}
	}
	return nil
}

func reuseRefused(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, stored := env.Stream("order"), env.Events(4)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored[:2]...); err != nil {
		return err
	}
	if _, err := env.Store.Append(ctx, stream, eventstore.Exactly(2), stored[2:]...); err != nil {
		return err
	}
	head, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	changed := func(change func(*eventstore.Event)) []eventstore.Event {
		event := stored[1]
		change(&event)
		return []eventstore.Event{event}
	}
	fresh := env.Events(3)
	reuses := []struct {
		how    string
		events []eventstore.Event
	}{
		{"with other data", changed(func(e *eventstore.Event) { e.Data = []byte(`{"other":1}`) })},
		{"with the same JSON spelled differently", changed(func(e *eventstore.Event) { e.Data = append([]byte(" "), e.Data...) })},
		{"with another type", changed(func(e *eventstore.Event) { e.Type = "HappenedNot" })},
		{"with another content type", changed(func(e *eventstore.Event) { e.ContentType = "text/plain" })},
		{"with another metadata value", changed(func(e *eventstore.Event) { e.Metadata = map[string]string{"made-by": "another"} })},
		{"with more metadata", changed(func(e *eventstore.Event) { *e = e.WithMetadata("more", "") })},
		{"without its metadata", changed(func(e *eventstore.Event) { e.Metadata = nil })},
		{"before new events", []eventstore.Event{stored[3], fresh[0]}},
		{"after new events", []eventstore.Event{fresh[0], stored[0]}},
		{"between new events", []eventstore.Event{fresh[0], stored[0], fresh[1]}},
		{"around a new event", []eventstore.Event{stored[0], fresh[0], stored[1]}},
		{"in another order", []eventstore.Event{stored[1], stored[0]}},
		{"with a hole", []eventstore.Event{stored[0], stored[2]}},
		{"after the whole of an append, with a new event", []eventstore.Event{stored[2], stored[3], fresh[0]}},
		{"twice in one append, apart", []eventstore.Event{fresh[1], fresh[0], fresh[1]}},
		{"twice in one append, new", []eventstore.Event{fresh[2], fresh[2]}},
		{"twice in one append, stored", []eventstore.Event{stored[0], stored[0]}},
	}
	for i, reuse := range reuses {
		for _, expected := range []eventstore.ExpectedVersion{eventstore.Any(), eventstore.Exactly(4), eventstore.NoStream()} {
			_, err := stores[i%2].Append(ctx, stream, expected, reuse.events...)
			if err := expectError("an ID met again "+reuse.how, err, eventstore.ErrEventIDReused); err != nil {
				return err
			}
		}
	}
	if err := expectEvents(ctx, env.Store, stream, stored...); err != nil {
		return err
	}
	return expectSameHead(ctx, env.Store, head)
}

func sameIDElsewhere(ctx context.Context, env *Env) error {
	event, other := env.Event("Happened"), env.Event("HappenedElsewhere")
	other.ID = event.ID
	events := []eventstore.Event{event, event, other}
	var streams []string
	var originals []eventstore.AppendResult
	for _, e := range events {
		stream := env.Stream("order")
		result, err := env.Store.Append(ctx, stream, eventstore.NoStream(), e)
		if err != nil {
			return fmt.Errorf("an ID that another stream has: %w", err)
		}
		if err := expectResult("an ID that another stream has", result, 1, 1); err != nil {
			return err
		}
		streams, originals = append(streams, stream), append(originals, result)
	}
	for i, stream := range streams {
		if err := expectDuplicate(ctx, env.Store, stream, eventstore.NoStream(), originals[i], events[i]); err != nil {
			return fmt.Errorf("an ID that three streams have: %w", err)
		}
		// A store may look for the ID only where the expectation fails.
		elsewhere := env.Event("Happened")
		_, err := env.Store.Append(ctx, stream, eventstore.Exactly(1), elsewhere)
		if err != nil {
			return err
		}
		for _, without := range streams {
			if without == stream {
				continue
			}
			current, err := env.Store.StreamVersion(ctx, without)
			if err != nil {
				return err
			}
			_, err = env.Store.Append(ctx, without, eventstore.Exactly(9), elsewhere)
			if err := expectConflict("an ID that another stream has, where the expectation fails", err, without, eventstore.Exactly(9), current); err != nil {
				return err
			}
		}
		if err := expectEvents(ctx, env.Store, stream, events[i], elsewhere); err != nil {
			return err
		}
	}
	return sameIDsTogether(ctx, env)
}

// sameIDsTogether appends several events at once, to a stream of one event.
func sameIDsTogether(ctx context.Context, env *Env) error {
	there, here, first, events := env.Stream("order"), env.Stream("order"), env.Event("Happened"), env.Events(2)
	if _, err := env.Store.Append(ctx, there, eventstore.NoStream(), events...); err != nil {
		return err
	}
	if _, err := env.Store.Append(ctx, here, eventstore.NoStream(), first); err != nil {
		return err
	}
	_, err := env.Store.Append(ctx, here, eventstore.Any(), first, env.Event("Happened"))
	if err := expectError("the one event of a stream, and a new one", err, eventstore.ErrEventIDReused); err != nil {
		return err
	}
	result, err := env.Store.Append(ctx, here, eventstore.Exactly(1), events...)
	if err != nil {
		return fmt.Errorf("two IDs that another stream has: %w", err)
	}
	return errors.Join(
		expectResult("two IDs that another stream has", result, 2, 3),
		expectEvents(ctx, env.Store, here, append([]eventstore.Event{first}, events...)...))
}
