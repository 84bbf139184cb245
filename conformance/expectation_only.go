package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The checks of parts without events, which hold an append to what was read.

func expectationOnlyChecks() []Check {
	return []Check{
		{
			Name:     "multi/part-without-events",
			Sentence: "A part without events writes nothing, and the append succeeds only if its expectation holds, for every expectation.",
			Run:      expectationOnly,
		},
		{
			Name:     "multi/part-without-events-sees-earlier-parts",
			Sentence: "A part without events is judged against what earlier parts of its append write.",
			Run:      expectationOnlyInOrder,
		},
		{
			Name: "multi/part-without-events-of-a-repetition", Needs: NeedsOpenAgain,
			Sentence: "An append is a repetition where all its parts with events are; its parts without events are then not judged again.",
			Run:      expectationOnlyRepeated,
		},
		{
			Name: "multi/no-write-skew", Needs: NeedsOpenAgain,
			Sentence: "Of two appends that each write one stream and hold the other to what was read, at most one succeeds.",
			Run:      noWriteSkew,
		},
	}
}

func expectationOnly(ctx context.Context, env *Env) error {
	full, empty := env.Stream("Order"), env.Stream("Order")
	before := env.Events(3)
	if _, err := env.Store.Append(ctx, full, eventstore.NoStream(), before...); err != nil {
		return err
	}
	for _, row := range []struct {
		stream   string
		expected eventstore.ExpectedVersion
		current  uint64
	}{
		{full, eventstore.Any(), 3},
		{full, eventstore.StreamExists(), 3},
		{full, eventstore.Exactly(3), 3},
		{full, eventstore.NoStream(), 3},
		{full, eventstore.Exactly(2), 3},
		{full, eventstore.Exactly(4), 3},
		{empty, eventstore.Any(), 0},
		{empty, eventstore.NoStream(), 0},
		{empty, eventstore.Exactly(0), 0},
		{empty, eventstore.StreamExists(), 0},
		{empty, eventstore.Exactly(1), 0},
	} {
		check := part(row.stream, row.expected)
		for _, first := range []bool{true, false} {
			write := part(env.Stream("Cart"), eventstore.NoStream(), env.Events(2)...)
			parts, at := []eventstore.StreamAppend{write, check}, 1
			if first {
				parts, at = []eventstore.StreamAppend{check, write}, 0
			}
			what := fmt.Sprintf("an append that expects %s of a stream at %d", row.expected, row.current)
			results, err := env.Store.AppendStreams(ctx, parts...)
			if !row.expected.Allows(row.current) {
				if err := errors.Join(expectConflict(what, err, row.stream, row.expected, row.current), expectEvents(ctx, env.Store, write.Stream)); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if len(results[at].Events) != 0 || results[at].Version != 0 {
				return unexpected("result of a part without events", "no events", describeResult(results[at]))
			}
			if err := expectResult(what, results[1-at], 1, 2); err != nil {
				return err
			}
			if err := expectEvents(ctx, env.Store, write.Stream, write.Events...); err != nil {
				return err
			}
		}
	}
	return errors.Join(expectEvents(ctx, env.Store, full, before...), expectEvents(ctx, env.Store, empty))
}

func expectationOnlyInOrder(ctx context.Context, env *Env) error {
	stream, other := env.Stream("Order"), env.Stream("Cart")
	events := env.Events(2)
	_, err := env.Store.AppendStreams(ctx, part(stream, eventstore.NoStream(), events...), part(stream, eventstore.NoStream()), part(other, eventstore.NoStream(), env.Events(1)...))
	if err := expectConflict("a check after a part that made its stream", err, stream, eventstore.NoStream(), 2); err != nil {
		return err
	}
	_, err = env.Store.AppendStreams(ctx, part(stream, eventstore.NoStream()), part(stream, eventstore.NoStream(), events...), part(stream, eventstore.Exactly(2)))
	if err != nil {
		return fmt.Errorf("an append between two checks of its stream: %w", err)
	}
	return errors.Join(expectEvents(ctx, env.Store, stream, events...), expectEvents(ctx, env.Store, other))
}

func expectationOnlyRepeated(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	checked, written := env.Stream("Order"), env.Stream("Cart")
	events := env.Events(2)
	parts := []eventstore.StreamAppend{part(checked, eventstore.NoStream()), part(written, eventstore.NoStream(), events...)}
	if _, err := stores[0].AppendStreams(ctx, parts...); err != nil {
		return err
	}
	if _, err := stores[1].Append(ctx, checked, eventstore.NoStream(), env.Events(1)...); err != nil {
		return err
	}
	for i, store := range stores {
		results, err := store.AppendStreams(ctx, parts...)
		if err != nil {
			return fmt.Errorf("the same append again through handle %d, after the stream that it checks has changed: %w", i+1, err)
		}
		if !results[1].Duplicate || results[0].Duplicate {
			return unexpected("the same append again", "a duplicate, and no duplicate of the part without events", describeResult(results[1])+", and "+describeResult(results[0]))
		}
	}
	// With one new event more it is no repetition, and the check counts.
	_, err = stores[0].AppendStreams(ctx, append(parts, part(env.Stream("Cart"), eventstore.NoStream(), env.Events(1)...))...)
	return errors.Join(expectConflict("an append that is a repetition in part", err, checked, eventstore.NoStream(), 1), expectEvents(ctx, env.Store, written, events...))
}

func noWriteSkew(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for round := range 20 {
		streams := [2]string{env.Stream("Order"), env.Stream("Order")}
		var succeeded atomic.Int64
		err := race(8, func(i int) error {
			mine, other := streams[i%2], streams[1-i%2]
			_, err := stores[i/2%2].AppendStreams(ctx, part(mine, eventstore.NoStream(), env.Event("Happened")), part(other, eventstore.NoStream()))
			if err == nil {
				succeeded.Add(1)
			}
			if errors.Is(err, eventstore.ErrConflict) {
				err = nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if succeeded.Load() != 1 {
			return unexpected(fmt.Sprintf("round %d: appends that succeeded, each of which would make the others' expectations fail", round+1), 1, succeeded.Load())
		}
	}
	return nil
}
