package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func durableChecks() []Check {
	return slices.Concat([]Check{
		needs(NeedsOpenAgain, durableCheck("at-least-once", 18, true, "A durable subscription handles every event, stored or live, and goes on after an orderly stop without repetition.", durableGoesOn)),
		needs(NeedsOpenAgain, durableCheck("crash", 18, true, "After a crash every event since the last saved checkpoint is handled again, and none is lost.", durableCrash)),
		durableCheck("checkpoint-after-handler", 18, true, "The checkpoint never passes an unhandled event and moves forward only: what is stored is what was saved, at every save.", checkpointAfterHandler),
		needs(NeedsOpenAgain, durableCheck("foreign-checkpoint", 18, true, "A checkpoint of another store is refused with ErrForeignCheckpoint before any event is handled.", foreignCheckpoint)),
		needs(NeedsOpenAgain, durableCheck("checkpoint-ahead", 18, true, "A checkpoint ahead of the store's head is refused with ErrCheckpointAhead before any event is handled.", checkpointAhead)),
		durableCheck("filtered", 18, false, "A filtered subscription handles exactly what matches.", durableFiltered),
		needs(NeedsOpenAgain, durableCheck("filtered-progress", 18, false, "A filtered subscription's checkpoint moves on when nothing matches.", durableProgress)),
		durableCheck("begins-after", 18, false, "A subscription without a checkpoint begins after the position it was given; one with a checkpoint ignores that.", durableBeginsAfter),
		durableCheck("names-apart", 18, false, "Each name has its own checkpoint: two subscriptions both handle everything.", durableNamesApart),
		durableCheck("cancelled", 20, false, "A cancelled context ends Run promptly, while it waits and while a handler works, and an already cancelled one handles nothing.", durableCancelled),
	}, handlerChecks(), retriedChecks())
}

func durableCheck(name string, promise int, core bool, sentence string, run func(context.Context, *Env) error) Check {
	return Check{Name: "durable/" + name, Promise: promise, Core: core, Requires: globalOrder, Sentence: sentence, Run: run}
}

func durableGoesOn(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 6, stores[:]...); err != nil {
		return err
	}
	var handled recorder
	for session := range 4 {
		run := startRun(ctx, env, stores[session%2], eventstore.Subscription{Name: "billing", Handler: handled.handle})
		if _, err := stores[session%2].Append(ctx, env.StreamID("Order", 901), eventstore.Any(), env.Events(2)...); err != nil {
			return err
		}
		if _, err := stores[1-session%2].Append(ctx, env.StreamID("Order", 901), eventstore.Any(), env.Event("Happened")); err != nil {
			return err
		}
		all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := handled.waitEvents(ctx, run, len(all)); err != nil {
			return err
		}
		if err := run.stop(); err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("what was handled in %d sessions that were stopped in order", session+1), all, handled.events()); err != nil {
			return err
		}
	}
	return nil
}

// durableCrash ends sessions that saved once, after three events, and whose later
// saves are lost.
func durableCrash(ctx context.Context, env *Env) error {
	const saveEvery = 3
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 15, stores[:]...)
	if err != nil {
		return err
	}
	for session := range 3 {
		want := all[session*saveEvery:]
		var handled recorder
		spy := &checkpointSpy{Checkpoints: env.Fixture.Backend.Records().Checkpoints, handled: handled.last, crashAfter: 1}
		run := startRun(ctx, env, stores[session%2], eventstore.Subscription{
			Name: "billing", CheckpointEvery: saveEvery, CheckpointInterval: time.Hour, Checkpoints: spy,
			Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
				if len(handled.events()) == saveEvery { // go on when the first three are saved
					err := eventually(ctx, "a save of the checkpoint", func() (bool, error) { return spy.saves() > 0, nil })
					if err != nil {
						return err
					}
				}
				return handled.handle(ctx, event)
			},
		})
		if err := handled.waitEvents(ctx, run, len(want)); err != nil {
			return fmt.Errorf("after %d crashes: %w", session, err)
		}
		if err := run.stop(); err != nil {
			return err
		}
		if err := errors.Join(spy.verdict(), expectSame(fmt.Sprintf("what was handled after %d crashes", session), want, handled.events())); err != nil {
			return err
		}
	}
	return nil
}

