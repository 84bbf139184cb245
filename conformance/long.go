package conformance

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of what holds in a short stream and must hold in a long one.
func longChecks() []Check {
	return []Check{
		{
			Name: "long/stream", Promise: 11, Core: true, Long: true, Needs: NeedsOpenAgain,
			Sentence: "A stream of tens of thousands of events is read whole, forward and backward, and from any version, through every handle; its version is that of its last event.",
			Run:      longStream,
		},
		{
			Name: "long/stale-handle", Promise: 2, Core: true, Long: true, Needs: NeedsOpenAgain,
			Sentence: "What a handle knew of a long stream before another handle wrote decides nothing: expectations are judged against the stream as it is.",
			Run:      staleHandle,
		},
		{
			Name: "long/ids-met-again", Promise: 5, Core: true, Long: true, Needs: NeedsOpenAgain,
			Sentence: "An append is recognised tens of thousands of events later, of its stream and of others, as far back as the declared window.",
			Run:      idsMetAgain,
		},
		{
			Name: "long/large-events", Promise: 15, Core: true, Long: true, Needs: NeedsOpenAgain,
			Sentence: "A stream of several MiB is read whole, forward, backward and from near its end, with the page sizes that users have.",
			Run:      largeEvents,
		},
	}
}

func longStream(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	events, err := lengthen(ctx, env, stream, env.Scale.LongEvents)
	if err != nil {
		return err
	}
	last := uint64(len(events))
	for i, store := range stores {
		what := fmt.Sprintf("through handle %d", i+1)
		if err := expectLong(ctx, what, store, stream, events, i == 1); err != nil {
			return err
		}
		version, err := store.StreamVersion(ctx, stream)
		if err != nil {
			return err
		}
		if version != last {
			return unexpected("version of a long stream "+what, last, version)
		}
	}
	for i, at := range turns(last) {
		for _, opts := range []eventstore.ReadOptions{
			{After: at - 1, Limit: 2},
			{Before: at + 1, Backward: true, Limit: 2},
			{After: at, Before: at + 3},
			{After: max(at, 3) - 3, Before: at, Backward: true},
		} {
			if err := expectPart(ctx, stores[i%2], stream, events, opts); err != nil {
				return err
			}
		}
	}
	return nil
}

// expectLong reads a stream whole and compares event by event, so that it takes
// no more memory than the stream's events.
func expectLong(ctx context.Context, what string, store *eventstore.Store, stream string, events []eventstore.Event, backward bool) error {
	n := 0
	for got, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{Backward: backward}) {
		if err != nil {
			return fmt.Errorf("a long stream %s, after %d events: %w", what, n, err)
		}
		if n == len(events) {
			return unexpected("a long stream "+what, fmt.Sprintf("%d events", len(events)), "more")
		}
		i := n
		if backward {
			i = len(events) - 1 - n
		}
		if err := expectEvent(got, stream, uint64(i)+1, events[i]); err != nil {
			return fmt.Errorf("a long stream %s, event %d of the read: %w", what, n+1, err)
		}
		n++
	}
	if n != len(events) {
		return unexpected(fmt.Sprintf("a long stream %s, backward %t", what, backward), fmt.Sprintf("%d events", len(events)), n)
	}
	return nil
}

