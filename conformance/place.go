package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The checks of places: that a store which was restored or replaced is noticed.

func placeChecks() []Check {
	checks := []Check{
		{
			Name: "place/next-within-the-store", Promise: 15, Core: true,
			Sentence: "Next of a page is the place of an event of the store, and never lies beyond the last one.",
			Run:      nextWithinStore,
		},
		{
			Name: "place/signals-name-events", Promise: 18,
			Sentence: "The place of every message of a subscription is that of an event of the store.",
			Run:      signalsNameEvents,
		},
		{
			Name: "place/head-and-result", Promise: 14, Needs: NeedsOpenAgain,
			Sentence: "The head that Info returns is the last event's place, and an append returns every event as it is read.",
			Run:      headAndResult,
		},
		{
			Name: "place/another-event", Promise: 18, Needs: NeedsOpenAgain, Core: true,
			Sentence: "A page, a subscription and a durable subscription are refused with ErrForeignCheckpoint where the place to resume from holds another event.",
			Run:      placeOfAnotherEvent,
		},
		{
			Name: "place/ahead-after-reconnecting", Promise: 18, Core: true,
			Sentence: "A subscription, and a durable one, that reconnects to a store which ends before its place is refused with ErrCheckpointAhead, filtered or not, and never waits in silence.",
			Run:      aheadAfterReconnecting,
		},
		{
			Name: "place/ahead", Promise: 18, Needs: NeedsOpenAgain, Core: true,
			Sentence: "A position after the last event is refused with ErrCheckpointAhead by a subscription and by a durable one, which saves nothing.",
			Run:      placeAhead,
		},
	}
	for i := range checks {
		checks[i].Requires, checks[i].Refused = globalOrder, refuseGlobalOrder
	}
	return append(checks, Check{
		Name: "place/identity", Promise: 18, Needs: NeedsOpenAgain,
		Sentence: "A store has one identity, which is the same through all handles and after reopening.",
		Run:      identityStands,
	})
}

// expectPlace returns an error unless an event of the store is at a place.
func expectPlace(ctx context.Context, what string, store *eventstore.Store, place eventstore.Place) error {
	if !place.Named() {
		return unexpected(what, "the place of an event of the store", fmt.Sprintf("%+v", place))
	}
	found, err := collect(store.ReadStream(ctx, place.Stream, eventstore.ReadOptions{After: place.Version - 1, Limit: 1}))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(found) != 1 || found[0].Place() != place {
		return unexpected(what, "the place of an event of the store", fmt.Sprintf("%+v", place))
	}
	return nil
}

func nextWithinStore(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 12, env.Store)
	if err != nil {
		return err
	}
	last := all[len(all)-1]
	for _, filter := range []eventstore.Filter{{}, {Types: []string{"Nothing"}}, {Categories: []string{eventstore.Category(all[0].Stream)}}, {StreamPrefixes: []string{all[1].Stream}}} {
		for _, size := range []int{1, 3, 1000} {
			req := eventstore.ReadAllRequest{Filter: filter, PageSize: eventstore.PageSize{MaxEvents: size, MaxBytes: 1 << 20}}
			for range len(all) + 2 {
				page, err := env.Fixture.Backend.ReadAll(ctx, req)
				if err != nil {
					return err
				}
				what := fmt.Sprintf("Next of a page of %d after %s with filter %+v", size, req.After, filter)
				if last.Position.Before(page.Next.Position) {
					return unexpected(what, "at most the last event's place, "+last.Place().String(), page.Next)
				}
				if err := expectPlace(ctx, what, env.Store, page.Next); err != nil {
					return err
				}
				if page.End {
					if page.Next != last.Place() {
						return unexpected(what+" at the end", last.Place(), page.Next)
					}
					break
				}
				req.After = page.Next
			}
			// What lies after the last event is nothing, at the place itself.
			req.After = last.Place()
			page, err := env.Fixture.Backend.ReadAll(ctx, req)
			if err != nil {
				return err
			}
			if !page.End || len(page.Events) != 0 || (page.Next != last.Place() && !page.Next.IsZero()) {
				return unexpected("page after the last event", "an empty one that ends there", fmt.Sprintf("%+v", page))
			}
		}
	}
	return nil
}

func signalsNameEvents(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 8, env.Store)
	if err != nil {
		return err
	}
	last := all[len(all)-1].Position
	for _, filter := range []eventstore.Filter{{}, {Types: []string{"Nothing"}}, {Categories: []string{eventstore.Category(all[0].Stream)}}} {
		for _, after := range []eventstore.Position{{}, all[len(all)/2].Position, last} {
			if err := expectNamedSignals(ctx, env, eventstore.SubscribeOptions{After: after, Filter: filter}, last); err != nil {
				return fmt.Errorf("subscription after %q with filter %+v: %w", after, filter, err)
			}
		}
	}
	return nil
}

