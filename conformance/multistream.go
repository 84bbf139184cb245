package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func multiStreamChecks() []Check {
	checks := []Check{
		{
			Name:     "multi/all-written",
			Sentence: "An append to several streams writes all its parts, in their order and together in the global order.",
			Run:      writesAllParts,
		},
		{
			Name:     "multi/same-stream-twice",
			Sentence: "A stream may occur twice in one append: the later part sees what the earlier one wrote.",
			Run:      sameStreamTwice,
		},
		{
			Name:     "multi/one-conflict-fails-all",
			Sentence: "One part's conflict or reused ID fails the whole append, and nothing of it is written.",
			Run:      oneErrorFailsAll,
		},
		{
			Name:     "multi/duplicates-and-new",
			Sentence: "A part that repeats an earlier append writes nothing and returns its result, while the other parts are written.",
			Run:      duplicatesAndNew,
		},
		{
			Name: "multi/never-torn", Needs: NeedsOpenAgain,
			Sentence: "No reader ever sees one part of an append without the others.",
			Run:      neverTorn,
		},
		{
			Name: "multi/opposite-orders", Needs: NeedsOpenAgain,
			Sentence: "Appends that name the same streams in opposite orders all succeed.",
			Run:      oppositeOrders,
		},
	}
	checks = append(checks, expectationOnlyChecks()...)
	for i := range checks {
		checks[i].Promise = 10
		checks[i].Requires, checks[i].Refused = multiStreamAppend, refusesMultiStream
	}
	return checks
}

func part(stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) eventstore.StreamAppend {
	return eventstore.StreamAppend{Stream: stream, Expected: expected, Events: events}
}

func refusesMultiStream(ctx context.Context, env *Env) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	a, b := env.Stream("Order"), env.Stream("Cart")
	_, err = store.AppendStreams(ctx, part(a, eventstore.Any(), env.Event("Happened")), part(b, eventstore.Any(), env.Event("Happened")))
	const what = "an append to two streams"
	if err := errors.Join(expectUnsupported(what, err, env.Caps.MultiStreamAppend), spy.expectNoCalls(what)); err != nil {
		return err
	}
	return errors.Join(expectEvents(ctx, env.Store, a), expectEvents(ctx, env.Store, b))
}

func writesAllParts(ctx context.Context, env *Env) error {
	streams := []string{env.Stream("Zebra"), env.Stream("Ant"), env.Stream("Mole")}
	var parts []eventstore.StreamAppend
	var events []eventstore.Event
	shared := env.Event("Shared") // in another stream it is another event
	for i, stream := range streams {
		own := append(env.Events(i+1), shared)
		parts = append(parts, part(stream, eventstore.NoStream(), own...))
		events = append(events, own...)
	}
	results, err := env.Store.AppendStreams(ctx, parts...)
	if err != nil {
		return err
	}
	var last eventstore.Position
	for i, p := range parts {
		if err := expectEvents(ctx, env.Store, p.Stream, p.Events...); err != nil {
			return err
		}
		if err := expectResult(fmt.Sprintf("result of part %d", i+1), results[i], 1, uint64(len(p.Events))); err != nil {
			return err
		}
		if !last.Before(results[i].Position) {
			return unexpected(fmt.Sprintf("position of part %d", i+1), fmt.Sprintf("one after %s", last), results[i].Position)
		}
		last = results[i].Position
	}
	if !env.Caps.GlobalOrder.Supported() {
		return nil
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) != len(events) {
		return unexpected("ReadAll after one append", fmt.Sprintf("%d events", len(events)), len(all))
	}
	for i, event := range events {
		if all[i].ID != event.ID {
			return unexpected(fmt.Sprintf("event %d of the global order, in the order of the parts", i+1), event.ID, all[i].ID)
		}
	}
	return nil
}

func sameStreamTwice(ctx context.Context, env *Env) error {
	a, b := env.Stream("Order"), env.Stream("Cart")
	first, between, second, third := env.Events(2), env.Events(1), env.Events(3), env.Events(1)
	results, err := env.Store.AppendStreams(ctx,
		part(a, eventstore.NoStream(), first...),
		part(b, eventstore.NoStream(), between...),
		part(a, eventstore.Exactly(2), second...),
		part(a, eventstore.StreamExists(), third...),
	)
	if err != nil {
		return err
	}
	for i, want := range [][2]uint64{{1, 2}, {1, 1}, {3, 5}, {6, 6}} {
		if got := [2]uint64{firstVersion(results[i]), results[i].Version}; got != want || results[i].Duplicate {
			return unexpected(fmt.Sprintf("first and last version of part %d", i+1), want, fmt.Sprintf("%+v", results[i]))
		}
	}
	if err := expectEvents(ctx, env.Store, a, slices.Concat(first, second, third)...); err != nil {
		return err
	}
	// An expectation that only held before the append's own first part is a conflict.
	c := env.Stream("Order")
	_, err = env.Store.AppendStreams(ctx, part(c, eventstore.NoStream(), env.Events(2)...), part(c, eventstore.NoStream(), env.Events(1)...))
	if err := expectConflict("a second part that expects no stream after the first one", err, c, eventstore.NoStream(), 2); err != nil {
		return err
	}
	return expectEvents(ctx, env.Store, c)
}

