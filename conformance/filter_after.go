package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Checks of a filter and a place together: what is right for each alone can be
// wrong for both.
func filterAfterChecks() []Check {
	return []Check{
		{
			Name: "filter/after-each-event", Promise: 15, Core: true, Requires: globalOrder,
			Sentence: "A filtered read after, before and between any two events gives what matches there, forward and backward, whether the event at the bound matches or not.",
			Run:      filterAfterEach,
		},
		{
			Name: "filter/subscribed-after-each-event", Promise: 16, Core: true, Requires: globalOrder, Refused: refuseGlobalOrder,
			Sentence: "A filtered subscription after any event delivers every later match and nothing else, stored or live, whether that event matches or not.",
			Run:      subscribeAfterEach,
		},
		{
			Name: "filter/many-types", Promise: 15, Requires: globalOrder,
			Sentence: "A filter of hundreds of types selects each of them and no other, read and subscribed to.",
			Run:      manyTypes,
		},
		rests(Check{
			Name: "filter/first-match-after-caught-up", Promise: 16, Core: true, Requires: globalOrder, Refused: refuseGlobalOrder, Needs: NeedsOpenAgain,
			Sentence: "A filtered subscription delivers its first and only match where that is appended within 100 ms of CaughtUp (500 subscriptions).",
			Run:      firstMatchAfterCaughtUp,
		}),
	}
}

// filtersOf are filters of each kind, and of several, that match some of a log.
func filtersOf(all []eventstore.RecordedEvent) []eventstore.Filter {
	first, last := all[0], all[len(all)-1]
	return []eventstore.Filter{
		{},
		ofCategory(eventstore.Category(first.Stream)),
		ofPrefix(last.Stream),
		ofTypes(first.Type),
		ofTypes("Absent", last.Type),
		{Categories: []string{eventstore.Category(last.Stream)}, Types: []string{first.Type, last.Type}},
		{Categories: []string{eventstore.Category(first.Stream)}, StreamPrefixes: []string{first.Stream}, Types: []string{first.Type}},
		ofTypes("Absent"),
	}
}

