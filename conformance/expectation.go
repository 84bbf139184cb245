package conformance

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of promises 2 and 4: the table of expected versions, and no conflict
// that is not one.
func expectationChecks() []Check {
	return []Check{
		{
			Name: "expect/table", Promise: 2, Core: true, Needs: NeedsOpenAgain,
			Sentence: "The table for {absent, non-empty} × {Any, NoStream, StreamExists, Exactly(0), Exactly(n), Exactly(n±1)} is the same on every backend.",
			Run:      expectTable,
		},
		{
			Name: "expect/a-conflict-writes-nothing", Promise: 2, Core: true,
			Sentence: "An append whose expectation fails writes nothing and carries the stream's actual version.",
			Run:      expectConflictWritesNothing,
		},
		{
			Name: "expect/after-another-handles-write", Promise: 2, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Expected versions are checked against what every process wrote, not against what this one remembers.",
			Run:      expectAcrossHandles,
		},
		{
			Name: "expect/streams-are-apart", Promise: 2, Core: true,
			Sentence: "A stream's version depends on its own events only.",
			Run:      expectStreamsApart,
		},
		{
			Name: "expect/no-spurious-conflict", Promise: 4, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A single writer with right versions never sees a conflict, while others write other streams.",
			Run:      expectNoSpurious,
		},
		{
			Name: "expect/own-retry-never-conflicts", Promise: 4, Core: true,
			Sentence: "A writer never conflicts with its own retry.",
			Run:      expectOwnRetry,
		},
	}
}

func expectTable(ctx context.Context, env *Env) error {
	const n = 3 // the version of the non-empty streams
	rows := []struct {
		expected         eventstore.ExpectedVersion
		absent, nonEmpty bool
	}{
		{eventstore.Any(), true, true},
		{eventstore.NoStream(), true, false},
		{eventstore.StreamExists(), false, true},
		{eventstore.Exactly(0), true, false},
		{eventstore.Exactly(n), false, true},
		{eventstore.Exactly(n - 1), false, false},
		{eventstore.Exactly(n + 1), false, false},
	}
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for _, row := range rows {
		for _, store := range stores { // the first one filled the stream
			if err := expectRow(ctx, env, store, row.expected, 0, row.absent); err != nil {
				return err
			}
			if err := expectRow(ctx, env, store, row.expected, n, row.nonEmpty); err != nil {
				return err
			}
		}
	}
	return nil
}

// expectRow appends to a stream that has so many events.
func expectRow(ctx context.Context, env *Env, store *eventstore.Store, expected eventstore.ExpectedVersion, current uint64, allowed bool) error {
	stream := env.Stream("order")
	if _, err := env.Fill(ctx, stream, int(current), 2); err != nil {
		return err
	}
	what := fmt.Sprintf("expecting %s of a stream at version %d", expected, current)
	want := current
	result, err := store.Append(ctx, stream, expected, env.Events(2)...)
	switch {
	case !allowed:
		err = expectConflict(what, err, stream, expected, current)
	case err != nil:
		err = unexpected(what, "no error", err)
	default:
		want += 2
		err = expectResult(what, result, current+1, want)
	}
	if err != nil {
		return err
	}
	version, err := env.Store.StreamVersion(ctx, stream)
	if err == nil && version != want {
		return unexpected(what+", the version afterwards", want, version)
	}
	return err
}

func expectConflictWritesNothing(ctx context.Context, env *Env) error {
	stream := env.Stream("order")
	events := env.Events(2)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
		return err
	}
	before, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	for _, expected := range []eventstore.ExpectedVersion{eventstore.NoStream(), eventstore.Exactly(1), eventstore.Exactly(3), eventstore.Exactly(1<<63 - 1)} {
		_, err := env.Store.Append(ctx, stream, expected, env.Events(2)...)
		if err := expectConflict("a wrong expectation", err, stream, expected, 2); err != nil {
			return err
		}
	}
	absent := env.Stream("order")
	_, err = env.Store.Append(ctx, absent, eventstore.StreamExists(), env.Events(1)...)
	if err := expectConflict("StreamExists of an absent stream", err, absent, eventstore.StreamExists(), 0); err != nil {
		return err
	}
	if err := expectEvents(ctx, env.Store, stream, events...); err != nil {
		return err
	}
	if err := expectSameHead(ctx, env.Store, before); err != nil {
		return err
	}
	return expectEvents(ctx, env.Store, absent)
}

func expectAcrossHandles(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("order")
	for version := range uint64(10) {
		writer, other := stores[version%2], stores[(version+1)%2]
		if _, err := writer.Append(ctx, stream, eventstore.Exactly(version), env.Event("Happened")); err != nil {
			return err
		}
		_, err := other.Append(ctx, stream, eventstore.Exactly(version), env.Event("Happened"))
		if err := expectConflict("the other handle at the version before", err, stream, eventstore.Exactly(version), version+1); err != nil {
			return err
		}
	}
	return nil
}

func expectStreamsApart(ctx context.Context, env *Env) error {
	streams := []string{env.Stream("order"), env.Stream("order"), env.Stream("invoice")}
	for version := range uint64(5) {
		for _, stream := range streams {
			if _, err := env.Store.Append(ctx, stream, eventstore.Exactly(version), env.Event("Happened")); err != nil {
				return err
			}
		}
	}
	for _, stream := range streams {
		version, err := env.Store.StreamVersion(ctx, stream)
		if err != nil {
			return err
		}
		if version != 5 {
			return unexpected(fmt.Sprintf("the version of stream %q", stream), 5, version)
		}
	}
	return nil
}

// expectNoSpurious has each of eight writers own a stream and use both handles
// in turn.
func expectNoSpurious(ctx context.Context, env *Env) error {
	const writers, appends = 8, 15
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	return race(writers, func(int) error {
		stream := env.Stream("order")
		for version := range uint64(appends) {
			result, err := stores[version%2].Append(ctx, stream, eventstore.Exactly(version), env.Event("Happened"))
			if err != nil {
				return fmt.Errorf("the only writer of its stream: %w", err)
			}
			if err := expectResult("the only writer of its stream", result, version+1, version+1); err != nil {
				return err
			}
		}
		return nil
	})
}

func expectOwnRetry(ctx context.Context, env *Env) error {
	stream := env.Stream("order")
	for version := range uint64(5) {
		event := env.Event("Happened")
		for range 3 {
			result, err := env.Store.Append(ctx, stream, eventstore.Exactly(version), event)
			if err != nil {
				return fmt.Errorf("the same append again: %w", err)
			}
			if result.Version != version+1 {
				return unexpected("the version of the same append", version+1, result.Version)
			}
		}
	}
	return nil
}
