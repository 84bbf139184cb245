package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of promise 3, through two handles at once: one handle alone would hide
// what a process remembers for itself.
func concurrencyChecks() []Check {
	var checks []Check
	for _, racers := range []int{2, 8, 32} {
		checks = append(checks,
			Check{
				Name: fmt.Sprintf("race/one-winner-of-%d-on-an-absent-stream", racers), Promise: 3, Core: true, Needs: NeedsOpenAgain,
				Sentence: "Of N concurrent appends with the same expectation exactly one wins; each loser gets ErrConflict carrying the stream's actual version.",
				Run:      func(ctx context.Context, env *Env) error { return oneWinner(ctx, env, racers, 0) },
			},
			Check{
				Name: fmt.Sprintf("race/one-winner-of-%d-at-a-version", racers), Promise: 3, Core: true, Needs: NeedsOpenAgain,
				Sentence: "Of N concurrent appends with the same expectation exactly one wins; each loser gets ErrConflict carrying the stream's actual version.",
				Run:      func(ctx context.Context, env *Env) error { return oneWinner(ctx, env, racers, 2) },
			},
			Check{
				Name: fmt.Sprintf("race/counter-of-%d", racers), Promise: 3, Core: true, Needs: NeedsOpenAgain,
				Sentence: "Writers that read, decide and append with the version they read lose no update.",
				Run:      func(ctx context.Context, env *Env) error { return counter(ctx, env, racers) },
			},
			Check{
				Name: fmt.Sprintf("race/any-of-%d-all-win", racers), Promise: 3, Core: true, Needs: NeedsOpenAgain,
				Sentence: "Concurrent appends that expect Any are all stored, whole and once.",
				Run:      func(ctx context.Context, env *Env) error { return allWin(ctx, env, racers) },
			},
			Check{
				Name: fmt.Sprintf("race/one-winner-of-%d-on-two-streams", racers), Promise: 10, Core: true, Needs: NeedsOpenAgain,
				Sentence: "Of N concurrent appends to the same two streams, in either order, exactly one wins and writes to both; the others write to none.",
				Requires: multiStreamAppend, Refused: severalStreamsRefused,
				Run: func(ctx context.Context, env *Env) error { return severalStreams(ctx, env, racers) },
			},
		)
	}
	return checks
}

// oneWinner races for one version, several rounds.
func oneWinner(ctx context.Context, env *Env, racers, version int) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for range max(4, 64/racers) { // few racers meet less often
		stream := env.Stream("order")
		if version > 0 {
			if _, err := env.Fill(ctx, stream, version, version); err != nil {
				return err
			}
		}
		expected := eventstore.Exactly(uint64(version))
		batches := make([][]eventstore.Event, racers)
		for i := range batches {
			batches[i] = env.Events(2)
		}
		var wins, winner atomic.Int64
		err := race(racers, func(i int) error {
			result, err := stores[i%2].Append(ctx, stream, expected, batches[i]...)
			if err == nil {
				wins.Add(1)
				winner.Store(int64(i))
				return expectResult("the winner", result, uint64(version)+1, uint64(version)+2)
			}
			return expectConflict("a loser", err, stream, expected, uint64(version)+2)
		})
		if err != nil {
			return err
		}
		if wins.Load() != 1 {
			return unexpected(fmt.Sprintf("winners among %d racers", racers), 1, wins.Load())
		}
		stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{After: uint64(version)}))
		if err != nil {
			return err
		}
		if len(stored) != 2 {
			return unexpected("events after the race", 2, len(stored))
		}
		for i, event := range stored {
			if err := expectEvent(event, stream, uint64(version+i)+1, batches[winner.Load()][i]); err != nil {
				return fmt.Errorf("the winner's events: %w", err)
			}
		}
	}
	return nil
}

