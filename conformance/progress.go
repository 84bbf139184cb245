package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func progressChecks() []Check {
	check := func(name string, promise int, core bool, sentence string, run func(context.Context, *Env) error) Check {
		return Check{Name: "checkpoint/" + name, Promise: promise, Core: core, Requires: checkpointing, Refused: refusesCheckpoints, Sentence: sentence, Run: run}
	}
	return slices.Concat([]Check{
		needs(NeedsOpenAgain, check("round-trip", 18, true, "A saved checkpoint is loaded as it was saved, through every handle, as soon as the save returned.", checkpointRoundTrip)),
		needs(NeedsOpenAgain, check("absent", 18, false, "A checkpoint that was never saved is not found, without an error, and deleting it is no error.", checkpointAbsent)),
		needs(NeedsOpenAgain, check("forward-only", 18, true, "A checkpoint moves forward only: saving one at or before the stored position changes nothing, through any handle.", checkpointForwardOnly)),
		needs(NeedsOpenAgain, check("concurrent-saves", 18, true, "Of 2, 8 and 32 concurrent saves through two handles the farthest remains, and no reader sees the checkpoint go back.", checkpointConcurrent)),
		needs(NeedsOpenAgain, check("delete", 18, false, "A deleted checkpoint is gone for every handle, and can be saved anew at any position.", checkpointDelete)),
		needs(NeedsOpenAgain, check("names-apart", 18, false, "A checkpoint belongs to exactly its name: case, wildcards, quotes and trailing spaces keep names apart.", checkpointNames)),
		needs(NeedsOpenAgain, check("survives-reopening", 18, true, "Checkpoints are there after every handle was closed and the store opened again.", checkpointReopen)),
		needs(NeedsOpenAgain, check("not-in-the-log", 15, false, "Checkpoints and snapshots are no events: reads and subscriptions do not show them.", progressNotInLog)),
	}, snapshotChecks())
}

// savedLog is a log and what is needed to make checkpoints of it.
type savedLog struct {
	stores [2]*eventstore.Store
	all    []eventstore.RecordedEvent
	info   eventstore.Info
}

func logToSave(ctx context.Context, env *Env, appends int) (savedLog, error) {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return savedLog{}, err
	}
	all, err := writeLog(ctx, env, appends, stores[:]...)
	if err != nil {
		return savedLog{}, err
	}
	info, err := env.Store.Info(ctx)
	return savedLog{stores: stores, all: all, info: info}, err
}

// at is the checkpoint that lies at the i-th event.
func (l savedLog) at(name string, i int) eventstore.Checkpoint {
	return eventstore.Checkpoint{Name: name, Store: l.info.ID, Place: l.all[i].Place()}
}

// expectCheckpoint loads a checkpoint through a store and compares it.
func expectCheckpoint(ctx context.Context, what string, store *eventstore.Store, want eventstore.Checkpoint) error {
	got, found, err := store.LoadCheckpoint(ctx, want.Name)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !found || got != want {
		return unexpected(what, fmt.Sprintf("%+v", want), fmt.Sprintf("%+v, found %t", got, found))
	}
	return nil
}

func checkpointRoundTrip(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 8)
	if err != nil {
		return err
	}
	for i := range log.all {
		checkpoint := log.at("billing", i)
		if err := log.stores[i%2].SaveCheckpoint(ctx, checkpoint); err != nil {
			return err
		}
		for j, store := range log.stores {
			what := fmt.Sprintf("checkpoint saved through handle %d, loaded through handle %d", i%2+1, j+1)
			if err := expectCheckpoint(ctx, what, store, checkpoint); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkpointAbsent(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 2)
	if err != nil {
		return err
	}
	if err := env.Store.SaveCheckpoint(ctx, log.at("present", 0)); err != nil {
		return err
	}
	for _, name := range []string{"absent", "presen", "present-", "PRESENT", "%", "p______"} {
		if err := env.Store.DeleteCheckpoint(ctx, name); err != nil {
			return fmt.Errorf("delete a checkpoint that does not exist: %w", err)
		}
		got, found, err := env.Store.LoadCheckpoint(ctx, name)
		if err != nil || found {
			return unexpected(fmt.Sprintf("checkpoint %q, which was never saved", name), "not found, no error", fmt.Sprintf("%+v, found %t, error %v", got, found, err))
		}
	}
	return expectCheckpoint(ctx, "the checkpoint beside them", env.Store, log.at("present", 0))
}

func checkpointForwardOnly(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 8)
	if err != nil {
		return err
	}
	farthest := -1
	for i, at := range []int{3, 1, 3, 0, 5, 4, 5, 2, len(log.all) - 1, 0} {
		if err := log.stores[i%2].SaveCheckpoint(ctx, log.at("billing", at)); err != nil {
			return fmt.Errorf("save a checkpoint that lies behind the stored one: %w", err)
		}
		farthest = max(farthest, at)
		what := fmt.Sprintf("checkpoint after saves up to event %d, the last one of event %d", farthest+1, at+1)
		for _, store := range log.stores {
			if err := expectCheckpoint(ctx, what, store, log.at("billing", farthest)); err != nil {
				return err
			}
		}
	}
	// Not even the zero position moves it back.
	zero := eventstore.Checkpoint{Name: "billing", Store: log.info.ID}
	if err := env.Store.SaveCheckpoint(ctx, zero); err != nil {
		return err
	}
	return expectCheckpoint(ctx, "checkpoint after a save of the zero position", env.Store, log.at("billing", farthest))
}

