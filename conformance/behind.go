package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Checks of subscriptions that fall behind, rest, or follow writers that never
// stop, and of what their signals mean.
func behindChecks() []Check {
	check := func(name string, promise int, core bool, sentence string, run func(context.Context, *Env) error) Check {
		return Check{
			Name: "subscription/" + name, Promise: promise, Core: core, Requires: globalOrder, Refused: refuseGlobalOrder,
			Needs: NeedsOpenAgain, Long: true, Sentence: sentence, Run: run,
		}
	}
	return []Check{
		check("falls-far-behind", 16, true, "A subscription that was live and falls thousands of events and several MiB behind delivers all of them, in order, each once, and is live again.", fallsBehind),
		rests(check("idle", 16, true, "A subscription that was idle for longer than several polls delivers what comes then, filtered or not, through any handle.", idleSubscription)),
		rests(needs(NeedsOpenPolling, check("idle-without-hints", 17, true, "Without notifications too, a subscription that was idle for longer than several polls delivers what comes then.", idlePolling))),
		check("signals-are-true", 16, true, "When CaughtUp or Progress names a position, every match up to it has been delivered, and none of it comes later, while writers never stop.", signalsAreTrue),
		check("two-hundred", 19, false, "Two hundred subscriptions on one store each deliver their own matches, and writers are not held up.", manySubscriptions),
	}
}

// stopAndGo is a subscription whose consumer can be held up.
type stopAndGo struct {
	*listener
	gate sync.Mutex
}

// held subscribes. While hold is locked the consumer does not return from its
// loop's body.
func held(ctx context.Context, env *Env, store *eventstore.Store, opts eventstore.SubscribeOptions) *stopAndGo {
	ctx, cancel := context.WithCancel(ctx)
	s := &stopAndGo{listener: &listener{cancel: cancel, ended: make(chan struct{}), poll: store.Capabilities().PollInterval}}
	go func() {
		defer close(s.ended)
		err := contain(func() error {
			for message, err := range store.Subscribe(ctx, opts) {
				if err != nil {
					return err
				}
				s.gate.Lock()
				s.gate.Unlock() //nolint:staticcheck // it only waits
				s.mu.Lock()
				s.messages = append(s.messages, message)
				s.mu.Unlock()
			}
			return nil
		})
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}()
	env.OnClose(func() error {
		_ = s.stop()
		return nil
	})
	return s
}

func fallsBehind(ctx context.Context, env *Env) error {
	const behind = 6000
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	filters := []eventstore.Filter{{}, ofTypes("Rare"), ofTypes("Large")}
	var subscriptions []*stopAndGo
	for i, filter := range filters {
		s := held(ctx, env, stores[i%2], eventstore.SubscribeOptions{Filter: filter})
		subscriptions = append(subscriptions, s)
		if err := s.waitCaughtUp(ctx); err != nil {
			return err
		}
	}
	stream, large := env.Stream("Order"), env.Stream("Large")
	live := func() (eventstore.Position, error) {
		result, err := stores[1].Append(ctx, stream, eventstore.Any(), env.Event("Rare"))
		return result.Position, err
	}
	for round := range 2 {
		at, err := live()
		if err != nil {
			return err
		}
		for _, s := range subscriptions { // all of them are live
			if err := s.waitPast(ctx, at); err != nil {
				return fmt.Errorf("round %d, a live subscription: %w", round+1, err)
			}
		}
		for _, s := range subscriptions {
			s.gate.Lock()
		}
		at, err = fallBehind(ctx, env, stores, stream, large, behind, live)
		for _, s := range subscriptions {
			s.gate.Unlock()
		}
		if err != nil {
			return err
		}
		for i, s := range subscriptions {
			if err := s.waitPast(ctx, at); err != nil {
				return fmt.Errorf("a subscription with the filter %+v that had been live and fell %d events behind: %w", filters[i], behind, err)
			}
		}
	}
	all, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) < 2*behind {
		return unexpected("events in ReadAll", fmt.Sprintf("more than %d", 2*behind), len(all))
	}
	for i, s := range subscriptions {
		want := choice(all, func(e eventstore.RecordedEvent) bool { return filters[i].Match(e.Stream, e.Type) }, false, 0)
		if err := expectSame(fmt.Sprintf("a subscription with the filter %+v that was live and fell behind twice", filters[i]), want, s.events()); err != nil {
			return err
		}
	}
	return nil
}

