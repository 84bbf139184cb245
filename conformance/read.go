package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func readChecks() []Check {
	return slices.Concat([]Check{
		{
			Name: "read/absent-stream", Promise: 11, Core: true,
			Sentence: "Reading an absent stream yields nothing and no error; its version is 0.",
			Run:      absentStream,
		},
		{
			Name: "read/versions-from-one", Promise: 11, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Versions are 1..n per stream, without a hole or a duplicate, and an append returns the versions it took.",
			Run:      versionsFromOne,
		},
		{
			Name: "read/immutable", Promise: 11, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A recorded event never changes: later appends, repetitions and refused appends leave what was read as it was.",
			Run:      immutable,
		},
		{
			Name: "read/streams-apart", Promise: 11, Core: true,
			Sentence: "A stream is what was appended under exactly its ID: case, wildcards, quotes, trailing spaces and normal forms keep streams apart.",
			Run:      streamsApart,
		},
		{
			Name: "read/stream-bounds", Promise: 15,
			Sentence: "After and Before are exclusive bounds on the version, and Limit is the most events, in both directions and beyond the end.",
			Run:      streamBounds,
		},
		{
			Name: "read/all-bounds", Promise: 15, Requires: globalOrder, Refused: refuseGlobalOrder,
			Sentence: "After and Before are exclusive bounds on the position, and Limit is the most events, in both directions and beyond the end.",
			Run:      allBounds,
		},
		{
			Name: "read/backward-stream", Promise: 15,
			Sentence: "Reading a stream backward is the reverse of reading it forward, with any page size.",
			Run:      backwardStream,
		},
		{
			Name: "read/backward-all", Promise: 15, Requires: globalOrder, Refused: refuseGlobalOrder,
			Sentence: "Reading everything backward is the reverse of reading it forward, with any page size.",
			Run:      backwardAll,
		},
		{
			Name: "read/any-page-size", Promise: 15, Requires: globalOrder, Refused: refuseGlobalOrder,
			Sentence: "Any page size gives the same sequence.",
			Run:      anyPageSize,
		},
		{
			Name: "read/empty-store", Promise: 15, Requires: globalOrder, Refused: refuseGlobalOrder,
			Sentence: "An empty store reads as nothing in every direction, and its head is zero.",
			Run:      emptyStore,
		},
	}, pageChecks(), iteratorChecks(), filterChecks())
}

func absentStream(ctx context.Context, env *Env) error {
	present := env.Events(3)
	if _, err := env.Store.Append(ctx, env.StreamID("Order", 1), eventstore.NoStream(), present...); err != nil {
		return err
	}
	for _, stream := range append(env.odd("Absent", "Order", "Order-", "Order-11", "order-1", "%", "Order-_"), env.StreamID("Absent", 1)) {
		for _, opts := range []eventstore.ReadOptions{
			{}, {Backward: true}, {After: 1}, {Before: 2}, {After: 1, Before: 3, Backward: true}, {Limit: 1}, {After: math.MaxInt64},
		} {
			events, err := collect(env.Store.ReadStream(ctx, stream, opts))
			if err != nil || len(events) != 0 {
				return unexpected(fmt.Sprintf("read of the absent stream %q with %+v", stream, opts), "no event and no error", fmt.Sprintf("%d events, error %v", len(events), err))
			}
		}
		version, err := env.Store.StreamVersion(ctx, stream)
		if err != nil || version != 0 {
			return unexpected(fmt.Sprintf("version of the absent stream %q", stream), "0 and no error", fmt.Sprintf("%d, error %v", version, err))
		}
	}
	return expectEvents(ctx, env.Store, env.StreamID("Order", 1), present...)
}

