package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks that what was refused was never there, for anybody.
func refusedChecks() []Check {
	return []Check{
		{
			Name: "refused/seen-by-no-subscription", Promise: 8, Core: true, Requires: globalOrder, Needs: NeedsOpenAgain,
			Sentence: "No subscription, of any handle and with any filter, live or begun later, delivers an event of an append that was refused.",
			Run:      refusedNotSubscribed,
		},
		{
			Name: "refused/seen-by-no-later-handle", Promise: 8, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Handles that are opened after an append was refused, also after all others were closed, see nothing of it: no event, no version, no ID.",
			Run:      refusedNotReopened,
		},
		{
			Name: "refused/not-after-a-crash", Promise: 8, Needs: NeedsRestart, Requires: durable,
			Sentence: "What was refused is not there after a crash either.",
			Run:      func(ctx context.Context, env *Env) error { return refusedNotAfter(ctx, env, env.Restart) },
		},
	}
}

// refusals makes an append to a stream that holds stored fail in every way, and
// returns the events that were refused.
func refusals(ctx context.Context, env *Env, store *eventstore.Store, stream, absent string, stored []eventstore.Event) ([]eventstore.Event, error) {
	var refused []eventstore.Event
	fresh := func(n int) []eventstore.Event {
		events := env.Events(n)
		for i := range events {
			events[i].Type = "Refused"
		}
		refused = append(refused, events...)
		return events
	}
	changed := stored[0]
	changed.Type = "Refused"
	large := fresh(eventstore.PortableLimits().MaxAppendEvents)
	for _, try := range []struct {
		what  string
		parts []eventstore.StreamAppend
		want  error
	}{
		{"at a wrong version", []eventstore.StreamAppend{part(stream, eventstore.NoStream(), fresh(1)...)}, eventstore.ErrConflict},
		{"of many events at a wrong version", []eventstore.StreamAppend{part(stream, eventstore.Exactly(uint64(len(stored))+5), large...)}, eventstore.ErrConflict},
		{"to an absent stream that is to exist", []eventstore.StreamAppend{part(absent, eventstore.StreamExists(), fresh(2)...)}, eventstore.ErrConflict},
		{"with other content", []eventstore.StreamAppend{part(stream, eventstore.Any(), changed)}, eventstore.ErrEventIDReused},
		{"whose last event is stored", []eventstore.StreamAppend{part(stream, eventstore.Any(), append(fresh(3), stored[len(stored)-1])...)}, eventstore.ErrEventIDReused},
		{"whose first event is stored", []eventstore.StreamAppend{part(stream, eventstore.Any(), append([]eventstore.Event{stored[len(stored)-1]}, fresh(2)...)...)}, eventstore.ErrEventIDReused},
		{"whose second part is at a wrong version", []eventstore.StreamAppend{part(absent, eventstore.NoStream(), fresh(2)...), part(stream, eventstore.NoStream(), fresh(1)...)}, eventstore.ErrConflict},
		{"whose first part is at a wrong version", []eventstore.StreamAppend{part(stream, eventstore.NoStream(), fresh(1)...), part(absent, eventstore.NoStream(), fresh(2)...)}, eventstore.ErrConflict},
	} {
		if len(try.parts) > 1 && !env.Caps.MultiStreamAppend.Supported() {
			continue
		}
		_, err := store.AppendStreams(ctx, try.parts...)
		if err := expectError("an append "+try.what, err, try.want); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

func refusedNotSubscribed(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, absent := env.Stream("Order"), env.Stream("Cart")
	stored := env.Events(3)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored...); err != nil {
		return err
	}
	filters := []eventstore.Filter{{}, ofTypes("Refused"), ofPrefix(absent), ofCategory(eventstore.Category(stream))}
	var live []*listener
	for _, store := range stores {
		for _, filter := range filters {
			l := listen(ctx, env, store, eventstore.SubscribeOptions{Filter: filter})
			if err := l.waitCaughtUp(ctx); err != nil {
				return err
			}
			live = append(live, l)
		}
	}
	for i := range 2 {
		if _, err := refusals(ctx, env, stores[i], stream, absent, stored); err != nil {
			return err
		}
	}
	last, err := env.Store.Append(ctx, stream, eventstore.Exactly(3), env.Events(1)...)
	if err != nil {
		return err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) != 4 {
		return unexpected("ReadAll after two accepted appends and many refused ones", "4 events", len(all))
	}
	for i, l := range live {
		if err := l.waitPast(ctx, last.Position); err != nil {
			return err
		}
		opts := eventstore.SubscribeOptions{Filter: filters[i%len(filters)]}
		what := fmt.Sprintf("subscription through handle %d with the filter %+v, after appends were refused", i/len(filters)+1, opts.Filter)
		if err := expectSame(what, matchesAfter(all, opts), l.events()); err != nil {
			return err
		}
		got, err := untilCaughtUp(ctx, stores[i%2], opts)
		if err != nil {
			return err
		}
		if err := expectSame(what+", begun later", matchesAfter(all, opts), got); err != nil {
			return err
		}
	}
	return nil
}

func refusedNotReopened(ctx context.Context, env *Env) error {
	if err := refusedNotAfter(ctx, env, func(ctx context.Context) error {
		again, err := env.Again(ctx)
		env.Store = again
		return err
	}); err != nil {
		return fmt.Errorf("a handle that was opened later: %w", err)
	}
	if env.Caps.Durability == eventstore.SurvivesNothing && env.Fixture.OpenAgain == nil {
		return nil
	}
	if err := refusedNotAfter(ctx, env, env.Reopen); err != nil {
		return fmt.Errorf("a handle that was opened after all others were closed: %w", err)
	}
	return nil
}

// refusedNotAfter has appends refused, makes Store another handle, and looks there.
func refusedNotAfter(ctx context.Context, env *Env, change func(context.Context) error) error {
	stream, absent := env.Stream("Order"), env.Stream("Cart")
	stored := env.Events(3)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored...); err != nil {
		return err
	}
	before, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	refused, err := refusals(ctx, env, env.Store, stream, absent, stored)
	if err != nil {
		return err
	}
	if err := change(ctx); err != nil {
		return err
	}
	err = errors.Join(
		expectEvents(ctx, env.Store, stream, stored...),
		expectEvents(ctx, env.Store, absent),
		expectSameHead(ctx, env.Store, before))
	if err != nil {
		return err
	}
	if env.Caps.GlobalOrder.Supported() {
		found, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: before.Head.Position, Filter: ofTypes("Refused")}))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return unexpected("ReadAll of what was refused", "no event", describeRecord(found[0]))
		}
	}
	// Their IDs are those of new events.
	for at := 0; at < len(refused); at += 50 {
		events := refused[at:min(at+50, len(refused))]
		version := uint64(len(stored))
		result, err := env.Store.Append(ctx, stream, eventstore.Exactly(version), events...)
		if err != nil {
			return fmt.Errorf("append what was refused before: %w", err)
		}
		if err := expectResult("what was refused before", result, version+1, version+uint64(len(events))); err != nil {
			return err
		}
		stored = append(slices.Clone(stored), events...)
	}
	return expectEvents(ctx, env.Store, stream, stored...)
}