func checkpointAfterHandler(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 30, env.Store)
	if err != nil {
		return err
	}
	var handled recorder
	spy := &checkpointSpy{Checkpoints: env.Fixture.Backend.Records().Checkpoints, handled: handled.last}
	var calls atomic.Int64
	run := startRun(ctx, env, env.Store, eventstore.Subscription{
		Name: "billing", CheckpointEvery: 1, CheckpointInterval: time.Millisecond, Checkpoints: spy,
		Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
			if calls.Add(1)%5 == 0 { // some events take until after the next save, some fail first
				timed, cancel := within(ctx, 3*time.Millisecond)
				defer cancel()
				<-timed.Done()
				return errors.Join(ctx.Err(), errors.New("not yet"))
			}
			return handled.handle(ctx, event)
		},
	})
	if err := handled.waitEvents(ctx, run, len(all)); err != nil {
		return err
	}
	if err := run.stop(); err != nil {
		return err
	}
	if err := spy.verdict(); err != nil {
		return err
	}
	at, err := stored(ctx, env.Store, "billing")
	if err != nil {
		return err
	}
	if at != handled.last() {
		return unexpected("checkpoint after an orderly stop", handled.last(), at)
	}
	return expectSame("what was handled", all, handled.events())
}

// refusedCheckpoint puts a checkpoint that the Store would not save into the
// backend and expects that every way to use it is refused.
func refusedCheckpoint(ctx context.Context, env *Env, bad func(eventstore.Info) eventstore.Checkpoint, want error) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 4, stores[:]...); err != nil {
		return err
	}
	info, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	checkpoint := bad(info)
	if err := expectError("SaveCheckpoint", env.Store.SaveCheckpoint(ctx, checkpoint), want); err != nil {
		return err
	}
	if err := env.Fixture.Backend.Records().Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}); err != nil {
		return fmt.Errorf("save a checkpoint in the backend: %w", err)
	}
	for i, store := range stores {
		_, _, err := store.LoadCheckpoint(ctx, checkpoint.Name)
		if err := expectError(fmt.Sprintf("LoadCheckpoint through handle %d", i+1), err, want); err != nil {
			return err
		}
		var handled recorder
		run := startRun(ctx, env, store, eventstore.Subscription{Name: checkpoint.Name, Handler: handled.handle})
		if err := expectError(fmt.Sprintf("Run through handle %d", i+1), run.wait(ctx), want); err != nil {
			return err
		}
		if n := len(handled.events()); n != 0 {
			return unexpected("events handled by a subscription that was refused", 0, n)
		}
	}
	if err := env.Store.DeleteCheckpoint(ctx, checkpoint.Name); err != nil {
		return err
	}
	_, found, err := env.Store.LoadCheckpoint(ctx, checkpoint.Name)
	if err != nil || found {
		return unexpected("checkpoint after it was deleted", "none", fmt.Sprintf("found %t, error %v", found, err))
	}
	return nil
}

func foreignCheckpoint(ctx context.Context, env *Env) error {
	return refusedCheckpoint(ctx, env, func(info eventstore.Info) eventstore.Checkpoint {
		return eventstore.Checkpoint{Name: "billing", Store: uuid.UUID{1, 2, 3}, Place: info.Head}
	}, eventstore.ErrForeignCheckpoint)
}

func checkpointAhead(ctx context.Context, env *Env) error {
	return refusedCheckpoint(ctx, env, func(info eventstore.Info) eventstore.Checkpoint {
		return eventstore.Checkpoint{Name: "billing", Store: info.ID, Place: placeBeyond(info.Head)}
	}, eventstore.ErrCheckpointAhead)
}

