package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func subscriptionChecks() []Check {
	check := func(name string, promise int, sentence string, run func(context.Context, *Env) error) Check {
		return Check{Name: "subscription/" + name, Promise: promise, Requires: globalOrder, Refused: refuseGlobalOrder, Sentence: sentence, Run: run}
	}
	core := func(c Check) Check { c.Core = true; return c }
	return slices.Concat([]Check{
		core(check("from-the-start", 16, "A subscription from the zero position delivers every event, in order, each once.", fromTheStart)),
		core(check("from-any-position", 16, "From any position: every later event, in order; batches are not torn by resuming inside them.", fromAnyPosition)),
		needs(NeedsOpenAgain, core(check("resume", 16, "Leaving after any message and subscribing after its position goes on without loss or repetition.", resumeAnywhere))),
		check("caught-up", 16, "CaughtUp comes once, when everything stored at the start has been delivered, also in an empty store.", caughtUp),
		needs(NeedsOpenAgain, check("caught-up-under-writers", 16, "CaughtUp comes while writers outrun the subscription: it waits for what was stored at the start and for nothing else.", caughtUpUnderWriters)),
		needs(NeedsOpenAgain, check("progress", 16, "A filter that matches nothing still yields the position that was considered, while others write, and it can be resumed from.", progressWithoutMatch)),
		needs(NeedsOpenAgain, core(check("sees-other-handles", 16, "A live subscription delivers what another handle appends, within the declared poll interval.", seesOtherHandles))),
		needs(NeedsOpenAgain, check("live-push", 17, "A backend that declares LivePush delivers an event of any handle before the next poll.", livePush)),
		needs(NeedsOpenPolling, check("without-hints", 17, "With every notification lost, delivery still completes within the poll interval.", withoutHints)),
		check("cancelled", 20, "A cancelled context ends a subscription promptly with the context's error, while it waits and while it catches up.", cancelSubscription),
		needs(NeedsOpenAgain, check("closed", 20, "Closing the store ends its subscriptions promptly with ErrClosed.", closeSubscription)),
	}, handOverChecks(), consumerChecks())
}

func fromTheStart(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 20, env.Store)
	if err != nil {
		return err
	}
	for _, size := range []int{1, 3, 500} {
		store, err := pagedStore(env, size)
		if err != nil {
			return err
		}
		got, err := untilCaughtUp(ctx, store, eventstore.SubscribeOptions{})
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("subscription from the start in pages of %d", size), all, got); err != nil {
			return err
		}
	}
	return nil
}

func caughtUpUnderWriters(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 10, stores[:]...)
	if err != nil {
		return err
	}
	store, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	stream, delivered, most := env.Stream("Order"), 0, 10*len(all)
	err = follow(ctx, store, eventstore.SubscribeOptions{}, func(m eventstore.Message) (bool, error) {
		if m.Kind != eventstore.MessageEvent {
			return m.Kind == eventstore.MessageCaughtUp, nil
		}
		if delivered++; delivered > most {
			return false, unexpected("events before CaughtUp, two of which were appended for each", fmt.Sprintf("at most %d, ten times what was stored", most), delivered)
		}
		_, err := stores[1].Append(ctx, stream, eventstore.Any(), env.Events(2)...)
		return false, err
	})
	if err == nil && delivered < len(all) {
		err = unexpected("events before CaughtUp", fmt.Sprintf("the %d that were stored", len(all)), delivered)
	}
	return err
}

// untilCaughtUp returns the events that a subscription delivers before CaughtUp.
func untilCaughtUp(ctx context.Context, store *eventstore.Store, opts eventstore.SubscribeOptions) ([]eventstore.RecordedEvent, error) {
	var events []eventstore.RecordedEvent
	err := follow(ctx, store, opts, func(m eventstore.Message) (bool, error) {
		if m.Kind == eventstore.MessageEvent {
			events = append(events, m.Event)
			if m.Place.Position != m.Event.Position {
				return false, unexpected("position of a message with an event", m.Event.Position, m.Place.Position)
			}
		}
		return m.Kind == eventstore.MessageCaughtUp, nil
	})
	return events, err
}

func fromAnyPosition(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 12, env.Store)
	if err != nil {
		return err
	}
	for i, event := range all {
		got, err := untilCaughtUp(ctx, env.Store, eventstore.SubscribeOptions{After: event.Position})
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("subscription after event %d of %d", i+1, len(all)), all[i+1:], got); err != nil {
			return err
		}
	}
	return nil
}

