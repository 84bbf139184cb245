package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// What the checks of reads and subscriptions begin with: a log whose order is
// known because one writer wrote it.

// writeLog makes n appends of one to three events to four streams, in turns
// through each store, and returns every event in the global order. What ReadAll
// finds is compared with what was appended before it is returned.
func writeLog(ctx context.Context, env *Env, n int, stores ...*eventstore.Store) ([]eventstore.RecordedEvent, error) {
	streams := []string{env.Stream("Order"), env.Stream("Cart"), env.Stream("Order"), env.odd("Plain")[0]}
	types := []string{"Placed", "Shipped", "Cancelled"}
	var appended []eventstore.RecordedEvent
	versions := make(map[string]uint64)
	for i := range n {
		stream := streams[env.Rand.IntN(len(streams))]
		events := make([]eventstore.Event, 1+i%3)
		for j := range events {
			events[j] = env.Event(types[env.Rand.IntN(len(types))])
		}
		result, err := stores[i%len(stores)].Append(ctx, stream, eventstore.Exactly(versions[stream]), events...)
		if err != nil {
			return nil, err
		}
		for j, event := range events {
			versions[stream]++
			recorded := eventstore.RecordedEvent{Event: event, Stream: stream, Version: versions[stream]}
			if j == len(events)-1 {
				recorded.Position = result.Position
			}
			appended = append(appended, recorded)
		}
	}
	all, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return nil, err
	}
	return all, expectAppended(all, appended)
}

// expectAppended returns an error unless all holds exactly what was appended, in
// that order. A position of zero in appended is one that the writer did not learn.
func expectAppended(all, appended []eventstore.RecordedEvent) error {
	if len(all) != len(appended) {
		return unexpected("ReadAll after one writer", fmt.Sprintf("%d events", len(appended)), len(all))
	}
	for i, want := range appended {
		got := all[i]
		if got.Stream != want.Stream || got.Version != want.Version || got.ID != want.ID || !got.SameContent(want.Event) {
			return unexpected(fmt.Sprintf("ReadAll after one writer, event %d", i+1), describeRecord(want), describeRecord(got))
		}
		if !want.Position.IsZero() && got.Position != want.Position {
			return unexpected(fmt.Sprintf("the position of the last event of an append (event %d)", i+1), want.Position, got.Position)
		}
	}
	return expectIncreasing("ReadAll", all)
}

// collectAtMost is collect for a read that a broken backend may never end: it
// stops after n events, one more than there can be.
func collectAtMost(n int, seq iter.Seq2[eventstore.RecordedEvent, error]) ([]eventstore.RecordedEvent, error) {
	var all []eventstore.RecordedEvent
	for event, err := range seq {
		if err != nil {
			return all, err
		}
		if all = append(all, event); len(all) == n {
			break
		}
	}
	return all, nil
}

// expectIncreasing returns an error unless the positions rise strictly from above zero.
func expectIncreasing(what string, events []eventstore.RecordedEvent) error {
	var last eventstore.Position
	for i, event := range events {
		if !last.Before(event.Position) {
			return unexpected(fmt.Sprintf("%s, the position of event %d", what, i+1), fmt.Sprintf("one after %s", last), event.Position)
		}
		last = event.Position
	}
	return nil
}

// pagedStore returns a Store over the first handle's backend with its own page size.
func pagedStore(env *Env, size int) (*eventstore.Store, error) {
	return env.NewStore(env.Fixture.Backend, eventstore.Options{PageSize: size})
}

// needs is the check with a hook that it cannot do without.
func needs(hook Hook, check Check) Check {
	check.Needs = hook
	return check
}

// eachRacers runs a part of a check several times, with increasing numbers of
// racers, on the same store.
func eachRacers(ctx context.Context, run func(ctx context.Context, racers int) error) error {
	for _, racers := range []int{2, 8, 32} {
		if err := run(ctx, racers); err != nil {
			return fmt.Errorf("%d racers: %w", racers, err)
		}
	}
	return nil
}

// refuseGlobalOrder proves that a store without a global order says so.
func refuseGlobalOrder(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 2, 2); err != nil {
		return err
	}
	_, read := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	_, subscribed := collect(env.Store.Subscribe(ctx, eventstore.SubscribeOptions{}))
	ran := env.Store.Run(ctx, eventstore.Subscription{
		Name:    "refused",
		Handler: func(context.Context, eventstore.RecordedEvent) error { return nil },
	})
	return errors.Join(
		expectError("ReadAll", read, eventstore.ErrUnsupported),
		expectError("Subscribe", subscribed, eventstore.ErrUnsupported),
		expectError("Run", ran, eventstore.ErrUnsupported),
	)
}

// hostileStreams are stream IDs that careless queries confuse with each other:
// wildcards, quotes, case, categories without a dash, ends of code point ranges,
// two spellings of one letter, and prefixes of each other after which a mark combines
// with the last letter, a character is not seen, or only the last letter's case differs.
func hostileStreams() []string {
	return []string{
		"Order", "Order-1", "order-1", "Orders-1", "Order-10", "Order-1 ", "Order-1-2", "-1",
		"Ord%r-1", "Ord_r-1", `Ord\r-1`, `Ord\%r-1`, "Ord'r-1", `Ord"r-1`, "Ord*r-1", "Ord?r-1", "Ord[a-z]r-1",
		"'; DROP TABLE events; --", "Z\U0010ffff-1", "Z\U0010ffff\U0010ffff", "Z\uffff-1", "Z\u07ff-1", "Z\u007e-1", "[",
		"Caf\u00e9-1", "Cafe\u0301-1", "Cafe-1", "CafE-1", "Ca\u00adfe-1", "Cafe\u00ad-1", "Cafk-1", "CafK-1", "Caf\u212a-1", "\u202eOrder-1", "Größe-1", "注文-1",
	}
}

// hostileTypes are event types of the same kind.
func hostileTypes() []string {
	return []string{"Placed", "placed", "Pla_ed", "Pla%", "%", "_", `Pla\ced`, "Pla'ced", "Placed,Shipped", "Placed ", "Pl\u00e4ced", "Pla\u0308ced", "Placed\U0010ffff"}
}

// writeHostile gives each hostile stream its own number of events of each
// hostile type in turn, and returns the log.
func writeHostile(ctx context.Context, env *Env) ([]eventstore.RecordedEvent, error) {
	types, next := env.oddTypes(hostileTypes()...), 0
	for i, stream := range env.odd(hostileStreams()...) {
		events := make([]eventstore.Event, 1+i%4)
		for j := range events {
			events[j] = env.Event(types[next%len(types)])
			next++
		}
		if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
			return nil, err
		}
	}
	return collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
}

// prefixes are all prefixes of a text that end between code points.
func prefixes(text string) []string {
	var all []string
	for i := range text {
		if i > 0 {
			all = append(all, text[:i])
		}
	}
	return append(all, text)
}