// fallBehind appends thousands of events, and 6 MiB of large ones among them.
func fallBehind(ctx context.Context, env *Env, stores [2]*eventstore.Store, stream, large string, n int, last func() (eventstore.Position, error)) (eventstore.Position, error) {
	for i := range 3 {
		if _, err := lengthen(ctx, env, stream, n/3); err != nil {
			return eventstore.Position{}, err
		}
		for range 10 {
			event := largeEvent(env, 200<<10)
			event.Type = "Large"
			if _, err := stores[i%2].Append(ctx, large, eventstore.Any(), event); err != nil {
				return eventstore.Position{}, err
			}
		}
	}
	return last()
}

// idleFor is longer than several polls.
func idleFor(env *Env) time.Duration { return max(env.Scale.Rest, 5*env.Caps.PollInterval) }

func idleSubscription(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	return staysAwake(ctx, env, stores[0], stores[1])
}

func idlePolling(ctx context.Context, env *Env) error {
	polling, err := env.Polling(ctx)
	if err != nil {
		return err
	}
	return staysAwake(ctx, env, polling, env.Store)
}

// staysAwake lets subscriptions of three kinds rest and expects the events that
// come afterwards. One had events before, one never had any.
func staysAwake(ctx context.Context, env *Env, reader, writer *eventstore.Store) error {
	stream := env.Stream("Order")
	if _, err := writer.Append(ctx, stream, eventstore.Any(), env.Event("Happened")); err != nil {
		return err
	}
	info, err := writer.Info(ctx)
	if err != nil {
		return err
	}
	var handled recorder
	run := startRun(ctx, env, reader, eventstore.Subscription{Name: "idle", Handler: handled.handle})
	listeners := map[string]*listener{
		"a subscription from the start":        listen(ctx, env, reader, eventstore.SubscribeOptions{}),
		"a subscription from the head":         listen(ctx, env, reader, eventstore.SubscribeOptions{After: info.Head.Position}),
		"a subscription that matched nothing":  listen(ctx, env, reader, eventstore.SubscribeOptions{Filter: ofTypes("Late")}),
		"a subscription that matched all":      listen(ctx, env, reader, eventstore.SubscribeOptions{Filter: ofPrefix(stream)}),
		"a subscription of the writing handle": listen(ctx, env, writer, eventstore.SubscribeOptions{}),
	}
	for what, l := range listeners {
		if err := l.waitCaughtUp(ctx); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	idle := idleFor(env)
	if err := sleep.For(ctx, idle); err != nil {
		return err
	}
	for i := range 3 {
		result, err := writer.Append(ctx, stream, eventstore.Any(), env.Event("Late"))
		if err != nil {
			return err
		}
		for what, l := range listeners {
			timed, cancel := within(ctx, l.poll+slack)
			err := l.waitPast(timed, result.Position)
			cancel()
			if err != nil {
				return fmt.Errorf("%s, event %d after it was idle for %s: %w", what, i+1, idle, err)
			}
		}
		if err := handled.waitEvents(ctx, run, 2+i); err != nil {
			return fmt.Errorf("a durable subscription that was idle for %s: %w", idle, err)
		}
	}
	for what, l := range listeners {
		want := 4
		if what == "a subscription from the head" || what == "a subscription that matched nothing" {
			want = 3
		}
		if got := len(l.events()); got != want {
			return unexpected(what+", events in all", want, got)
		}
	}
	return run.stop()
}

// signalsAreTrue has writers that never stop and subscriptions that come and go,
// and holds each signal against what turns out to be there up to its position.
func signalsAreTrue(ctx context.Context, env *Env) error {
	const writers, rounds = 4, 6
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 3)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 30, stores[:]...); err != nil {
		return err
	}
	streams := []string{env.Stream("Order"), env.Stream("Cart"), env.Stream("Order"), env.Stream("Rare")}
	var stop atomic.Bool
	written := make(chan error, 1)
	go func() {
		written <- race(writers, func(i int) error {
			for n := 0; !stop.Load(); n++ {
				kind := []string{"Placed", "Shipped", "Common", "Common", "Common"}[(n+i)%5]
				if _, err := stores[i%2].Append(ctx, streams[i], eventstore.Any(), env.Event(kind), env.Event("Common")); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	type session struct {
		opts     eventstore.SubscribeOptions
		listener *listener
	}
	filters := []eventstore.Filter{{}, ofTypes("Placed"), ofCategory(eventstore.Category(streams[1])), ofPrefix(streams[3]), ofTypes("Absent")}
	var sessions []session
	err = func() error {
		for round := range rounds {
			var begun []session
			for i, filter := range filters {
				opts := eventstore.SubscribeOptions{Filter: filter}
				if round%2 == 1 {
					info, err := stores[0].Info(ctx)
					if err != nil {
						return err
					}
					opts.After = info.Head.Position
				}
				reader := []*eventstore.Store{stores[0], stores[1], small}[(round+i)%3]
				begun = append(begun, session{opts, listen(ctx, env, reader, opts)})
			}
			for _, s := range begun {
				err := eventually(ctx, "messages of a subscription beside writers", func() (bool, error) {
					messages, err := s.listener.seen()
					return len(messages) >= 20, err
				})
				if err != nil {
					return err
				}
			}
			for _, s := range begun {
				_ = s.listener.stop()
			}
			sessions = append(sessions, begun...)
		}
		return nil
	}()
	stop.Store(true)
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	all, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	for i, s := range sessions {
		if err := expectTrueSignals(all, s.opts, s.listener.messages); err != nil {
			return fmt.Errorf("subscription %d, after %s with the filter %+v: %w", i+1, s.opts.After, s.opts.Filter, err)
		}
	}
	return nil
}

// expectTrueSignals holds each message's position against the matches in a log
// that lie up to it.
func expectTrueSignals(all []eventstore.RecordedEvent, opts eventstore.SubscribeOptions, messages []eventstore.Message) error {
	matches := choice(all, func(e eventstore.RecordedEvent) bool {
		return opts.After.Before(e.Position) && opts.Filter.Match(e.Stream, e.Type)
	}, false, 0)
	delivered, last := 0, opts.After
	for i, m := range messages {
		what := fmt.Sprintf("message %d of kind %d at position %s", i+1, m.Kind, m.Place.Position)
		if m.Place.Position.Before(last) {
			return unexpected(what, "one not before "+last.String(), m.Place.Position)
		}
		last = m.Place.Position
		if m.Kind == eventstore.MessageEvent {
			if delivered == len(matches) || !sameRecord(matches[delivered], m.Event) {
				return unexpected(what, fmt.Sprintf("match %d", delivered+1), describeRecord(m.Event))
			}
			delivered++
		}
		if delivered < len(matches) && !m.Place.Position.Before(matches[delivered].Position) {
			return unexpected(what, "every match up to it to be delivered before", "not yet: "+describeRecord(matches[delivered]))
		}
	}
	return nil
}

func manySubscriptions(ctx context.Context, env *Env) error {
	const subscriptions, kinds = 200, 20
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 10, stores[:]...); err != nil {
		return err
	}
	kind := func(i int) string { return fmt.Sprintf("Kind%d", i%kinds) }
	streams := make([]string, kinds)
	for i := range streams {
		streams[i] = env.Stream("Order")
	}
	listeners, filters := make([]*listener, subscriptions), make([]eventstore.Filter, subscriptions)
	for i := range listeners {
		filters[i] = []eventstore.Filter{ofTypes(kind(i)), ofPrefix(streams[i%kinds]), ofTypes(kind(i), kind(i+1)), {}}[i%4]
		listeners[i] = listen(ctx, env, stores[i%2], eventstore.SubscribeOptions{Filter: filters[i]})
	}
	for _, l := range listeners {
		if err := l.waitCaughtUp(ctx); err != nil {
			return fmt.Errorf("one of %d subscriptions: %w", subscriptions, err)
		}
	}
	var last eventstore.Position
	for i := range 3 * kinds {
		timed, cancel := within(ctx, promptly)
		result, err := stores[i%2].Append(timed, streams[i%kinds], eventstore.Any(), env.Event(kind(i)), env.Event("Common"))
		cancel()
		if err != nil {
			return fmt.Errorf("an append beside %d subscriptions, within %s: %w", subscriptions, promptly, err)
		}
		last = result.Position
	}
	all, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	for i, l := range listeners {
		if err := l.waitPast(ctx, last); err != nil {
			return fmt.Errorf("one of %d subscriptions, with the filter %+v: %w", subscriptions, filters[i], err)
		}
		want := choice(all, func(e eventstore.RecordedEvent) bool { return filters[i].Match(e.Stream, e.Type) }, false, 0)
		if err := expectSame(fmt.Sprintf("one of %d subscriptions, with the filter %+v", subscriptions, filters[i]), want, l.events()); err != nil {
			return err
		}
	}
	return nil
}
