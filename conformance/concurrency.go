package conformance

import (
	"context"
	"errors"
	"fmt"
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
	for range 4 {
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
			_, err := stores[i%2].Append(ctx, stream, expected, batches[i]...)
			if err == nil {
				wins.Add(1)
				winner.Store(int64(i))
				return nil
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
	err = race(racers, func(i int) error {
		for b := range appends {
			result, err := stores[i%2].Append(ctx, stream, eventstore.Any(), tagged(env, size, fmt.Sprintf("%d/%d", i, b))...)
			if err != nil {
				return err
			}
			if result.Version != result.FirstVersion+size-1 || result.Duplicate {
				return unexpected("an append of three events", "three new versions", result)
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
	return nil
}