// counter has each racer add once to a count that the stream's events carry. A
// lost update makes two events carry the same count.
func counter(ctx context.Context, env *Env, racers int) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("counter")
	err = race(racers, func(i int) error {
		store := stores[i%2]
		for {
			version, count := uint64(0), "0"
			for event, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{Backward: true, Limit: 1}) {
				if err != nil {
					return err
				}
				version, count = event.Version, event.Metadata["count"]
			}
			event := env.Event("Counted")
			event.Metadata = map[string]string{"from": count, "count": fmt.Sprint(version + 1)}
			_, err := store.Append(ctx, stream, eventstore.Exactly(version), event)
			if !errors.Is(err, eventstore.ErrConflict) {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	if len(stored) != racers {
		return unexpected("the count", racers, len(stored))
	}
	for i, event := range stored {
		if from := fmt.Sprint(i); event.Metadata["from"] != from {
			return unexpected(fmt.Sprintf("what event %d was decided on", i+1), from, event.Metadata["from"])
		}
	}
	return nil
}

func allWin(ctx context.Context, env *Env, racers int) error {
	const appends, size = 4, 3
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("order")
	results := make([]eventstore.AppendResult, racers*appends)
	err = race(racers, func(i int) error {
		for b := range appends {
			n := i*appends + b
			var err error
			if results[n], err = stores[i%2].Append(ctx, stream, eventstore.Any(), tagged(env, size, fmt.Sprint(n))...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	if len(stored) != racers*appends*size {
		return unexpected("events of all racers", racers*appends*size, len(stored))
	}
	seen := make(map[string]bool)
	for i, event := range stored {
		batch, index := event.Metadata["batch"], event.Metadata["index"]
		if event.Version != uint64(i)+1 || index != fmt.Sprint(i%size) || batch != stored[i-i%size].Metadata["batch"] || seen[batch+"#"+index] {
			return unexpected(fmt.Sprintf("event %d of the stream", i+1), "whole batches, each once", describeRecord(event))
		}
		seen[batch+"#"+index] = true
	}
	// Appends that travel together must each get their own answer.
	for n, result := range results {
		if err := expectResult(fmt.Sprintf("append %d", n), result, firstVersion(result), firstVersion(result)+size-1); err != nil {
			return err
		}
		if firstVersion(result) < 1 || result.Version > uint64(len(stored)) {
			return unexpected(fmt.Sprintf("append %d", n), fmt.Sprintf("versions within 1 to %d", len(stored)), result)
		}
		last := stored[result.Version-1]
		if last.Metadata["batch"] != fmt.Sprint(n) || last.Position != result.Position {
			return unexpected(fmt.Sprintf("what is stored where append %d was told, version %d at position %s", n, result.Version, result.Position), "its last event", describeRecord(last))
		}
	}
	return nil
}

// severalStreams races for two streams at once, in either order.
func severalStreams(ctx context.Context, env *Env, racers int) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for range max(4, 64/racers) {
		streams := [2]string{env.Stream("account"), env.Stream("account")}
		opened := env.Events(2)
		for i, stream := range streams {
			if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), opened[i]); err != nil {
				return err
			}
		}
		batches := make([][]eventstore.Event, racers)
		for i := range batches {
			batches[i] = env.Events(2)
		}
		var wins, winner atomic.Int64
		err := race(racers, func(i int) error {
			parts := []eventstore.StreamAppend{
				{Stream: streams[0], Expected: eventstore.Exactly(1), Events: batches[i][:1]},
				{Stream: streams[1], Expected: eventstore.Exactly(1), Events: batches[i][1:]},
			}
			if i/2%2 == 1 { // half of the racers on each handle
				slices.Reverse(parts)
			}
			_, err := stores[i%2].AppendStreams(ctx, parts...)
			if err == nil {
				wins.Add(1)
				winner.Store(int64(i))
				return nil
			}
			if err := expectError("a loser", err, eventstore.ErrConflict); err != nil {
				return err
			}
			var conflict *eventstore.ConflictError
			if !errors.As(err, &conflict) || !slices.Contains(streams[:], conflict.Stream) || conflict.Actual != 2 {
				return unexpected("a loser's conflict", "one of the two streams, at version 2", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if wins.Load() != 1 {
			return unexpected(fmt.Sprintf("winners among %d racers", racers), 1, wins.Load())
		}
		for i, stream := range streams {
			if err := expectEvents(ctx, env.Store, stream, opened[i], batches[winner.Load()][i]); err != nil {
				return fmt.Errorf("after a race for two streams: %w", err)
			}
		}
	}
	return nil
}

func severalStreamsRefused(ctx context.Context, env *Env) error {
	streams := [2]string{env.Stream("account"), env.Stream("account")}
	_, err := env.Store.AppendStreams(ctx,
		eventstore.StreamAppend{Stream: streams[0], Expected: eventstore.NoStream(), Events: env.Events(1)},
		eventstore.StreamAppend{Stream: streams[1], Expected: eventstore.NoStream(), Events: env.Events(1)})
	if err := expectError("an append to two streams", err, eventstore.ErrUnsupported); err != nil {
		return err
	}
	for _, stream := range streams {
		if err := expectEvents(ctx, env.Store, stream); err != nil {
			return err
		}
	}
	return nil
}