func resumeAnywhere(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 15, stores[:]...)
	if err != nil {
		return err
	}
	for n := 1; n <= 4; n++ { // leave after every n-th message
		var got []eventstore.RecordedEvent
		var after eventstore.Position
		for session := 0; len(got) < len(all); session++ {
			if session > 4*len(all) {
				return unexpected("subscriptions that are left after each message", "progress", fmt.Sprintf("%d of %d events in %d sessions", len(got), len(all), session))
			}
			left := n
			err := follow(ctx, stores[session%2], eventstore.SubscribeOptions{After: after}, func(m eventstore.Message) (bool, error) {
				if m.Kind == eventstore.MessageEvent {
					got = append(got, m.Event)
				}
				after = m.Place.Position
				left--
				return left == 0 || len(got) == len(all), nil
			})
			if err != nil {
				return err
			}
		}
		if err := expectSame(fmt.Sprintf("subscriptions left after every %d messages, put together", n), all, got); err != nil {
			return err
		}
	}
	return nil
}

func caughtUp(ctx context.Context, env *Env) error {
	empty := listen(ctx, env, env.Store, eventstore.SubscribeOptions{})
	if err := empty.waitCaughtUp(ctx); err != nil {
		return fmt.Errorf("in an empty store: %w", err)
	}
	all, err := writeLog(ctx, env, 6, env.Store)
	if err != nil {
		return err
	}
	full := listen(ctx, env, env.Store, eventstore.SubscribeOptions{})
	if err := full.waitCaughtUp(ctx); err != nil {
		return err
	}
	result, err := env.Store.Append(ctx, env.Stream("Order"), eventstore.NoStream(), env.Event("Happened"))
	if err != nil {
		return err
	}
	for _, l := range []*listener{empty, full} {
		if err := l.waitPast(ctx, result.Position); err != nil {
			return err
		}
	}
	for _, session := range []struct {
		name     string
		listener *listener
		before   int // events that must come before CaughtUp
	}{{"a subscription to an empty store", empty, 0}, {"a subscription to a full store", full, len(all)}} {
		messages, err := session.listener.seen()
		if err != nil {
			return err
		}
		at := slices.IndexFunc(messages, func(m eventstore.Message) bool { return m.Kind == eventstore.MessageCaughtUp })
		if got := len(eventsOf(messages[:at])); got != session.before {
			return unexpected(session.name+", events before CaughtUp", session.before, got)
		}
		if slices.ContainsFunc(messages[at+1:], func(m eventstore.Message) bool { return m.Kind == eventstore.MessageCaughtUp }) {
			return unexpected(session.name, "one CaughtUp", "another one")
		}
		if got := len(eventsOf(messages)); got != len(all)+1 {
			return unexpected(session.name+", events in all", len(all)+1, got)
		}
	}
	return nil
}

func progressWithoutMatch(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	filter := ofCategory(eventstore.Category(env.StreamID("Rare", 1)))
	l := listen(ctx, env, env.Store, eventstore.SubscribeOptions{Filter: filter})
	if err := l.waitCaughtUp(ctx); err != nil {
		return err
	}
	stream := env.Stream("Order")
	for i := range 5 {
		result, err := stores[i%2].Append(ctx, stream, eventstore.Any(), env.Events(3)...)
		if err != nil {
			return err
		}
		if err := l.waitPast(ctx, result.Position); err != nil {
			return fmt.Errorf("while nothing matches: %w", err)
		}
	}
	if n := len(l.events()); n != 0 {
		return unexpected("events of a subscription whose filter matches nothing", 0, n)
	}
	// Each place that it named is one to resume from: what comes later is found from there.
	if _, err := env.Store.Append(ctx, env.StreamID("Rare", 1), eventstore.NoStream(), env.Event("Happened")); err != nil {
		return err
	}
	messages, err := l.seen()
	if err != nil {
		return err
	}
	for _, message := range messages {
		if message.Kind == eventstore.MessageEvent {
			continue // it matched already
		}
		got, err := untilCaughtUp(ctx, env.Store, eventstore.SubscribeOptions{After: message.Place.Position, Filter: filter})
		if err != nil {
			return err
		}
		if len(got) != 1 {
			return unexpected(fmt.Sprintf("subscription resumed after position %s, before the only match", message.Place.Position), "1 event", len(got))
		}
	}
	return nil
}

func seesOtherHandles(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for i, store := range stores {
		if err := deliversWithin(ctx, env, store, stores[1-i], store.Capabilities().PollInterval+slack, 3); err != nil {
			return fmt.Errorf("subscription through handle %d, append through the other: %w", i+1, err)
		}
	}
	return nil
}