func durableFiltered(ctx context.Context, env *Env) error {
	all, err := writeHostile(ctx, env)
	if err != nil {
		return err
	}
	filter := eventstore.Filter{Categories: []string{eventstore.Category(env.StreamID("Order", 902))}, Types: []string{"Placed", "Pla_ed", "%"}}
	want := choice(all, func(e eventstore.RecordedEvent) bool { return filter.Match(e.Stream, e.Type) }, false, 0)
	var handled recorder
	run := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "billing", Filter: filter, Handler: handled.handle})
	result, err := env.Store.Append(ctx, env.StreamID("Order", 902), eventstore.Any(), env.Event("Other"), env.Event("Placed"))
	if err != nil {
		return err
	}
	if err := handled.waitEvents(ctx, run, len(want)+1); err != nil {
		return err
	}
	if err := run.stop(); err != nil {
		return err
	}
	if last := handled.last(); last != result.Position {
		return unexpected("position of the last event that was handled", result.Position, last)
	}
	return expectSame("what a filtered subscription handled", want, handled.events()[:len(want)])
}

func durableProgress(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	var handled recorder
	run := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "rare", Filter: ofCategory("Rare"), Handler: handled.handle})
	for i := range 3 {
		result, err := stores[i%2].Append(ctx, env.StreamID("Common", 1), eventstore.Any(), env.Events(3)...)
		if err != nil {
			return err
		}
		timed, cancel := within(ctx, env.Caps.PollInterval+patience)
		var at eventstore.Position
		err = eventually(timed, "the checkpoint's progress", func() (bool, error) {
			var err error
			if at, err = stored(ctx, stores[1], "rare"); err != nil {
				return false, err
			}
			return !at.Before(result.Position), run.alive()
		})
		cancel()
		if err != nil {
			return fmt.Errorf("expected the checkpoint to reach %s while nothing matches, it is at %s: %w", result.Position, at, err)
		}
	}
	if n := len(handled.events()); n != 0 {
		return unexpected("handled events that match nothing", 0, n)
	}
	return run.stop()
}

func durableBeginsAfter(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 8, env.Store)
	if err != nil {
		return err
	}
	middle := len(all) / 2
	var handled recorder
	for _, after := range []eventstore.Position{all[middle-1].Position, {}} {
		run := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "late", After: after, Handler: handled.handle})
		more, err := env.Store.Append(ctx, env.StreamID("Order", 903), eventstore.Any(), env.Event("Happened"))
		if err != nil {
			return err
		}
		timed, cancel := within(ctx, env.Caps.PollInterval+patience)
		err = eventually(timed, "the last event", func() (bool, error) { return handled.last() == more.Position, run.alive() })
		cancel()
		if err != nil {
			return err
		}
		if err := run.stop(); err != nil {
			return err
		}
	}
	now, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: all[middle-1].Position}))
	if err != nil {
		return err
	}
	return expectSame("what a subscription handled that began in the middle, in two sessions", now, handled.events())
}

func durableNamesApart(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 8, env.Store)
	if err != nil {
		return err
	}
	for _, name := range []string{"billing", "Billing", "billing ", "bill%", "bill_ng", "'; DROP TABLE checkpoints; --", "Bücher"} {
		var handled recorder
		run := startRun(ctx, env, env.Store, eventstore.Subscription{Name: name, Handler: handled.handle})
		if err := handled.waitEvents(ctx, run, len(all)); err != nil {
			return fmt.Errorf("subscription %q: %w", name, err)
		}
		if err := run.stop(); err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("what subscription %q handled", name), all, handled.events()); err != nil {
			return err
		}
	}
	return nil
}

func durableCancelled(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 3, env.Store)
	if err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	var none recorder
	if err := env.Store.Run(done, eventstore.Subscription{Name: "none", Handler: none.handle}); err != nil {
		return unexpected("Run with a cancelled context", "no error", err)
	}
	if n := len(none.events()); n != 0 {
		return unexpected("events handled with a cancelled context", 0, n)
	}
	working := make(chan struct{}, 1)
	for _, handler := range []func(context.Context, eventstore.RecordedEvent) error{
		func(ctx context.Context, _ eventstore.RecordedEvent) error { // works until it is told to stop
			working <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		},
		func(_ context.Context, event eventstore.RecordedEvent) error { // is done, and the subscription waits
			if event.Position == all[len(all)-1].Position {
				working <- struct{}{}
			}
			return nil
		},
	} {
		run := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "cancelled", Handler: handler})
		if err := waitFor(ctx, "the handler", working); err != nil {
			return err
		}
		err, late := returnsPromptly("Run after its context was cancelled", run.stop)
		if err := errors.Join(late, err); err != nil {
			return err
		}
	}
	return nil
}
