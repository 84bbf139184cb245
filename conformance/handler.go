package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// handlerChecks are about handlers that fail.
func handlerChecks() []Check {
	return []Check{
		durableCheck("retry", 19, false, "A failing handler is called again with the same event, as often as configured, and the subscription goes on when it succeeds.", handlerRetried),
		durableCheck("stop", 19, false, "An event that fails for good stops the subscription with a *HandlerError naming it; the checkpoint stays before it, and the next session begins with it.", handlerStops),
		durableCheck("park", 19, false, "With a park stream an event that fails for good is linked there once, and the subscription goes on; parked links are not handled.", handlerParks),
		needs(NeedsOpenAgain, durableCheck("park-idempotent", 19, false, "Parking again after a crash stores no second link.", parkIdempotent)),
		durableCheck("panic", 19, false, "A panicking handler is contained, and reported with the event's ID and the panic's value.", handlerPanics),
		needs(NeedsOpenAgain, durableCheck("isolation", 19, true, "A handler that blocks, fails or panics harms no other subscription and no writer.", handlerIsolation)),
	}
}

var errHandler = errors.New("the handler failed on purpose")

func handlerRetried(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 4, env.Store)
	if err != nil {
		return err
	}
	var handled recorder
	var calls atomic.Int64
	run := startRun(ctx, env, env.Store, eventstore.Subscription{
		Name: "flaky", Retry: eventstore.HandlerRetry{Attempts: 3},
		Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
			if calls.Add(1)%3 != 0 { // each event succeeds at its third and last attempt
				return errHandler
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
	if n := calls.Load(); n != int64(3*len(all)) {
		return unexpected("calls of a handler that succeeds at each third attempt", 3*len(all), n)
	}
	return expectSame("what was handled", all, handled.events())
}

func handlerStops(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 6, env.Store)
	if err != nil {
		return err
	}
	bad := all[len(all)/2]
	for session := range 2 {
		var handled recorder
		var calls atomic.Int64
		run := startRun(ctx, env, env.Store, eventstore.Subscription{
			Name: "strict", Retry: eventstore.HandlerRetry{Attempts: 3},
			Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
				if event.Position == bad.Position {
					calls.Add(1)
					return errHandler
				}
				return handled.handle(ctx, event)
			},
		})
		failure, err := handlerError(run.wait(ctx), "strict", bad, 3)
		if err != nil {
			return err
		}
		if !errors.Is(failure, errHandler) {
			return unexpected("cause of a HandlerError", errHandler, failure.Err)
		}
		if n := calls.Load(); n != 3 {
			return unexpected("attempts at an event that fails", 3, n)
		}
		want := all[:len(all)/2]
		at, err := stored(ctx, env.Store, "strict")
		if err != nil {
			return err
		}
		if at != want[len(want)-1].Position {
			return unexpected("checkpoint after the stop", fmt.Sprintf("%s, before the event that failed", want[len(want)-1].Position), at)
		}
		if session == 1 {
			want = nil // the second session begins with the event that fails
		}
		if err := expectSame("what was handled before the stop", want, handled.events()); err != nil {
			return err
		}
	}
	return nil
}

// parkingSubscription fails for good on one event.
func parkingSubscription(env *Env, handled *recorder, bad eventstore.RecordedEvent) eventstore.Subscription {
	return eventstore.Subscription{
		Name: "patient", ParkStream: env.StreamID("Parked", 901), Retry: eventstore.HandlerRetry{Attempts: 2},
		Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
			if event.Position == bad.Position {
				return errHandler
			}
			return handled.handle(ctx, event)
		},
	}
}