// deliversWithin appends n times through writer and expects that a live
// subscription through reader delivers each event in time.
func deliversWithin(ctx context.Context, env *Env, reader, writer *eventstore.Store, limit time.Duration, n int) error {
	l := listen(ctx, env, reader, eventstore.SubscribeOptions{})
	defer func() { _ = l.stop() }()
	if err := l.waitCaughtUp(ctx); err != nil {
		return err
	}
	before := len(l.events())
	stream := env.Stream("Order")
	for i := range n {
		if _, err := writer.Append(ctx, stream, eventstore.Any(), env.Event("Happened")); err != nil {
			return err
		}
		timed, cancel := within(ctx, limit)
		err := l.waitEvents(timed, before+i+1)
		cancel()
		if err != nil {
			return fmt.Errorf("delivery within %s: %w", limit, err)
		}
	}
	return nil
}

// livePush measures several deliveries, because a poll may happen to come at
// once. The fastest half must beat the poll interval by far.
func livePush(ctx context.Context, env *Env) error {
	if !env.Caps.LivePush.Supported() {
		return nil // subscription/sees-other-handles holds it to its poll interval
	}
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	poll := env.Caps.PollInterval
	if poll == 0 {
		poll = slack
	}
	if poll < 200*time.Millisecond {
		return nil // a poll is as fast as a push
	}
	const n = 5
	fast := 0
	l := listen(ctx, env, stores[0], eventstore.SubscribeOptions{})
	if err := l.waitCaughtUp(ctx); err != nil {
		return err
	}
	for i := range n {
		start := time.Now()
		if _, err := stores[1].Append(ctx, env.StreamID("Order", 1), eventstore.Any(), env.Event("Happened")); err != nil {
			return err
		}
		if err := l.waitEvents(ctx, i+1); err != nil {
			return err
		}
		if time.Since(start) < poll/2 {
			fast++
		}
	}
	if fast <= n/2 {
		return unexpected(fmt.Sprintf("deliveries of another handle's events in less than half the poll interval of %s", poll), fmt.Sprintf("most of %d", n), fast)
	}
	return nil
}

func withoutHints(ctx context.Context, env *Env) error {
	polling, err := env.Polling(ctx)
	if err != nil {
		return err
	}
	limit := polling.Capabilities().PollInterval + slack
	for name, writer := range map[string]*eventstore.Store{"its own handle": polling, "another handle": env.Store} {
		if err := deliversWithin(ctx, env, polling, writer, limit, 3); err != nil {
			return fmt.Errorf("without notifications, append through %s: %w", name, err)
		}
	}
	return nil
}

func cancelSubscription(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 10, 5); err != nil {
		return err
	}
	waiting := listen(ctx, env, env.Store, eventstore.SubscribeOptions{})
	if err := waiting.waitCaughtUp(ctx); err != nil {
		return err
	}
	err, late := returnsPromptly("a waiting subscription whose context was cancelled", waiting.stop)
	if late != nil {
		return late
	}
	if err := expectError("a waiting subscription whose context was cancelled", err, context.Canceled); err != nil {
		return err
	}
	catching, cancel := context.WithCancel(ctx)
	defer cancel()
	var failures []error
	_, late = returnsPromptly("a subscription that was cancelled while it caught up", func() error {
		for _, err := range env.Store.Subscribe(catching, eventstore.SubscribeOptions{}) {
			if err != nil {
				failures = append(failures, err)
			}
			cancel()
		}
		return nil
	})
	if late != nil {
		return late
	}
	if len(failures) != 1 {
		return unexpected("errors of a subscription that was cancelled while it caught up", 1, len(failures))
	}
	return expectError("a subscription that was cancelled while it caught up", failures[0], context.Canceled)
}

func closeSubscription(ctx context.Context, env *Env) error {
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	closing, staying := listen(ctx, env, again, eventstore.SubscribeOptions{}), listen(ctx, env, env.Store, eventstore.SubscribeOptions{})
	for _, l := range []*listener{closing, staying} {
		if err := l.waitCaughtUp(ctx); err != nil {
			return err
		}
	}
	err, late := returnsPromptly("a subscription whose store was closed", func() error {
		err := again.Close()
		<-closing.ended
		return err
	})
	if err := errors.Join(late, err); err != nil {
		return err
	}
	if err := expectError("a subscription whose store was closed", closing.stop(), eventstore.ErrClosed); err != nil {
		return err
	}
	if _, err := env.Store.Append(ctx, env.Stream("Order"), eventstore.NoStream(), env.Event("Happened")); err != nil {
		return err
	}
	return staying.waitEvents(ctx, 1)
}
