package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Checks with a writer that is held for seconds, as one is whose process was
// stopped or whose network is gone.
func heldChecks() []Check {
	return []Check{
		rests(Check{
			Name: "held/no-reader-passes-by-time", Promise: 13, Requires: exactOrder, Needs: NeedsHoldWriter,
			Sentence: "A writer that is held for seconds between taking its place and becoming visible is passed by no reader and no subscription, however long it takes.",
			Run:      heldNotPassed,
		}),
		{
			Name: "held/others-keep-their-deadlines", Promise: 20, Long: true, Requires: exactOrder, Needs: NeedsHoldWriter,
			Sentence: "Who waits for a writer that is held keeps its own deadline and is told the truth; reads do not wait for it at all.",
			Run:      heldDeadlines,
		},
	}
}

// holdOne holds a writer of n events to a stream of its own.
func holdOne(ctx context.Context, env *Env, n int) (string, []eventstore.Event, func() (eventstore.AppendResult, error), error) {
	stream, events := env.Stream("Held"), env.Events(n)
	release, err := env.Fixture.HoldWriter(ctx, part(stream, eventstore.NoStream(), events...))
	if err != nil {
		return "", nil, nil, fmt.Errorf("the fixture's %s: %w", NeedsHoldWriter, err)
	}
	released := false
	once := func() (eventstore.AppendResult, error) {
		released = true
		return release()
	}
	env.OnClose(func() error {
		if released {
			return nil
		}
		_, err := release()
		return err
	})
	return stream, events, once, nil
}

func heldNotPassed(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 3, stores[:]...); err != nil {
		return err
	}
	var listeners []*listener
	for i, store := range stores {
		l := listen(ctx, env, store, eventstore.SubscribeOptions{Filter: []eventstore.Filter{{}, ofTypes("Happened")}[i]})
		if err := l.waitCaughtUp(ctx); err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	stream, events, release, err := holdOne(ctx, env, 3)
	if err != nil {
		return err
	}
	// The others may have to wait until the held one is released.
	other := env.Stream("Order")
	var stop atomic.Bool
	written := make(chan error, 1)
	go func() {
		written <- contain(func() error {
			for !stop.Load() {
				_, err := stores[1].Append(ctx, other, eventstore.Any(), env.Event("Happened"))
				if err != nil && !isLost(err) { // a writer may be told that it waited too long
					return err
				}
				if err := sleep.For(ctx, env.Scale.Rest/50); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	pollers := []*poller{{store: stores[0]}, {store: stores[1]}}
	var failed error
	for began := time.Now(); failed == nil && time.Since(began) < env.Scale.Rest; {
		failed = errors.Join(pollers[0].read(ctx), pollers[1].read(ctx), sleep.For(ctx, env.Scale.Rest/50))
	}
	result, err := release()
	stop.Store(true)
	if err := errors.Join(failed, err, <-written); err != nil {
		return err
	}
	for i, p := range pollers {
		if err := p.expectAll(ctx, fmt.Sprintf("what reader %d saw beside a writer that was held for %s", i+1, env.Scale.Rest)); err != nil {
			return err
		}
	}
	if err := expectEvents(ctx, stores[1], stream, events...); err != nil {
		return err
	}
	all := pollers[0].events
	for i, l := range listeners {
		if err := l.waitPast(ctx, result.Position); err != nil {
			return err
		}
		if err := l.waitPast(ctx, all[len(all)-1].Position); err != nil {
			return err
		}
		opts := eventstore.SubscribeOptions{Filter: []eventstore.Filter{{}, ofTypes("Happened")}[i]}
		if err := expectSame(fmt.Sprintf("a subscription beside a writer that was held for %s", env.Scale.Rest), matchesAfter(all, opts), l.events()); err != nil {
			return err
		}
	}
	return nil
}

func heldDeadlines(ctx context.Context, env *Env) error {
	const writers = 4
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 5, stores[:]...)
	if err != nil {
		return err
	}
	_, _, release, err := holdOne(ctx, env, 2)
	if err != nil {
		return err
	}
	attempts := make([]appendAttempt, writers)
	err = race(writers+2, func(i int) error {
		store := stores[i%2]
		if i >= writers { // a reader
			for n := range 5 {
				what := fmt.Sprintf("read %d beside a writer that is held", n+1)
				failed, late := returnsPromptly(what, func() error {
					got, err := collect(store.ReadAll(ctx, eventstore.ReadAllOptions{Limit: len(all)}))
					return errors.Join(err, expectSame(what, all, got))
				})
				if err := errors.Join(late, failed); err != nil {
					return err
				}
			}
			return nil
		}
		a := &attempts[i]
		a.stream, a.events = env.Stream("Order"), env.Events(2)
		wait := time.Duration(100+100*i) * time.Millisecond
		what := fmt.Sprintf("an append with %s that may wait for a writer that is held", wait)
		timed, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		start := time.Now()
		failed, late := returnsPromptly(what, func() error {
			_, err := store.Append(timed, a.stream, eventstore.NoStream(), a.events...)
			return err
		})
		if a.err = failed; late != nil {
			return late
		}
		if took := time.Since(start); took > wait+promptly {
			return unexpected(what, fmt.Sprintf("its end within %s after that", promptly), took)
		}
		if a.err != nil && !a.unknown() && !errors.Is(a.err, context.DeadlineExceeded) && !errors.Is(a.err, eventstore.ErrUnavailable) {
			return unexpected(what, "no error, the context's or ErrUnknownOutcome", a.err)
		}
		return nil
	})
	_, releaseErr := release()
	if err := errors.Join(err, releaseErr); err != nil {
		return err
	}
	for i, a := range attempts {
		if err := a.expectTruth(ctx, stores[i%2]); err != nil {
			return err
		}
		if a.err == nil {
			continue
		}
		if err := a.settle(ctx, stores[(i+1)%2]); err != nil {
			return err
		}
	}
	return nil
}