func versionsFromOne(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, other := env.Stream("Order"), env.Stream("Order")
	var appended []eventstore.Event
	for i := range 12 {
		if _, err := stores[i%2].Append(ctx, other, eventstore.Any(), env.Event("Happened")); err != nil {
			return err
		}
		events := env.Events(1 + i%4)
		first := uint64(len(appended)) + 1
		appended = append(appended, events...)
		result, err := stores[i%2].Append(ctx, stream, eventstore.Any(), events...)
		if err != nil {
			return err
		}
		if firstVersion(result) != first || result.Version != uint64(len(appended)) {
			return unexpected("versions that an append returned", fmt.Sprintf("%d to %d", first, len(appended)), fmt.Sprintf("%d to %d", firstVersion(result), result.Version))
		}
	}
	for _, store := range stores {
		if err := expectEvents(ctx, store, stream, appended...); err != nil {
			return err
		}
		version, err := store.StreamVersion(ctx, stream)
		if err != nil || version != uint64(len(appended)) {
			return unexpected("stream version", len(appended), fmt.Sprintf("%d, error %v", version, err))
		}
	}
	return nil
}

func immutable(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	events := env.Events(5)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
		return err
	}
	before, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	changed := events[2]
	changed.Data = []byte(`{"other":true}`)
	for i, try := range []struct {
		expected eventstore.ExpectedVersion
		event    eventstore.Event
		want     error
	}{
		{eventstore.Any(), env.Event("Happened"), nil},
		{eventstore.Any(), events[4], nil},
		{eventstore.Any(), changed, eventstore.ErrEventIDReused},
		{eventstore.Exactly(2), env.Event("Happened"), eventstore.ErrConflict},
		{eventstore.NoStream(), env.Event("Happened"), eventstore.ErrConflict},
	} {
		if _, err := stores[i%2].Append(ctx, stream, try.expected, try.event); !errors.Is(err, try.want) {
			return unexpected("append to a stream with five events", try.want, err)
		}
	}
	for i, store := range stores {
		after, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{Before: 6}))
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("the first five events, read again through handle %d", i+1), before, after); err != nil {
			return err
		}
	}
	return nil
}

func streamsApart(ctx context.Context, env *Env) error {
	want := make(map[string][]eventstore.Event)
	for i, stream := range env.odd(hostileStreams()...) {
		want[stream] = env.Events(1 + i%3)
		result, err := env.Store.Append(ctx, stream, eventstore.NoStream(), want[stream]...)
		if err != nil {
			return err
		}
		if firstVersion(result) != 1 {
			return unexpected(fmt.Sprintf("first version of the new stream %q", stream), 1, firstVersion(result))
		}
	}
	for _, stream := range env.odd(hostileStreams()...) {
		if err := expectEvents(ctx, env.Store, stream, want[stream]...); err != nil {
			return err
		}
	}
	return nil
}