// expectParked returns an error unless the park stream holds one link, to bad.
func expectParked(ctx context.Context, env *Env, store *eventstore.Store, bad eventstore.RecordedEvent) error {
	links, err := collect(store.ReadStream(ctx, env.StreamID("Parked", 901), eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	if len(links) != 1 {
		return unexpected("links in the park stream", 1, len(links))
	}
	var link eventstore.Parked
	if err := json.Unmarshal(links[0].Data, &link); err != nil {
		return fmt.Errorf("the data of a parked link: %w", err)
	}
	want := eventstore.Parked{Subscription: "patient", Stream: bad.Stream, Version: bad.Version, Position: bad.Position, EventID: bad.ID, Error: link.Error}
	if links[0].Type != eventstore.ParkedType || link != want || link.Error == "" {
		return unexpected("link to a parked event", fmt.Sprintf("type %s, %+v with an error text", eventstore.ParkedType, want), fmt.Sprintf("type %s, %+v", links[0].Type, link))
	}
	return nil
}

func handlerParks(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 6, env.Store)
	if err != nil {
		return err
	}
	at := len(all) / 2
	bad := all[at]
	var handled recorder
	run := startRun(ctx, env, env.Store, parkingSubscription(env, &handled, bad))
	if err := handled.waitEvents(ctx, run, len(all)-1); err != nil {
		return err
	}
	// An event behind the link shows that the link itself was passed over.
	last, err := env.Store.Append(ctx, env.StreamID("Order", 902), eventstore.NoStream(), env.Event("Happened"))
	if err != nil {
		return err
	}
	if err := handled.waitEvents(ctx, run, len(all)); err != nil {
		return err
	}
	if err := run.stop(); err != nil {
		return err
	}
	got := handled.events()
	if got[len(got)-1].Position != last.Position {
		return unexpected("position of the last event that was handled", last.Position, got[len(got)-1].Position)
	}
	if err := expectSame("what was handled beside a parked event", slices.Concat(all[:at], all[at+1:]), got[:len(got)-1]); err != nil {
		return err
	}
	checkpoint, err := stored(ctx, env.Store, "patient")
	if err != nil {
		return err
	}
	if checkpoint != last.Position {
		return unexpected("checkpoint after parking", last.Position, checkpoint)
	}
	return expectParked(ctx, env, env.Store, bad)
}

func parkIdempotent(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 3, env.Store)
	if err != nil {
		return err
	}
	bad := all[0]
	for session := range 3 {
		var handled recorder
		sub := parkingSubscription(env, &handled, bad)
		sub.Checkpoints = lostCheckpoints{env.Fixture.Backend.Records().Checkpoints} // the process is killed before it saves
		run := startRun(ctx, env, stores[session%2], sub)
		if err := handled.waitEvents(ctx, run, len(all)-1); err != nil {
			return err
		}
		if err := run.stop(); err != nil {
			return err
		}
		if err := expectParked(ctx, env, env.Store, bad); err != nil {
			return fmt.Errorf("after %d sessions: %w", session+1, err)
		}
	}
	return nil
}

// lostCheckpoints are those of a process that never lives to save one.
type lostCheckpoints struct{ eventstore.Checkpoints }

func (lostCheckpoints) Load(context.Context, eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	return eventstore.LoadCheckpointResult{}, nil
}
func (lostCheckpoints) Save(context.Context, eventstore.SaveCheckpointRequest) error { return nil }

func handlerPanics(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 3, env.Store)
	if err != nil {
		return err
	}
	run := startRun(ctx, env, env.Store, eventstore.Subscription{
		Name: "panics", Retry: eventstore.HandlerRetry{Attempts: 2},
		Handler: func(context.Context, eventstore.RecordedEvent) error { panic("on purpose") },
	})
	failure, err := handlerError(run.wait(ctx), "panics", all[0], 2)
	if err != nil {
		return err
	}
	var panicked *eventstore.PanicError
	if !errors.As(failure, &panicked) || panicked.Value != "on purpose" || len(panicked.Stack) == 0 {
		return unexpected("cause of a HandlerError after a panic", "a *PanicError with the panic's value and its stack", fmt.Sprintf("%#v", failure.Err))
	}
	return nil
}

func handlerIsolation(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 4, stores[:]...); err != nil {
		return err
	}
	blocks := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "blocks", Handler: func(ctx context.Context, _ eventstore.RecordedEvent) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	fails := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "fails", Retry: eventstore.HandlerRetry{Attempts: 1 << 30}, Handler: func(context.Context, eventstore.RecordedEvent) error {
		return errHandler
	}})
	panics := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "panics", Retry: eventstore.HandlerRetry{Attempts: 1 << 30}, Handler: func(context.Context, eventstore.RecordedEvent) error {
		panic("on purpose")
	}})
	var handled recorder
	good := startRun(ctx, env, env.Store, eventstore.Subscription{Name: "good", Handler: handled.handle})
	timed, cancel := within(ctx, patience)
	defer cancel()
	if _, err := writeAtOnce(timed, env, 4, 10, stores[:], env.Stream("Order"), env.Stream("Cart")); err != nil {
		return fmt.Errorf("append beside handlers that block, fail and panic: %w", err)
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if err := handled.waitEvents(ctx, good, len(all)); err != nil {
		return fmt.Errorf("a subscription beside handlers that block, fail and panic: %w", err)
	}
	if err := expectSame("what was handled beside handlers that block, fail and panic", all, handled.events()); err != nil {
		return err
	}
	for _, run := range []*running{blocks, fails, panics, good} {
		if err := run.alive(); err != nil {
			return err
		}
	}
	err, late := returnsPromptly("four subscriptions after their contexts", func() error {
		return errors.Join(blocks.stop(), fails.stop(), panics.stop(), good.stop())
	})
	return errors.Join(late, err)
}