func oneErrorFailsAll(ctx context.Context, env *Env) error {
	stored := env.Stream("Order")
	events := env.Events(3)
	if _, err := env.Store.Append(ctx, stored, eventstore.NoStream(), events...); err != nil {
		return err
	}
	conflicting := part(stored, eventstore.Exactly(1), env.Event("Happened"))
	changed := events[1]
	changed.Data = []byte(`{"changed":true}`)
	reusing := part(stored, eventstore.Any(), changed)
	for place := range 3 {
		for _, bad := range []struct {
			name string
			part eventstore.StreamAppend
		}{{"a conflict", conflicting}, {"a reused event ID", reusing}} {
			fresh := []string{env.Stream("Cart"), env.Stream("Cart")}
			parts := []eventstore.StreamAppend{
				part(fresh[0], eventstore.NoStream(), env.Events(2)...),
				part(fresh[1], eventstore.Any(), env.Events(1)...),
			}
			parts = slices.Insert(parts, place, bad.part)
			what := fmt.Sprintf("an append whose part %d of 3 has %s", place+1, bad.name)
			_, err := env.Store.AppendStreams(ctx, parts...)
			if bad.name == "a conflict" {
				err = expectConflict(what, err, stored, eventstore.Exactly(1), 3)
			} else {
				err = expectError(what, err, eventstore.ErrEventIDReused)
			}
			if err != nil {
				return err
			}
			for _, stream := range fresh {
				if err := expectEvents(ctx, env.Store, stream); err != nil {
					return fmt.Errorf("after %s: %w", what, err)
				}
			}
			if err := expectEvents(ctx, env.Store, stored, events...); err != nil {
				return fmt.Errorf("after %s: %w", what, err)
			}
		}
	}
	return nil
}

func duplicatesAndNew(ctx context.Context, env *Env) error {
	a, b, c := env.Stream("Order"), env.Stream("Order"), env.Stream("Order")
	old, fresh, last := env.Events(2), env.Events(2), env.Events(1)
	original, err := env.Store.Append(ctx, a, eventstore.NoStream(), old...)
	if err != nil {
		return err
	}
	original.Duplicate = true
	parts := []eventstore.StreamAppend{
		part(b, eventstore.NoStream(), fresh...),
		part(a, eventstore.NoStream(), old...), // stored already, so its expectation does not count
		part(c, eventstore.NoStream(), last...),
	}
	results, err := env.Store.AppendStreams(ctx, parts...)
	if err != nil {
		return fmt.Errorf("an append with one part that is stored already: %w", err)
	}
	if !sameResult(results[1], original) {
		return unexpected("result of the part that is stored already", describeResult(original), describeResult(results[1]))
	}
	if results[0].Duplicate || results[2].Duplicate {
		return unexpected("results of the new parts", "no duplicates", fmt.Sprintf("%+v", results))
	}
	again, err := env.Store.AppendStreams(ctx, parts...)
	if err != nil {
		return fmt.Errorf("the same append again: %w", err)
	}
	for i := range results {
		results[i].Duplicate = true
	}
	if !slices.EqualFunc(again, results, sameResult) {
		return unexpected("results of the same append again", fmt.Sprintf("%+v", results), fmt.Sprintf("%+v", again))
	}
	return errors.Join(
		expectEvents(ctx, env.Store, a, old...),
		expectEvents(ctx, env.Store, b, fresh...),
		expectEvents(ctx, env.Store, c, last...),
	)
}

func neverTorn(ctx context.Context, env *Env) error {
	const appends, readers = 60, 4
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	a, b := env.Stream("Order"), env.Stream("Cart")
	ids := make([][2]eventstore.Event, appends)
	for i := range ids {
		ids[i] = [2]eventstore.Event{env.Event("Happened"), env.Event("Happened")}
	}
	written := make(chan struct{})
	return race(1+readers, func(i int) error {
		if i == 0 {
			defer close(written)
			for _, events := range ids {
				if _, err := env.Store.AppendStreams(ctx, part(a, eventstore.Any(), events[0]), part(b, eventstore.Any(), events[1])); err != nil {
					return err
				}
			}
			return nil
		}
		store := []*eventstore.Store{env.Store, again}[i%2]
		// The stream that is read later has at least as many events: each append
		// made both longer by one.
		sooner, later := a, b
		if i > readers/2 {
			sooner, later = b, a
		}
		for last := false; !last; {
			select {
			case <-written:
				last = true // and a look at what there is in the end
			default:
			}
			first, err := store.StreamVersion(ctx, sooner)
			if err != nil {
				return err
			}
			second, err := store.StreamVersion(ctx, later)
			if err != nil {
				return err
			}
			if second < first {
				return unexpected(fmt.Sprintf("version of %q, read after %q was at %d; each append wrote one event to both", later, sooner, first), fmt.Sprintf("%d or more", first), second)
			}
		}
		return nil
	})
}

func oppositeOrders(ctx context.Context, env *Env) error {
	const racers, rounds = 8, 10
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	streams := []string{env.Stream("Order"), env.Stream("Order"), env.Stream("Order")}
	err = race(racers, func(i int) error {
		store := []*eventstore.Store{env.Store, again}[i%2]
		for range rounds {
			var parts []eventstore.StreamAppend
			for _, stream := range streams {
				parts = append(parts, part(stream, eventstore.Any(), env.Event("Happened")))
			}
			if i/2%2 == 1 {
				slices.Reverse(parts)
			}
			if _, err := store.AppendStreams(ctx, parts...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, stream := range streams {
		version, err := env.Store.StreamVersion(ctx, stream)
		if err != nil {
			return err
		}
		if version != racers*rounds {
			return unexpected(fmt.Sprintf("version of %q", stream), racers*rounds, version)
		}
	}
	return nil
}
