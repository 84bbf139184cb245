package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of promise 1: an append is atomic.
func appendChecks() []Check {
	return []Check{
		{
			Name: "append/returns-where-the-events-are", Promise: 1, Core: true,
			Sentence: "All events of an append are stored, and its result says at which versions and position.",
			Run:      appendResult,
		},
		{
			Name: "append/batch-is-contiguous", Promise: 1, Core: true,
			Sentence: "All events of an append are stored, contiguous in the stream and, where ContiguousAppends is declared, in the global order.",
			Requires: globalOrder, Needs: NeedsOpenAgain,
			Run: appendContiguous,
		},
		{
			Name: "append/nothing-of-a-failed-batch", Promise: 1, Core: true,
			Sentence: "An append that fails stores none of its events, and leaves no hole.",
			Run:      appendFailedBatch,
		},
		{
			Name: "append/batch-is-never-seen-in-part", Promise: 1, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A reader sees all events of an append or none of them.",
			Run:      appendNeverInPart,
		},
	}
}

func appendResult(ctx context.Context, env *Env) error {
	stream := env.Stream("order")
	first, second := env.Events(1), env.Events(3)
	a, err := env.Store.Append(ctx, stream, eventstore.NoStream(), first...)
	if err != nil {
		return err
	}
	b, err := env.Store.Append(ctx, stream, eventstore.Exactly(1), second...)
	if err != nil {
		return err
	}
	if err := expectResult("the first append", a, 1, 1); err != nil {
		return err
	}
	if err := expectResult("the second append", b, 2, 4); err != nil {
		return err
	}
	if err := expectEvents(ctx, env.Store, stream, append(first, second...)...); err != nil {
		return err
	}
	stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	for version, result := range map[int]eventstore.AppendResult{1: a, 4: b} {
		if got := stored[version-1].Position; got != result.Position {
			return unexpected(fmt.Sprintf("the position of version %d", version), result.Position, got)
		}
	}
	return nil
}

func expectResult(what string, got eventstore.AppendResult, first, last uint64) error {
	switch {
	case firstVersion(got) != first || got.Version != last:
		return unexpected(what, fmt.Sprintf("versions %d to %d", first, last), fmt.Sprintf("%d to %d", firstVersion(got), got.Version))
	case got.Duplicate:
		return unexpected(what, "no duplicate", "Duplicate")
	case got.Position.IsZero():
		return unexpected(what, "a position after zero", got.Position)
	}
	return nil
}

// appendContiguous has many writers append batches at once, and looks for a
// stranger between the events of one.
func appendContiguous(ctx context.Context, env *Env) error {
	const writers, batches, size = 8, 6, 5
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	streams := []string{env.Stream("order"), env.Stream("order"), env.Stream("order")}
	err = race(writers, func(i int) error {
		for b := range batches {
			stream := streams[(i+b)%3] // streams that others write too
			if _, err := stores[i%2].Append(ctx, stream, eventstore.Any(), tagged(env, size, fmt.Sprintf("%d/%d", i, b))...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) != writers*batches*size {
		return unexpected("the events of all appends", writers*batches*size, len(all))
	}
	if !env.Caps.ContiguousAppends.Supported() { // others may lie between, but not in the stream
		slices.SortStableFunc(all, func(a, b eventstore.RecordedEvent) int { return strings.Compare(a.Stream, b.Stream) })
	}
	for i := 0; i < len(all); i += size {
		for j, event := range all[i : i+size] {
			first := all[i]
			if event.Metadata["batch"] != first.Metadata["batch"] || event.Metadata["index"] != fmt.Sprint(j) || event.Version != first.Version+uint64(j) {
				return unexpected(fmt.Sprintf("event %d of the global order", i+j+1),
					fmt.Sprintf("index %d of batch %s at version %d", j, first.Metadata["batch"], first.Version+uint64(j)),
					fmt.Sprintf("index %s of batch %s at version %d", event.Metadata["index"], event.Metadata["batch"], event.Version))
			}
		}
	}
	return nil
}

// tagged returns n new events that know their batch and their place in it.
func tagged(env *Env, n int, batch string) []eventstore.Event {
	events := env.Events(n)
	for i := range events {
		events[i].Metadata = map[string]string{"batch": batch, "index": fmt.Sprint(i)}
	}
	return events
}

func twoHandles(ctx context.Context, env *Env) ([2]*eventstore.Store, error) {
	second, err := env.Again(ctx)
	return [2]*eventstore.Store{env.Store, second}, err
}

func appendFailedBatch(ctx context.Context, env *Env) error {
	stream := env.Stream("order")
	stored := env.Events(3)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored...); err != nil {
		return err
	}
	_, err := env.Store.Append(ctx, stream, eventstore.Exactly(1), env.Events(4)...)
	if err := expectConflict("a batch at a wrong version", err, stream, eventstore.Exactly(1), 3); err != nil {
		return err
	}
	overlapping := append(env.Events(2), stored[0])
	_, err = env.Store.Append(ctx, stream, eventstore.Any(), overlapping...)
	if err := expectError("a batch whose last event is stored already", err, eventstore.ErrEventIDReused); err != nil {
		return err
	}
	next := env.Events(2)
	result, err := env.Store.Append(ctx, stream, eventstore.Exactly(3), next...)
	if err != nil {
		return fmt.Errorf("append after the failed ones: %w", err)
	}
	if err := expectResult("the append after the failed ones", result, 4, 5); err != nil {
		return err
	}
	return expectEvents(ctx, env.Store, stream, append(stored, next...)...)
}

// appendNeverInPart reads a stream over and over, in every way there is, while
// batches are written to it by one writer.
func appendNeverInPart(ctx context.Context, env *Env) error {
	const batches, size = 40, 8
	stream := env.Stream("order")
	reader, err := env.Again(ctx)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	err = race(2, func(i int) error {
		if i == 0 {
			defer close(done)
			for range batches {
				if _, err := env.Store.Append(ctx, stream, eventstore.Any(), env.Events(size)...); err != nil {
					return err
				}
			}
			return nil
		}
		for after := uint64(0); ; {
			version, err := reader.StreamVersion(ctx, stream)
			if err != nil {
				return err
			}
			more, err := collect(reader.ReadStream(ctx, stream, eventstore.ReadOptions{After: after}))
			if err != nil {
				return err
			}
			after += uint64(len(more))
			total := after
			if env.Caps.GlobalOrder.Supported() {
				all, err := collect(reader.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true}))
				if err != nil {
					return err
				}
				total = uint64(len(all))
			}
			if version%size != 0 || after%size != 0 || total%size != 0 {
				return unexpected("the version, the events of the stream and all events, written in batches of 8", "multiples of 8", []uint64{version, after, total})
			}
			select {
			case <-done:
				return nil
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	version, err := reader.StreamVersion(ctx, stream)
	if err == nil && version != batches*size {
		return unexpected("the version after all batches", batches*size, version)
	}
	return err
}