func filterAfterEach(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 20, env.Store)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	stores := []*eventstore.Store{env.Store, small}
	for f, filter := range filtersOf(all) {
		for i, event := range all {
			store := stores[(f+i)%2]
			bounds := []eventstore.ReadAllOptions{{After: event.Position}, {Before: event.Position}}
			if at := i + 1 + (f+i)%7; at < len(all) {
				bounds = append(bounds, eventstore.ReadAllOptions{After: event.Position, Before: all[at].Position})
			}
			for j, opts := range bounds {
				opts.Filter = filter
				for _, backward := range []bool{false, true} {
					opts.Backward, opts.Limit = backward, []int{0, 0, 1, 3}[(i+j)%4]
					if err := expectFiltered(ctx, store, all, opts); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func subscribeAfterEach(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 15, env.Store)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	stores := []*eventstore.Store{env.Store, small}
	filters := filtersOf(all)
	type session struct {
		opts eventstore.SubscribeOptions
		*listener
	}
	var live []session
	for f, filter := range filters {
		for i, event := range all {
			opts := eventstore.SubscribeOptions{After: event.Position, Filter: filter}
			got, err := untilCaughtUp(ctx, stores[(f+i)%2], opts)
			if err != nil {
				return err
			}
			if err := expectSame(fmt.Sprintf("subscription after event %d of %d with the filter %+v", i+1, len(all), filter), matchesAfter(all, opts), got); err != nil {
				return err
			}
			if i%4 == f%4 { // of these some stay, for what comes live
				live = append(live, session{opts, listen(ctx, env, stores[(f+i)%2], opts)})
			}
		}
	}
	for _, s := range live {
		if err := s.waitCaughtUp(ctx); err != nil {
			return err
		}
	}
	more, err := writeMore(ctx, env, all)
	if err != nil {
		return err
	}
	for _, s := range live {
		if err := s.waitPast(ctx, more[len(more)-1].Position); err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("live subscription after %s with the filter %+v", s.opts.After, s.opts.Filter), matchesAfter(more, s.opts), s.events()); err != nil {
			return err
		}
	}
	return nil
}

// writeMore appends another event of each type to each stream of a log, and
// returns the whole log.
func writeMore(ctx context.Context, env *Env, all []eventstore.RecordedEvent) ([]eventstore.RecordedEvent, error) {
	seen := make(map[[2]string]bool)
	for _, event := range all {
		if key := [2]string{event.Stream, event.Type}; !seen[key] {
			seen[key] = true
			if _, err := env.Store.Append(ctx, event.Stream, eventstore.Any(), env.Event(event.Type)); err != nil {
				return nil, err
			}
		}
	}
	return collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
}

func matchesAfter(all []eventstore.RecordedEvent, opts eventstore.SubscribeOptions) []eventstore.RecordedEvent {
	return choice(all, func(e eventstore.RecordedEvent) bool {
		return opts.After.Before(e.Position) && opts.Filter.Match(e.Stream, e.Type)
	}, false, 0)
}

func manyTypes(ctx context.Context, env *Env) error {
	const types = 700
	stream := env.Stream("Order")
	for at := 0; at < types; at += 50 {
		events := make([]eventstore.Event, 50)
		for i := range events {
			events[i] = env.Event(fmt.Sprintf("Kind%d", at+i))
		}
		if _, err := env.Store.Append(ctx, stream, eventstore.Any(), events...); err != nil {
			return err
		}
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) != types {
		return unexpected("events of different types", types, len(all))
	}
	for _, n := range []int{100, 128, 256, 257, 512, types - 1} {
		var first, last []string
		for i := range n {
			first, last = append(first, fmt.Sprintf("Kind%d", i)), append(last, fmt.Sprintf("Kind%d", types-1-i))
		}
		for i, filter := range []eventstore.Filter{ofTypes(first...), ofTypes(last...), {StreamPrefixes: []string{stream}, Types: last}} {
			opts := eventstore.ReadAllOptions{Filter: filter, Backward: i == 1, After: all[i].Position}
			got, err := collectAtMost(types+1, env.Store.ReadAll(ctx, opts))
			if err != nil {
				return fmt.Errorf("a filter of %d types: %w", n, err)
			}
			subscribed := eventstore.SubscribeOptions{Filter: filter, After: all[i].Position}
			want := matchesAfter(all, subscribed)
			if err := expectSame(fmt.Sprintf("a filter of %d types", n), choice(want, func(eventstore.RecordedEvent) bool { return true }, opts.Backward, 0), got); err != nil {
				return err
			}
			if got, err = untilCaughtUp(ctx, env.Store, subscribed); err != nil {
				return fmt.Errorf("a subscription with a filter of %d types: %w", n, err)
			}
			if err := expectSame(fmt.Sprintf("a subscription with a filter of %d types", n), want, got); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstMatchAfterCaughtUp has subscriptions that found nothing when they caught up.
// The match of each is appended at a moment of its own.
func firstMatchAfterCaughtUp(ctx context.Context, env *Env) error {
	const subscriptions, together, latest = 500, 50, 100 * time.Millisecond
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 10, stores[:]...); err != nil {
		return err
	}
	return race(together, func(racer int) error {
		for n := racer; n < subscriptions; n += together {
			after := time.Duration(n) * latest / subscriptions
			if err := expectFirstMatch(ctx, env, stores[n%2], stores[n/2%2], n, after); err != nil {
				return fmt.Errorf("the only match, appended %s after CaughtUp (subscription %d of %d): %w", after, n+1, subscriptions, err)
			}
		}
		return nil
	})
}

// expectFirstMatch subscribes with a filter that nothing matches, waits for so long
// once it has caught up, and expects the match that is appended then.
func expectFirstMatch(ctx context.Context, env *Env, reader, writer *eventstore.Store, n int, after time.Duration) error {
	kind := fmt.Sprintf("First%d", n)
	stream := env.StreamID(kind, 1)
	filter := []eventstore.Filter{ofCategory(eventstore.Category(stream)), ofPrefix(stream), ofTypes(kind)}[n%3]
	l := listen(ctx, env, reader, eventstore.SubscribeOptions{Filter: filter})
	defer func() { _ = l.stop() }()
	if err := l.waitCaughtUp(ctx); err != nil {
		return err
	}
	if err := sleep.For(ctx, after); err != nil {
		return err
	}
	result, err := writer.Append(ctx, stream, eventstore.NoStream(), env.Event(kind))
	if err != nil {
		return err
	}
	if err := l.waitEvents(ctx, 1); err != nil {
		return err
	}
	return expectSame(fmt.Sprintf("a subscription with the filter %+v", filter), result.Events, l.events())
}