func streamBounds(ctx context.Context, env *Env) error {
	const n = 5
	all, err := env.Fill(ctx, env.Stream("Order"), n, 2)
	if err != nil {
		return err
	}
	if _, err := env.Fill(ctx, env.Stream("Order"), n, 5); err != nil {
		return err
	}
	stream := all[0].Stream
	bounds := []uint64{0, 1, 2, 3, 4, 5, 6, 7, math.MaxInt64}
	for _, after := range bounds {
		for _, before := range bounds {
			for _, limit := range []int{0, 1, n, n + 1} {
				for _, backward := range []bool{false, true} {
					opts := eventstore.ReadOptions{After: after, Before: before, Limit: limit, Backward: backward}
					got, err := collectAtMost(n+1, env.Store.ReadStream(ctx, stream, opts))
					inside := func(e eventstore.RecordedEvent) bool {
						return e.Version > after && (before == 0 || e.Version < before)
					}
					what := fmt.Sprintf("read of a stream of %d events with %+v", n, opts)
					if err := expectRange(what, all, inside, before != 0 && after >= before, backward, limit, got, err); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func allBounds(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 4, env.Store)
	if err != nil {
		return err
	}
	bounds := []eventstore.Position{{}}
	for _, event := range all {
		bounds = append(bounds, event.Position)
	}
	bounds = append(bounds, beyond(all[len(all)-1].Position))
	for _, after := range bounds {
		for _, before := range bounds {
			for _, limit := range []int{0, 1, len(all), len(all) + 1} {
				for _, backward := range []bool{false, true} {
					opts := eventstore.ReadAllOptions{After: after, Before: before, Limit: limit, Backward: backward}
					got, err := collectAtMost(len(all)+1, env.Store.ReadAll(ctx, opts))
					inside := func(e eventstore.RecordedEvent) bool {
						return after.Before(e.Position) && (before.IsZero() || e.Position.Before(before))
					}
					what := fmt.Sprintf("ReadAll of %d events after %s before %s, limit %d, backward %t", len(all), after, before, limit, backward)
					if err := expectRange(what, all, inside, !before.IsZero() && !after.Before(before), backward, limit, got, err); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// expectRange compares what a read returned with the same choice made here from all.
func expectRange(what string, all []eventstore.RecordedEvent, inside func(eventstore.RecordedEvent) bool, inverted, backward bool, limit int, got []eventstore.RecordedEvent, err error) error {
	if inverted {
		return expectError(what, err, eventstore.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return expectSame(what, choice(all, inside, backward, limit), got)
}

// choice is what a read must return: the events for which inside is true, the
// last ones first if backward, and at most limit where that is not 0.
func choice(all []eventstore.RecordedEvent, inside func(eventstore.RecordedEvent) bool, backward bool, limit int) []eventstore.RecordedEvent {
	var chosen []eventstore.RecordedEvent
	for _, event := range all {
		if inside(event) {
			chosen = append(chosen, event)
		}
	}
	if backward {
		slices.Reverse(chosen)
	}
	if limit > 0 && len(chosen) > limit {
		chosen = chosen[:limit]
	}
	return chosen
}

// pageSizes are those that a log of n events is read with.
func pageSizes(n int) []int { return []int{1, 2, 3, 7, n - 1, n, n + 1} }

func backwardStream(ctx context.Context, env *Env) error {
	all, err := env.Fill(ctx, env.Stream("Order"), 17, 3)
	if err != nil {
		return err
	}
	if len(all) != 17 {
		return unexpected("forward read of a stream of 17 events", "17 events", len(all))
	}
	slices.Reverse(all)
	for _, size := range pageSizes(len(all)) {
		store, err := pagedStore(env, size)
		if err != nil {
			return err
		}
		got, err := collectAtMost(len(all)+1, store.ReadStream(ctx, all[0].Stream, eventstore.ReadOptions{Backward: true}))
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("backward read in pages of %d", size), all, got); err != nil {
			return err
		}
	}
	return nil
}

func backwardAll(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 12, env.Store)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	for _, size := range pageSizes(len(all)) {
		store, err := pagedStore(env, size)
		if err != nil {
			return err
		}
		got, err := collectAtMost(len(all)+1, store.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true}))
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("backward ReadAll in pages of %d", size), all, got); err != nil {
			return err
		}
	}
	return nil
}

func anyPageSize(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 12, env.Store)
	if err != nil {
		return err
	}
	stream := all[0].Stream
	ofStream := choice(all, func(e eventstore.RecordedEvent) bool { return e.Stream == stream }, false, 0)
	for _, size := range pageSizes(len(all)) {
		store, err := pagedStore(env, size)
		if err != nil {
			return err
		}
		got, err := collectAtMost(len(all)+1, store.ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("ReadAll in pages of %d", size), all, got); err != nil {
			return err
		}
		got, err = collectAtMost(len(all)+1, store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("read of a stream in pages of %d", size), ofStream, got); err != nil {
			return err
		}
	}
	return nil
}

func emptyStore(ctx context.Context, env *Env) error {
	info, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	if !info.Head.IsZero() {
		return unexpected("head of an empty store", "zero", info.Head)
	}
	for _, opts := range []eventstore.ReadAllOptions{
		{}, {Backward: true}, {Limit: 1}, {Filter: eventstore.Filter{Categories: []string{"Order"}}}, {After: beyond(info.Head.Position)}, {Before: beyond(info.Head.Position), Backward: true},
	} {
		events, err := collect(env.Store.ReadAll(ctx, opts))
		if err != nil || len(events) != 0 {
			return unexpected(fmt.Sprintf("ReadAll of an empty store with %+v", opts), "no event and no error", fmt.Sprintf("%d events, error %v", len(events), err))
		}
	}
	return nil
}