func checkpointConcurrent(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 40)
	if err != nil {
		return err
	}
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		name := fmt.Sprintf("billing-%d", racers)
		var saving atomic.Bool
		saving.Store(true)
		reader := make(chan error, 1)
		go func() {
			reader <- contain(func() error {
				var last eventstore.Position
				for i := 0; saving.Load(); i++ {
					got, _, err := log.stores[i%2].LoadCheckpoint(ctx, name)
					if err != nil {
						return err
					}
					if got.Place.Position.Before(last) {
						return unexpected("checkpoint while others save it", "at least "+last.String(), got.Place.Position)
					}
					last = got.Place.Position
				}
				return nil
			})
		}()
		err := race(racers, func(i int) error {
			for j := i; j < len(log.all); j += max(1, racers/4) { // together they save each position
				if err := log.stores[i%2].SaveCheckpoint(ctx, log.at(name, j)); err != nil {
					return err
				}
			}
			return log.stores[(i+1)%2].SaveCheckpoint(ctx, log.at(name, i%len(log.all)))
		})
		saving.Store(false)
		if err := errors.Join(err, <-reader); err != nil {
			return err
		}
		got, found, err := env.Store.LoadCheckpoint(ctx, name)
		if err != nil {
			return err
		}
		if want := log.at(name, len(log.all)-1); !found || got != want {
			return unexpected("checkpoint after concurrent saves", fmt.Sprintf("the farthest, %+v", want), fmt.Sprintf("%+v, found %t", got, found))
		}
		return nil
	})
}

func checkpointDelete(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 6)
	if err != nil {
		return err
	}
	for i, at := range []int{len(log.all) - 1, 2, 0, 4} {
		checkpoint := log.at("billing", at)
		if err := log.stores[i%2].SaveCheckpoint(ctx, checkpoint); err != nil {
			return err
		}
		if err := expectCheckpoint(ctx, "checkpoint saved anew after it was deleted", log.stores[(i+1)%2], checkpoint); err != nil {
			return err
		}
		if err := log.stores[(i+1)%2].DeleteCheckpoint(ctx, "billing"); err != nil {
			return err
		}
		for _, store := range log.stores {
			got, found, err := store.LoadCheckpoint(ctx, "billing")
			if err != nil || found {
				return unexpected("checkpoint after it was deleted", "not found, no error", fmt.Sprintf("%+v, found %t, error %v", got, found, err))
			}
		}
	}
	return nil
}

// similarNames are names that careless queries confuse with each other.
func similarNames() []string {
	return []string{"a", "A", "a ", " a", "a%", "a_", "aa", `a\`, "a'", `a"`, "'; DROP TABLE checkpoints; --", "ä", "a\u0308", "a/b", "a:b", "a-b", "$a"}
}

func checkpointNames(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 15)
	if err != nil {
		return err
	}
	for i, name := range similarNames() {
		if err := log.stores[i%2].SaveCheckpoint(ctx, log.at(name, i)); err != nil {
			return fmt.Errorf("checkpoint %q: %w", name, err)
		}
	}
	deleted := similarNames()[3]
	if err := env.Store.DeleteCheckpoint(ctx, deleted); err != nil {
		return err
	}
	for i, name := range similarNames() {
		if name == deleted {
			continue
		}
		if err := expectCheckpoint(ctx, fmt.Sprintf("checkpoint %q beside similar names", name), env.Store, log.at(name, i)); err != nil {
			return err
		}
	}
	return nil
}

func checkpointReopen(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 6)
	if err != nil {
		return err
	}
	for i, name := range []string{"billing", "shipping"} {
		if err := log.stores[i].SaveCheckpoint(ctx, log.at(name, 2+i)); err != nil {
			return err
		}
	}
	if err := env.Reopen(ctx); err != nil {
		return err
	}
	for i, name := range []string{"billing", "shipping"} {
		if err := expectCheckpoint(ctx, "checkpoint after reopening", env.Store, log.at(name, 2+i)); err != nil {
			return err
		}
		if err := env.Store.SaveCheckpoint(ctx, log.at(name, 0)); err != nil {
			return err
		}
		if err := expectCheckpoint(ctx, "checkpoint after reopening and a save behind it", env.Store, log.at(name, 2+i)); err != nil {
			return err
		}
	}
	return nil
}

func progressNotInLog(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 6)
	if err != nil {
		return err
	}
	live := listen(ctx, env, env.Store, eventstore.SubscribeOptions{})
	if err := live.waitCaughtUp(ctx); err != nil {
		return err
	}
	stream := log.all[0].Stream
	for i := range 3 {
		if err := env.Store.SaveCheckpoint(ctx, log.at("billing", i)); err != nil {
			return err
		}
		if err := env.Store.SaveSnapshot(ctx, eventstore.Snapshot{Stream: stream, Type: "State", Version: 1, Data: []byte{byte(i)}}); err != nil {
			return err
		}
	}
	last, err := env.Store.Append(ctx, env.StreamID("Order", 902), eventstore.NoStream(), env.Event("Happened"))
	if err != nil {
		return err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if err := expectSame("ReadAll after checkpoints and snapshots were saved", log.all, all[:max(0, len(all)-1)]); err != nil {
		return err
	}
	if err := live.waitPast(ctx, last.Position); err != nil {
		return err
	}
	if err := expectSame("subscription while checkpoints and snapshots were saved", all, live.events()); err != nil {
		return err
	}
	info, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	if info.Head.Position != last.Position {
		return unexpected("head after checkpoints and snapshots were saved", last.Position, info.Head)
	}
	want := choice(log.all, func(e eventstore.RecordedEvent) bool { return e.Stream == stream }, false, 0)
	got, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	return expectSame("a stream with a snapshot", want, got)
}