// expectPart reads a part of a stream and compares it with the same part of events.
func expectPart(ctx context.Context, store *eventstore.Store, stream string, events []eventstore.Event, opts eventstore.ReadOptions) error {
	what := fmt.Sprintf("a stream of %d events read with %+v", len(events), opts)
	got, err := collect(store.ReadStream(ctx, stream, opts))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	first, last := opts.After+1, uint64(len(events))
	if opts.Before > 0 {
		last = min(last, opts.Before-1)
	}
	var want []uint64
	for v := first; v <= last; v++ {
		want = append(want, v)
		if opts.Backward {
			want[len(want)-1] = last - (v - first)
		}
		if len(want) == opts.Limit {
			break
		}
	}
	if len(got) != len(want) {
		return unexpected(what, fmt.Sprintf("%d events", len(want)), len(got))
	}
	for i, version := range want {
		if err := expectEvent(got[i], stream, version, events[version-1]); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func staleHandle(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	events, err := lengthen(ctx, env, stream, leastLongEvents/2)
	if err != nil {
		return err
	}
	for round := range 6 {
		writer, stale := stores[round%2], stores[1-round%2]
		old := uint64(len(events))
		if _, err := stale.StreamVersion(ctx, stream); err != nil { // now it knows the version
			return err
		}
		more := env.Events([]int{1, 64, 3}[round%3])
		if _, err := writer.Append(ctx, stream, eventstore.Exactly(old), more...); err != nil {
			return fmt.Errorf("append to a stream at %d: %w", old, err)
		}
		events = append(events, more...)
		now := uint64(len(events))
		for _, wrong := range []eventstore.ExpectedVersion{eventstore.Exactly(old), eventstore.NoStream(), eventstore.Exactly(now + 1), eventstore.Exactly(now - 1), eventstore.Exactly(1)} {
			if actual, _ := wrong.Exact(); actual == now {
				continue
			}
			_, err := stale.Append(ctx, stream, wrong, env.Events(1)...)
			if err := expectConflict(fmt.Sprintf("an append that expects %s, through a handle that knew version %d", wrong, old), err, stream, wrong, now); err != nil {
				return err
			}
		}
		mine := env.Events(2)
		if _, err := stale.Append(ctx, stream, eventstore.Exactly(now), mine...); err != nil {
			return fmt.Errorf("append to a stream at %d, through a handle that knew version %d: %w", now, old, err)
		}
		events = append(events, mine...)
		for _, store := range stores {
			if err := expectPart(ctx, store, stream, events, eventstore.ReadOptions{After: old - 1}); err != nil {
				return err
			}
		}
		for _, known := range [][]eventstore.Event{mine, more} {
			result, err := stores[round/2%2].Append(ctx, stream, eventstore.Any(), known...)
			if err != nil || !result.Duplicate {
				return unexpected("the same append again, through another handle", "a duplicate", fmt.Sprintf("%+v, error %v", result, err))
			}
		}
	}
	return expectLong(ctx, "after writes through both handles", stores[0], stream, events, false)
}

func idsMetAgain(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	quiet, busy := env.Stream("Quiet"), env.Stream("Busy")
	old := env.Events(3)
	original, err := stores[1].Append(ctx, quiet, eventstore.NoStream(), old...)
	if err != nil {
		return err
	}
	events, err := lengthen(ctx, env, busy, env.Scale.LongEvents)
	if err != nil {
		return err
	}
	later, err := env.Again(ctx)
	if err != nil {
		return err
	}
	handles := []*eventstore.Store{stores[0], stores[1], later}
	before, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	for _, store := range handles {
		if err := expectDuplicate(ctx, store, quiet, eventstore.NoStream(), original, old...); err != nil {
			return fmt.Errorf("%d events of another stream later: %w", len(events), err)
		}
	}
	last := uint64(len(events))
	for i, back := range turns(last) {
		if window := env.Caps.IdempotencyWindow; window > 0 && back > window {
			continue
		}
		version := last - back + 1
		again := events[version-1 : min(version+1, last)]
		what := fmt.Sprintf("events again that are %d back from their stream's end", back)
		got, err := handles[i%3].Append(ctx, busy, eventstore.Exactly(version-1), again...)
		if err != nil || !got.Duplicate || firstVersion(got) != version || got.Version != version+uint64(len(again))-1 {
			return unexpected(what, fmt.Sprintf("a duplicate at version %d", version), fmt.Sprintf("%+v, error %v", got, err))
		}
		other := again[0]
		other.Data = append([]byte(" "), other.Data...)
		for _, reuse := range [][]eventstore.Event{{other}, {again[0], env.Event("Happened")}, {env.Event("Happened"), again[0]}} {
			_, err := handles[(i+1)%3].Append(ctx, busy, eventstore.Any(), reuse...)
			if err := expectError(what+", otherwise", err, eventstore.ErrEventIDReused); err != nil {
				return err
			}
		}
	}
	version, err := env.Store.StreamVersion(ctx, busy)
	if err != nil {
		return err
	}
	if version != last {
		return unexpected("version of the stream after repetitions", last, version)
	}
	return expectSameHead(ctx, env.Store, before)
}

// largeEvents writes 13 MiB, so that a page that ends at its bytes is neither the
// first nor the last one.
func largeEvents(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	const size, n = 100 << 10, 130
	stream := env.Stream("Order")
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = largeEvent(env, size)
		if _, err := stores[i%2].Append(ctx, stream, eventstore.Exactly(uint64(i)), events[i]); err != nil {
			return fmt.Errorf("append event %d of %d bytes: %w", i+1, size, err)
		}
	}
	for i, store := range stores {
		for _, backward := range []bool{false, true} {
			if err := expectLong(ctx, fmt.Sprintf("of large events through handle %d", i+1), store, stream, events, backward); err != nil {
				return err
			}
		}
		for _, opts := range []eventstore.ReadOptions{{After: n - 1}, {After: n - 50}, {After: n}, {Before: 50, Backward: true}, {After: 20, Before: 110}, {Backward: true, Limit: 60}, {Limit: n}, {After: 1, Limit: 90}} {
			if err := expectPart(ctx, store, stream, events, opts); err != nil {
				return err
			}
		}
	}
	if !env.Caps.GlobalOrder.Supported() {
		return nil
	}
	stored, err := collect(stores[0].ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	for _, opts := range []eventstore.ReadAllOptions{{}, {Backward: true}, {Filter: ofTypes(events[0].Type)}, {After: stored[60].Position}, {Before: stored[100].Position, Backward: true}} {
		if err := expectFiltered(ctx, stores[1], stored, opts); err != nil {
			return err
		}
	}
	got, err := untilCaughtUp(ctx, stores[1], eventstore.SubscribeOptions{})
	if err != nil {
		return err
	}
	return expectSame("subscription to large events", stored, got)
}
