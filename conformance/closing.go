package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func closingChecks() []Check {
	return []Check{
		{
			Name: "close/store-refuses", Promise: 20,
			Sentence: "After Close every operation of a Store returns ErrClosed and does no I/O.",
			Run:      closedStore,
		},
		{
			Name: "close/backend-refuses", Promise: 20,
			Sentence: "After Close every call of a Backend returns ErrClosed; its capabilities stay what they were.",
			Run:      closedBackend,
		},
		{
			Name: "close/twice", Promise: 20,
			Sentence: "A double close is fine, also from many goroutines at once.",
			Run:      closeTwice,
		},
		{
			Name: "close/wakes-subscriptions", Promise: 20, Requires: globalOrder, Refused: refusesSubscriptions,
			Sentence: "Close ends the subscriptions that wait, with ErrClosed.",
			Run:      closeWakes,
		},
		{
			Name: "close/other-handle", Promise: 20, Needs: NeedsOpenAgain,
			Sentence: "Closing one handle leaves the others working, their subscriptions included.",
			Run:      closeOne,
		},
		{
			Name: "close/during-use", Promise: 20, Needs: NeedsOpenAgain,
			Sentence: "Close during use ends everything promptly, with nil or an error of the contract, and the data agrees with what each append was told.",
			Run:      closeDuringUse,
		},
		{
			Name: "close/leaks-nothing", Promise: 20, Needs: NeedsOpenAgain,
			Sentence: "A handle that was opened, used and closed leaves no goroutine behind.",
			Run:      closeLeaksNothing,
		},
	}
}

func closedStore(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 2, 2); err != nil {
		return err
	}
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	for _, call := range storeCalls(env, stream) {
		what := call.name + " after Close"
		err, late := returnsPromptly(what, func() error { return call.run(ctx, store) })
		if err := errors.Join(late, expectError(what, err, eventstore.ErrClosed), spy.expectNoCalls(what)); err != nil {
			return err
		}
	}
	if got := store.Capabilities(); !sameCapabilities(got, env.Caps) {
		return unexpected("capabilities after Close", env.Caps, got)
	}
	return nil
}

func closedBackend(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 2, 2); err != nil {
		return err
	}
	backend := env.Fixture.Backend
	if err := backend.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	for _, call := range backendCalls(env, stream) {
		what := "the backend's " + call.name + " after Close"
		err, late := returnsPromptly(what, func() error { return call.run(ctx, backend) })
		if err := errors.Join(late, expectError(what, err, eventstore.ErrClosed)); err != nil {
			return err
		}
	}
	if got := backend.Capabilities(); !sameCapabilities(got, env.Caps) {
		return unexpected("capabilities after Close", env.Caps, got)
	}
	return nil
}

func closeTwice(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 2, 2); err != nil {
		return err
	}
	for _, closer := range []struct {
		name  string
		close func() error
	}{
		{"the Store", env.Store.Close},
		{"the backend", env.Fixture.Backend.Close},
	} {
		err, late := returnsPromptly("Close of "+closer.name, func() error {
			return race(8, func(int) error { return closer.close() })
		})
		if err := errors.Join(late, err, closer.close()); err != nil {
			return fmt.Errorf("close %s again: %w", closer.name, err)
		}
	}
	return nil
}

func closeWakes(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 3, 1); err != nil {
		return err
	}
	waits := make(chan struct{}, 8)
	var ended []chan error
	begin := func(run func(waiting func()) error) {
		end := make(chan error, 1)
		ended = append(ended, end)
		go func() { end <- contain(func() error { return run(func() { waits <- struct{}{} }) }) }()
	}
	begin(func(waiting func()) error {
		return untilWaiting(env.Store.Subscribe(ctx, eventstore.SubscribeOptions{}), waiting)
	})
	begin(func(waiting func()) error {
		size := eventstore.PageSize{MaxEvents: 2, MaxBytes: 1 << 20}
		return untilWaiting(env.Fixture.Backend.Subscribe(ctx, eventstore.SubscribeRequest{PageSize: size}), waiting)
	})
	begin(func(waiting func()) error {
		return env.Store.Run(ctx, eventstore.Subscription{Name: "waiting", Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
			if e.Version == 3 {
				waiting()
			}
			return nil
		}})
	})
	for range ended {
		select {
		case <-waits:
		case <-ctx.Done():
			return fmt.Errorf("expected %d subscriptions to catch up in time: %w", len(ended), ctx.Err())
		}
	}
	closed, late := returnsPromptly("Close under waiting subscriptions", env.Store.Close)
	if err := errors.Join(closed, late); err != nil {
		return err
	}
	for i, what := range []string{"Subscribe", "the backend's Subscribe", "Run"} {
		err, late := returnsPromptly(what+" after Close", func() error { return <-ended[i] })
		if err := errors.Join(late, expectError(what+" at Close", err, eventstore.ErrClosed)); err != nil {
			return err
		}
	}
	return nil
}

func closeOne(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	before := env.Events(2)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), before...); err != nil {
		return err
	}
	closing, err := env.Again(ctx)
	if err != nil {
		return err
	}
	staying, err := env.Again(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(expectEvents(ctx, closing, stream, before...), expectEvents(ctx, staying, stream, before...)); err != nil {
		return err
	}
	after := env.Event("Happened")
	closeAndAppend := func() error {
		if err := closing.Close(); err != nil {
			return fmt.Errorf("close one handle: %w", err)
		}
		_, err := env.Store.Append(ctx, stream, eventstore.Exactly(2), after)
		return err
	}
	if !env.Caps.GlobalOrder.Supported() {
		return errors.Join(closeAndAppend(), expectEvents(ctx, staying, stream, append(before, after)...))
	}
	for message, err := range staying.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		if err != nil {
			return fmt.Errorf("subscription of the handle that stays open: %w", err)
		}
		if message.Kind == eventstore.MessageCaughtUp {
			if err := closeAndAppend(); err != nil {
				return err
			}
		}
		if message.Event.ID == after.ID {
			break
		}
	}
	return expectEvents(ctx, staying, stream, append(before, after)...)
}
