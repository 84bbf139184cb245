package conformance

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of a long log that many streams share.
func longLogChecks() []Check {
	return []Check{
		{
			Name: "long/log", Promise: 15, Core: true, Long: true, Requires: globalOrder, Needs: NeedsOpenAgain,
			Sentence: "A log of tens of thousands of events of many streams is read and subscribed to whole, forward and backward.",
			Run:      longLog,
		},
		{
			Name: "long/rare-match", Promise: 15, Core: true, Long: true, Requires: globalOrder, Needs: NeedsOpenAgain,
			Sentence: "A filter finds its one match behind tens of thousands of other events: forward, backward, within bounds and subscribed to.",
			Run:      longRareMatch,
		},
		{
			Name: "page/default-options", Promise: 15, Core: true, Requires: globalOrder,
			Sentence: "A Store with default options reads and subscribes to streams that end at, before and after the ends of its pages.",
			Run:      defaultPages,
		},
		{
			Name: "page/of-exactly-its-bytes", Promise: 15, Core: true, Requires: globalOrder,
			Sentence: "Pages whose events' sizes equal the bound on a page's bytes, or miss it by one byte, lose and repeat nothing.",
			Run:      exactPages,
		},
	}
}

func longLog(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	const streams = 8
	versions := make(map[string]uint64)
	var events []eventstore.Event
	owner := make([]string, 0, env.Scale.LongEvents/2)
	names := make([]string, streams)
	for i := range names {
		names[i] = env.Stream([]string{"Order", "Cart"}[i%2])
	}
	for i := 0; len(events) < env.Scale.LongEvents/2; i++ {
		stream := names[i%streams]
		more, err := lengthen(ctx, env, stream, 997) // no page's size is a multiple of it
		if err != nil {
			return err
		}
		events = append(events, more...)
		for range more {
			owner = append(owner, stream)
		}
	}
	var last eventstore.Position
	next := func(what string, i int, got eventstore.RecordedEvent) error {
		versions[got.Stream]++
		if i >= len(events) || got.ID != events[i].ID || got.Stream != owner[i] {
			return unexpected(fmt.Sprintf("%s, event %d", what, i+1), fmt.Sprintf("the one that was appended as number %d of %d", i+1, len(events)), describeRecord(got))
		}
		if !last.Before(got.Position) {
			return unexpected(fmt.Sprintf("%s, position of event %d", what, i+1), "one after "+last.String(), got.Position)
		}
		last = got.Position
		return expectEvent(got, owner[i], versions[got.Stream], events[i])
	}
	n := 0
	for got, err := range stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			return err
		}
		if err := next("ReadAll of a long log", n, got); err != nil {
			return err
		}
		n++
	}
	if n != len(events) {
		return unexpected("events in ReadAll of a long log", len(events), n)
	}
	head := last
	if err := longLogBackward(ctx, stores[1], events, head); err != nil {
		return err
	}
	clear(versions)
	last, n = eventstore.Position{}, 0
	err = follow(ctx, stores[1], eventstore.SubscribeOptions{}, func(m eventstore.Message) (bool, error) {
		if m.Kind == eventstore.MessageCaughtUp {
			return true, nil
		}
		if m.Kind != eventstore.MessageEvent {
			return false, nil
		}
		n++
		return false, next("a subscription to a long log", n-1, m.Event)
	})
	if err == nil && n != len(events) {
		err = unexpected("events of a subscription to a long log before CaughtUp", len(events), n)
	}
	return err
}

func longLogBackward(ctx context.Context, store *eventstore.Store, events []eventstore.Event, head eventstore.Position) error {
	n, before := 0, beyond(head)
	for got, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true}) {
		if err != nil {
			return err
		}
		if n == len(events) || got.ID != events[len(events)-1-n].ID || !got.Position.Before(before) {
			return unexpected(fmt.Sprintf("ReadAll of a long log backward, event %d", n+1), "the reverse of what was appended", describeRecord(got))
		}
		before = got.Position
		n++
	}
	if n != len(events) {
		return unexpected("events in ReadAll of a long log backward", len(events), n)
	}
	return nil
}

// longRareMatch has one match at the beginning of the log, one in its middle and
// one at its end, each of a category, a prefix and a type of its own.
func longRareMatch(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	half := env.Scale.LongEvents / 4 // a match lies behind so many, or twice as many
	common := env.Stream("Common")
	var rare []eventstore.RecordedEvent
	rarely := func(name string) error {
		stream := env.Stream(name)
		if _, err := stores[1].Append(ctx, stream, eventstore.NoStream(), env.Event(name+"Happened")); err != nil {
			return err
		}
		stored, err := collect(stores[0].ReadStream(ctx, stream, eventstore.ReadOptions{}))
		rare = append(rare, stored...)
		return err
	}
	// Live ones wait for what comes behind tens of thousands of others.
	for i, name := range []string{"Early", "Middle", "Late"} {
		if i > 0 {
			if _, err := lengthen(ctx, env, common, half); err != nil {
				return err
			}
		}
		if err := rarely(name); err != nil {
			return err
		}
	}
	if len(rare) != 3 {
		return unexpected("events of three streams", 3, len(rare))
	}
	for i, match := range rare {
		for j, filter := range []eventstore.Filter{ofCategory(eventstore.Category(match.Stream)), ofPrefix(match.Stream), ofTypes("Absent", match.Type)} {
			store := stores[(i+j)%2]
			for _, opts := range []eventstore.ReadAllOptions{
				{Filter: filter, Limit: j, After: rare[(i+j)%2].Position},
				{Filter: filter, Limit: j, Backward: true},
			} {
				if err := expectFiltered(ctx, store, rare, opts); err != nil {
					return fmt.Errorf("one match in %d events: %w", 2*half+3, err)
				}
			}
			got, err := untilCaughtUp(ctx, store, eventstore.SubscribeOptions{Filter: filter})
			if err != nil {
				return err
			}
			if err := expectSame(fmt.Sprintf("subscription with the filter %+v to one match in %d events", filter, 2*half+3), rare[i:i+1], got); err != nil {
				return err
			}
		}
	}
	return nil
}

