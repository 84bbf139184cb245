package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of appends as large as they may be.
func batchChecks() []Check {
	return []Check{
		{
			Name: "batch/never-seen-in-part", Promise: 1, Core: true, Long: true, Needs: NeedsOpenAgain,
			Sentence: "A reader sees all events of an append of the largest portable size or none of them, whether it is of many events, of many bytes or of both.",
			Run:      largeNeverInPart,
		},
		{
			Name: "batch/refused-whole", Promise: 1, Core: true, Needs: NeedsOpenAgain,
			Sentence: "An append of the largest portable size that is refused, at its first or at its last event, stores none of them.",
			Run:      largeRefusedWhole,
		},
		{
			Name: "batch/cut-short", Promise: 1, Core: true, Long: true, Needs: NeedsOpenAgain,
			Sentence: "An append of the largest portable size whose caller gives up is stored whole or not at all, and the caller is told no untruth.",
			Run:      largeCutShort,
		},
		{
			Name: "batch/at-own-limits", Promise: 21, Long: true,
			Sentence: "An append at the backend's own limits (of events, of bytes, of one event's bytes) is stored, comes back and is recognised.",
			Run:      atOwnLimits,
		},
	}
}

// largeBatch makes an append of so many events that together have so many bytes.
func largeBatch(env *Env, n, bytes int) []eventstore.Event {
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = binaryEvent(env, nil)
		events[i].Data = make([]byte, (bytes-bytes*i/n)-(bytes-bytes*(i+1)/n)-events[i].Size())
		for j := range events[i].Data {
			events[i].Data[j] = byte(i + j)
		}
	}
	return events
}

// batchShapes are the largest portable appends: of many events, of many bytes, of both.
func batchShapes() []struct{ n, bytes int } {
	limits := eventstore.PortableLimits()
	return []struct{ n, bytes int }{
		{limits.MaxAppendEvents, limits.MaxAppendEvents * 256},
		{4, limits.MaxAppendBytes},
		{limits.MaxAppendEvents, limits.MaxAppendBytes},
	}
}

func largeNeverInPart(ctx context.Context, env *Env) error {
	const appends = 8
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for _, shape := range batchShapes() {
		stream, other := env.Stream("Order"), env.Stream("Cart")
		batches := make([][]eventstore.Event, 2*appends)
		for i := range batches {
			batches[i] = largeBatch(env, shape.n, shape.bytes)
		}
		var writing atomic.Bool
		writing.Store(true)
		var reading sync.WaitGroup
		failures := make([]error, 2)
		for i := range failures {
			reading.Go(func() {
				failures[i] = contain(func() error {
					for writing.Load() {
						if err := expectWhole(ctx, stores[i], stream, shape.n); err != nil {
							return fmt.Errorf("appends of %d events and %d bytes: %w", shape.n, shape.bytes, err)
						}
					}
					return nil
				})
			})
		}
		err := race(2, func(i int) error {
			for n := range appends {
				at := eventstore.Exactly(uint64(n * shape.n))
				if _, err := stores[i].Append(ctx, []string{stream, other}[i], at, batches[i*appends+n]...); err != nil {
					return err
				}
			}
			return nil
		})
		writing.Store(false)
		reading.Wait()
		if err := errors.Join(append(failures, err)...); err != nil {
			return err
		}
		for i, name := range []string{stream, other} {
			var all []eventstore.Event
			for _, batch := range batches[i*appends : (i+1)*appends] {
				all = append(all, batch...)
			}
			if err := expectEvents(ctx, stores[1-i], name, all...); err != nil {
				return err
			}
		}
	}
	return nil
}

// expectWhole returns an error unless a stream, whose appends all have n events,
// ends where an append ends: as its version, in its newest events and in the log.
func expectWhole(ctx context.Context, store *eventstore.Store, stream string, n int) error {
	version, err := store.StreamVersion(ctx, stream)
	if err != nil {
		return err
	}
	if version%uint64(n) != 0 {
		return unexpected("version of a stream while others append to it", fmt.Sprintf("a multiple of %d", n), version)
	}
	tail, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{After: version}))
	if err != nil {
		return err
	}
	if len(tail)%n != 0 {
		return unexpected(fmt.Sprintf("events after version %d of a stream while others append to it", version), fmt.Sprintf("a multiple of %d", n), len(tail))
	}
	if !store.Capabilities().GlobalOrder.Supported() {
		return nil
	}
	newest, err := collect(store.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true, Limit: n + 1}))
	for _, event := range newest {
		if event.Stream == stream {
			if event.Version%uint64(n) != 0 {
				return unexpected("newest event of the stream in the global order while others append to it", fmt.Sprintf("one whose version is a multiple of %d", n), event.Version)
			}
			break
		}
	}
	return err
}