// expectNamedSignals subscribes up to the last event and expects that each message
// names an event: also the first one after a position that names none, for nothing
// else tells later that another store answers.
func expectNamedSignals(ctx context.Context, env *Env, opts eventstore.SubscribeOptions, last eventstore.Position) error {
	l := listen(ctx, env, env.Store, opts)
	defer func() { _ = l.stop() }()
	if err := errors.Join(l.waitCaughtUp(ctx), l.waitPast(ctx, last)); err != nil {
		return err
	}
	messages, err := l.seen()
	if err != nil {
		return err
	}
	for i, message := range messages {
		what := fmt.Sprintf("place of message %d (kind %d)", i+1, message.Kind)
		if message.Kind == eventstore.MessageEvent && message.Place != message.Event.Place() {
			return unexpected(what, message.Event.Place(), message.Place)
		}
		if err := expectPlace(ctx, what, env.Store, message.Place); err != nil {
			return err
		}
	}
	return nil
}

// replaced is a backend whose first subscription is lost, as if its log had been
// restored from an older copy: the last place that it named is ahead of the one that
// answers now.
type replaced struct {
	eventstore.Backend
	ahead eventstore.Place
	lost  atomic.Bool
}

func (r *replaced) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	if r.lost.Swap(true) {
		return r.Backend.Subscribe(ctx, req)
	}
	return func(yield func(eventstore.Message, error) bool) {
		if yield(eventstore.Message{Kind: eventstore.MessageProgress, Place: r.ahead}, nil) {
			yield(eventstore.Message{}, fmt.Errorf("%w: the check ends the connection", eventstore.ErrUnavailable))
		}
	}
}

func aheadAfterReconnecting(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 6, env.Store)
	if err != nil {
		return err
	}
	named := all[len(all)-1].Place()
	named.Position, named.Version, named.ID = beyond(named.Position), named.Version+1, env.ID()
	for _, filter := range []eventstore.Filter{{}, ofTypes("Nothing")} {
		for _, ahead := range []eventstore.Place{named, {Position: named.Position}} {
			what := fmt.Sprintf("after %+v, which is ahead of the store, with the filter %+v", ahead, filter)
			short, cancel := within(ctx, patience)
			defer cancel()
			if ahead.Named() { // a position alone is the Store's to hold against the head
				_, err := collect(env.Fixture.Backend.Subscribe(short, eventstore.SubscribeRequest{After: ahead, Filter: filter, PageSize: eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}}))
				if err := expectError("the backend's subscription "+what, err, eventstore.ErrCheckpointAhead); err != nil {
					return err
				}
			}
			store, err := env.NewStore(&replaced{Backend: env.Fixture.Backend, ahead: ahead}, eventstore.Options{RetryFor: patience})
			if err != nil {
				return err
			}
			_, err = collect(store.Subscribe(short, eventstore.SubscribeOptions{Filter: filter}))
			if err := expectError("a subscription that reconnects "+what, err, eventstore.ErrCheckpointAhead); err != nil {
				return err
			}
		}
	}
	if !env.Caps.Checkpoints.Supported() {
		return nil
	}
	store, err := env.NewStore(&replaced{Backend: env.Fixture.Backend, ahead: named}, eventstore.Options{RetryFor: patience})
	if err != nil {
		return err
	}
	err = startRun(ctx, env, store, eventstore.Subscription{Name: "ahead", Handler: ignoreEvent}).wait(ctx)
	return expectError("a durable subscription that reconnects at a place ahead of the store", err, eventstore.ErrCheckpointAhead)
}

func identityStands(ctx context.Context, env *Env) error {
	first, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	var zero eventstore.Info
	if first.ID == zero.ID {
		return unexpected("identity of the store", "a UUID", first.ID)
	}
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	if _, err := env.Fill(ctx, env.Stream("Order"), 5, 2); err != nil {
		return err
	}
	second, err := again.Info(ctx)
	if err != nil {
		return err
	}
	if second.ID != first.ID {
		return unexpected("identity of the store through a second handle", first.ID, second.ID)
	}
	if err := env.Reopen(ctx); err != nil {
		return err
	}
	third, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	if third != second {
		return unexpected("identity and head of the store after reopening", second, third)
	}
	return nil
}