// defaultPages lets a stream grow from one page's end to the next; a Store's pages
// are 512 and then 2,048 events, and larger after that.
func defaultPages(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	var events []eventstore.Event
	for round, n := range []int{512, 513, 2560, 2561, 4608} {
		more, err := lengthen(ctx, env, stream, n-len(events))
		if err != nil {
			return err
		}
		events = append(events, more...)
		stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		if len(stored) != n {
			return unexpected("events of a stream", n, len(stored))
		}
		if err := expectLong(ctx, "with default options", env.Store, stream, events, true); err != nil {
			return err
		}
		limit := []int{512, 513, n, n - 1}[round%4]
		for i, opts := range []eventstore.ReadAllOptions{
			{}, {Backward: true}, {Limit: limit, Backward: round%2 == 0}, {Filter: ofTypes("Happened"), After: stored[round%2].Position, Backward: round%2 == 1},
		} {
			if i == 2 {
				if err := expectPart(ctx, env.Store, stream, events, eventstore.ReadOptions{Limit: opts.Limit, Backward: !opts.Backward}); err != nil {
					return err
				}
			}
			if err := expectFiltered(ctx, env.Store, stored, opts); err != nil {
				return err
			}
		}
		got, err := untilCaughtUp(ctx, env.Store, eventstore.SubscribeOptions{})
		if err != nil {
			return err
		}
		if err := expectSame("subscription with default options", stored, got); err != nil {
			return err
		}
	}
	return nil
}

// exactPages has events of one size, and asks for pages of a multiple of it. The
// Store's own pages of 4 MiB hold exactly sixteen of the large ones.
func exactPages(ctx context.Context, env *Env) error {
	for _, kind := range []struct{ size, n int }{{1 << 10, 40}, {256 << 10, 33}} {
		stream := env.Stream("Order")
		first, err := whereItIs(ctx, env.Store)
		if err != nil {
			return err
		}
		for i := range kind.n {
			event := binaryEvent(env, nil)
			event.Data = make([]byte, kind.size-event.Size())
			if _, err := env.Store.Append(ctx, stream, eventstore.Exactly(uint64(i)), event); err != nil {
				return err
			}
		}
		stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		if len(stored) != kind.n {
			return unexpected(fmt.Sprintf("events of %d bytes in a stream of %d", kind.size, kind.n), kind.n, len(stored))
		}
		if err := expectFiltered(ctx, env.Store, stored, eventstore.ReadAllOptions{After: first.Head.Position}); err != nil {
			return err
		}
		for _, events := range []int{1, 2, 5, kind.n / 2, kind.n - 1, kind.n} {
			for _, more := range []int{-1, 0, 1} {
				size := eventstore.PageSize{MaxEvents: 2 * kind.n, MaxBytes: events*kind.size + more}
				if err := expectExactPages(ctx, env, stored, first.Head.Position, size); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// expectExactPages turns a stream's pages and those of the log after a position.
func expectExactPages(ctx context.Context, env *Env, stored []eventstore.RecordedEvent, after eventstore.Position, size eventstore.PageSize) error {
	what := fmt.Sprintf("%d events of %d bytes in pages of at most %d bytes", len(stored), stored[0].Size(), size.MaxBytes)
	stream := eventstore.ReadStreamRequest{Stream: stored[0].Stream, PageSize: size}
	got, err := turnPages(what, size, len(stored), func(last *eventstore.Page) (eventstore.Page, error) {
		if last != nil && len(last.Events) == 0 {
			return eventstore.Page{End: true}, nil
		}
		if last != nil {
			stream.After = last.Events[len(last.Events)-1].Version
		}
		return env.Fixture.Backend.ReadStream(ctx, stream)
	})
	if err != nil {
		return err
	}
	if err := expectSame(what, stored, got); err != nil {
		return err
	}
	log := eventstore.ReadAllRequest{After: eventstore.Place{Position: after}, PageSize: size}
	got, err = turnPages(what, size, 2*len(stored)+10, func(last *eventstore.Page) (eventstore.Page, error) {
		if last != nil {
			if err := goOn(what, &log, last); err != nil {
				return eventstore.Page{}, err
			}
		}
		return env.Fixture.Backend.ReadAll(ctx, log)
	})
	if err != nil {
		return err
	}
	return expectSame(what+", read in the global order", stored, got)
}