func largeRefusedWhole(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for i, shape := range batchShapes() {
		stream := env.Stream("Order")
		stored := largeBatch(env, shape.n, shape.bytes)
		if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored...); err != nil {
			return err
		}
		before, err := whereItIs(ctx, env.Store)
		if err != nil {
			return err
		}
		fresh := largeBatch(env, shape.n, shape.bytes)
		met := func(at int) []eventstore.Event {
			events := append([]eventstore.Event(nil), fresh...)
			events[at] = stored[at]
			return events
		}
		for _, refused := range []struct {
			how      string
			expected eventstore.ExpectedVersion
			events   []eventstore.Event
			want     error
		}{
			{"at a wrong version", eventstore.NoStream(), fresh, eventstore.ErrConflict},
			{"whose last event is stored already", eventstore.Any(), met(shape.n - 1), eventstore.ErrEventIDReused},
			{"whose first event is stored already", eventstore.Any(), met(0), eventstore.ErrEventIDReused},
			{"one of whose events is stored already", eventstore.Any(), met(shape.n / 2), eventstore.ErrEventIDReused},
		} {
			what := fmt.Sprintf("an append of %d events and %d bytes %s", shape.n, shape.bytes, refused.how)
			_, err := stores[i%2].Append(ctx, stream, refused.expected, refused.events...)
			if err := expectError(what, err, refused.want); err != nil {
				return err
			}
			if err := errors.Join(expectEvents(ctx, stores[1-i%2], stream, stored...), expectSameHead(ctx, env.Store, before)); err != nil {
				return fmt.Errorf("after %s: %w", what, err)
			}
		}
		if _, err := env.Store.Append(ctx, stream, eventstore.Exactly(uint64(shape.n)), fresh...); err != nil {
			return fmt.Errorf("the refused events appended as they should be: %w", err)
		}
	}
	return nil
}

// largeCutShort ends the contexts of large appends at moments spread over twice
// the time that one takes.
func largeCutShort(ctx context.Context, env *Env) error {
	const cuts = 12
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for _, shape := range batchShapes() {
		start := time.Now()
		if _, err := stores[0].Append(ctx, env.Stream("Warm"), eventstore.NoStream(), largeBatch(env, shape.n, shape.bytes)...); err != nil {
			return err
		}
		usual := max(time.Since(start), 100*time.Microsecond)
		attempts := make([]appendAttempt, cuts)
		for i := range attempts {
			a := &attempts[i]
			a.stream, a.events = env.Stream("Order"), largeBatch(env, shape.n, shape.bytes)
			short, cancel := context.WithTimeout(ctx, time.Duration(env.Rand.Int64N(int64(2*usual))))
			_, a.err = stores[i%2].Append(short, a.stream, eventstore.NoStream(), a.events...)
			cancel()
			if a.err != nil && !a.unknown() && !errors.Is(a.err, context.DeadlineExceeded) {
				return unexpected("a large append cut short by its deadline", "the context's error or ErrUnknownOutcome", a.err)
			}
		}
		for i, a := range attempts {
			if err := a.expectTruth(ctx, stores[(i+1)%2]); err != nil {
				return fmt.Errorf("append %d of %d events and %d bytes: %w", i+1, shape.n, shape.bytes, err)
			}
			if err := a.settle(ctx, stores[i%2]); err != nil {
				return err
			}
		}
	}
	return nil
}

// What an append at the backend's own limits is tried with at most, so that a
// backend which declares gigabytes can be tried on a small machine: more than 16 bits
// count, and more than the 16 MiB that protocols and packets often end at. A smaller
// scale divides both.
const (
	mostOwnEvents = 1<<16 + 1
	mostOwnBytes  = 17 << 20
)

func atOwnLimits(ctx context.Context, env *Env) error {
	store, err := roomy(env)
	if err != nil {
		return err
	}
	own := store.Limits()
	share := func(most int) int { return most * min(env.Scale.LongEvents, longEvents) / longEvents }
	bytes := min(own.MaxAppendBytes, share(mostOwnBytes))
	single := min(own.MaxEventBytes, bytes)
	small := env.Event("Happened").Size()
	many := min(own.MaxAppendEvents, share(mostOwnEvents), bytes/small)
	large := min(own.MaxAppendEvents, max(bytes/single, 4))
	for _, shape := range []struct {
		what   string
		events func() []eventstore.Event
	}{
		{"the most events", func() []eventstore.Event { return env.Events(many) }},
		{"the most events of equal sizes that fill the append", func() []eventstore.Event {
			n := min(own.MaxAppendEvents, 1000)
			return largeBatch(env, n, min(bytes, n*single))
		}},
		{"few events that fill the append", func() []eventstore.Event { return largeBatch(env, large, min(bytes, large*single)) }},
		{"one event of the largest size", func() []eventstore.Event { return largeBatch(env, 1, single) }},
	} {
		stream, events := env.Stream("Order"), shape.events()
		result, err := store.Append(ctx, stream, eventstore.NoStream(), events...)
		if err != nil {
			return fmt.Errorf("an append of %s, within the declared limits %+v: %w", shape.what, own, err)
		}
		n := uint64(len(events))
		if err := expectResult("an append of "+shape.what, result, 1, n); err != nil {
			return err
		}
		if err := expectLong(ctx, "of one append", store, stream, events, false); err != nil {
			return fmt.Errorf("an append of %s: %w", shape.what, err)
		}
		if err := expectDuplicate(ctx, store, stream, eventstore.NoStream(), result, events...); err != nil {
			return fmt.Errorf("an append of %s: %w", shape.what, err)
		}
	}
	return nil
}