func headAndResult(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for i, store := range stores {
		stream := env.Stream("Order")
		var results []eventstore.RecordedEvent
		for j := range 3 {
			result, err := store.Append(ctx, stream, eventstore.Exactly(uint64(len(results))), env.Events(j+1)...)
			if err != nil {
				return err
			}
			results = append(results, result.Events...)
		}
		stored, err := collect(stores[1-i].ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		if err := expectSame("events that appends returned, as another handle reads them", stored, results); err != nil {
			return err
		}
		for _, reader := range stores {
			info, err := reader.Info(ctx)
			if err != nil {
				return err
			}
			if want := stored[len(stored)-1].Place(); info.Head != want {
				return unexpected("head", want, info.Head)
			}
		}
	}
	return nil
}

func placeOfAnotherEvent(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 8, stores[:]...)
	if err != nil {
		return err
	}
	info, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	middle, next := all[len(all)/2].Place(), all[len(all)/2+1].Place()
	otherID, otherStream, otherVersion, otherPosition, earlier := middle, middle, middle, middle, middle
	otherID.ID = uuid.UUID{9, 8, 7}
	otherStream.Stream = env.Stream("Another")
	otherVersion.Version += 1000
	otherPosition.Position = next.Position
	earlier.Position = all[len(all)/2-1].Position
	page := eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}
	for name, place := range map[string]eventstore.Place{
		"another ID": otherID, "another stream": otherStream, "another version": otherVersion, "another position": otherPosition, "an earlier position": earlier,
	} {
		_, err := env.Fixture.Backend.ReadAll(ctx, eventstore.ReadAllRequest{After: place, PageSize: page})
		if err := expectError("a page after a place with "+name, err, eventstore.ErrForeignCheckpoint); err != nil {
			return err
		}
		subscription, cancel := within(ctx, patience)
		defer cancel()
		messages, err := collect(env.Fixture.Backend.Subscribe(subscription, eventstore.SubscribeRequest{After: place, PageSize: page}))
		if err := expectError("the backend's subscription after a place with "+name, err, eventstore.ErrForeignCheckpoint); err != nil {
			return err
		}
		if n := len(eventsOf(messages)); n != 0 {
			return unexpected("events of a subscription after a place with "+name, 0, n)
		}
		if !env.Caps.Checkpoints.Supported() {
			continue
		}
		checkpoint := eventstore.Checkpoint{Name: name, Store: info.ID, Place: place}
		if err := env.Fixture.Backend.Records().Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}); err != nil {
			return err
		}
		var handled recorder
		err = startRun(ctx, env, stores[1], eventstore.Subscription{Name: name, Handler: handled.handle}).wait(ctx)
		if err := expectError("Run from a checkpoint with "+name, err, eventstore.ErrForeignCheckpoint); err != nil {
			return err
		}
		if n := len(handled.events()); n != 0 {
			return unexpected("events handled from a checkpoint with "+name, 0, n)
		}
		if !env.Caps.WholeStreams.Supported() && (place == otherStream || place == otherVersion) {
			continue // no event there is no proof
		}
		if err := expectError("SaveCheckpoint with "+name, stores[1].SaveCheckpoint(ctx, checkpoint), eventstore.ErrForeignCheckpoint); err != nil {
			return err
		}
	}
	// The place itself is one to resume from.
	result, err := env.Fixture.Backend.ReadAll(ctx, eventstore.ReadAllRequest{After: middle, PageSize: page})
	if err != nil {
		return fmt.Errorf("a page after an event's place: %w", err)
	}
	return expectContiguous("a page after an event's place", all, middle.Position, result.Events)
}

func placeAhead(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	try := func(head eventstore.Position) error {
		for i, position := range []eventstore.Position{beyond(head), eventstore.NewPosition(math.MaxUint64, math.MaxUint64), eventstore.NewPosition(math.MaxInt64, 0)} {
			for _, store := range stores {
				short, cancel := within(ctx, patience)
				defer cancel()
				messages, err := collect(store.Subscribe(short, eventstore.SubscribeOptions{After: position}))
				if err := expectError(fmt.Sprintf("Subscribe after %s, which is ahead of the store", position), err, eventstore.ErrCheckpointAhead); err != nil {
					return err
				}
				if len(messages) > 0 {
					return unexpected("messages of a subscription that begins ahead of the store", "none", fmt.Sprintf("%+v", messages))
				}
				if !env.Caps.Checkpoints.Supported() {
					continue
				}
				name := fmt.Sprintf("ahead %d", i)
				err = startRun(ctx, env, store, eventstore.Subscription{Name: name, After: position, Handler: ignoreEvent}).wait(ctx)
				if err := expectError(fmt.Sprintf("Run after %s, which is ahead of the store", position), err, eventstore.ErrCheckpointAhead); err != nil {
					return err
				}
				if _, found, err := store.LoadCheckpoint(ctx, name); found || err != nil {
					return unexpected("checkpoint of a subscription that was refused", "none", fmt.Sprintf("found %t, error %v", found, err))
				}
			}
		}
		return nil
	}
	if err := try(eventstore.Position{}); err != nil {
		return fmt.Errorf("in an empty store: %w", err)
	}
	all, err := writeLog(ctx, env, 4, stores[:]...)
	if err != nil {
		return err
	}
	return errors.Join(try(all[len(all)-1].Position))
}
