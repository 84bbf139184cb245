package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// visibilityChecks are about when an event can be read: never behind one that
// could be read before it, and as soon as its append returned.
func visibilityChecks() []Check {
	return []Check{
		{
			Name: "order/no-late-arrival", Promise: 13, Core: true, Requires: globalOrder, Refused: refuseGlobalOrder, Needs: NeedsOpenAgain,
			Sentence: "Once any reader has seen position p, no event at or below p ever appears afterwards: readers that poll from their last position, while 2, 8 and 32 writers write through two handles, miss nothing.",
			Run:      noLateArrival,
		},
		{
			Name: "order/no-late-arrival-forced", Promise: 13, Requires: exactOrder, Needs: NeedsHoldWriter,
			Sentence: "A writer that has taken its place in the order, and is held before its events are visible, makes no reader miss them.",
			Run:      noLateArrivalForced,
		},
		{
			Name: "order/read-your-writes", Promise: 14, Core: true, Needs: NeedsOpenAgain,
			Sentence: "An event can be read through every handle as soon as its append returned, by 2, 8 and 32 writers.",
			Run:      readYourWrites,
		},
		{
			Name: "order/monotonic-reads", Promise: 14, Core: true, Needs: NeedsOpenAgain,
			Sentence: "What a reader has seen through one handle it sees through every other: a stream's version and the head never go back.",
			Run:      monotonicReads,
		},
	}
}

// poller reads on from where it stopped, as a projection that polls does.
type poller struct {
	store  *eventstore.Store
	after  eventstore.Position
	events []eventstore.RecordedEvent
}

func (p *poller) read(ctx context.Context) error {
	events, err := collect(p.store.ReadAll(ctx, eventstore.ReadAllOptions{After: p.after}))
	if err != nil {
		return err
	}
	if len(events) > 0 {
		p.events = append(p.events, events...)
		p.after = events[len(events)-1].Position
	}
	return nil
}

// expectAll reads on once more and compares everything with a fresh read.
func (p *poller) expectAll(ctx context.Context, what string) error {
	if err := p.read(ctx); err != nil {
		return err
	}
	all, err := collect(p.store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	return expectSame(what+" against everything that is there in the end", all, p.events)
}

func noLateArrival(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 3)
	if err != nil {
		return err
	}
	pollers := []*poller{{store: stores[0]}, {store: stores[1]}, {store: small}}
	written := 0
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		var writing atomic.Bool
		writing.Store(true)
		var reading sync.WaitGroup
		failures := make([]error, len(pollers))
		for i, p := range pollers {
			reading.Go(func() {
				failures[i] = contain(func() error {
					for writing.Load() {
						if err := p.read(ctx); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
		told, err := writeAtOnce(ctx, env, racers, appendsFor(racers), stores[:], env.Stream("Order"), env.Stream("Order"), env.Stream("Cart"))
		writing.Store(false)
		reading.Wait()
		if err := errors.Join(append(failures, err)...); err != nil {
			return err
		}
		for i, p := range pollers {
			if err := p.expectAll(ctx, fmt.Sprintf("what reader %d saw, reading on from its last position each time,", i+1)); err != nil {
				return err
			}
		}
		if written += count(told); len(pollers[0].events) != written {
			return unexpected("events that were written and read", written, len(pollers[0].events))
		}
		return nil
	})
}

// noLateArrivalForced holds a writer between taking its place in the order and
// becoming visible, and lets others write meanwhile. A backend may make those
// wait for the held one; it may not let a reader pass it.
func noLateArrivalForced(ctx context.Context, env *Env) error {
	const others = 3
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 3, stores[:]...); err != nil {
		return err
	}
	pollers := []*poller{{store: stores[0]}, {store: stores[1]}}
	live := listen(ctx, env, stores[1], eventstore.SubscribeOptions{})
	if err := live.waitCaughtUp(ctx); err != nil {
		return err
	}
	held := env.Events(2)
	release, err := env.Fixture.HoldWriter(ctx, eventstore.StreamAppend{Stream: env.StreamID("Held", 1), Expected: eventstore.NoStream(), Events: held})
	if err != nil {
		return fmt.Errorf("the fixture's %s: %w", NeedsHoldWriter, err)
	}
	release = sync.OnceValues(release)
	defer func() { _, _ = release() }() // a held writer must not outlive the check
	finished := make(chan error, others)
	for i := range others {
		go func() {
			_, err := stores[i%2].Append(ctx, env.StreamID("Free", i), eventstore.NoStream(), env.Events(2)...)
			finished <- err
		}()
	}
	// Long enough for the others to become visible, if the backend lets them.
	done, window := 0, time.After(500*time.Millisecond)
	for waiting := true; waiting && done < others; {
		select {
		case err := <-finished:
			done++
			if err != nil {
				return fmt.Errorf("append while another writer is held: %w", err)
			}
		case <-window:
			waiting = false
		}
		for _, p := range pollers {
			if err := p.read(ctx); err != nil {
				return fmt.Errorf("read while a writer is held: %w", err)
			}
		}
	}
	for _, p := range pollers {
		if slices.ContainsFunc(p.events, func(e eventstore.RecordedEvent) bool { return e.Stream == env.StreamID("Held", 1) }) {
			return unexpected("what can be read of the held append", "nothing", "its events: the fixture's HoldWriter does not hold it")
		}
	}
	result, err := release()
	if err != nil {
		return fmt.Errorf("the held append: %w", err)
	}
	for ; done < others; done++ {
		if err := <-finished; err != nil {
			return fmt.Errorf("append beside a writer that was held: %w", err)
		}
	}
	if err := expectEvents(ctx, stores[0], env.StreamID("Held", 1), held...); err != nil {
		return err
	}
	for i, p := range pollers {
		if err := p.expectAll(ctx, fmt.Sprintf("what reader %d saw while a writer was held at position %s and afterwards,", i+1, result.Position)); err != nil {
			return err
		}
	}
	all := pollers[0].events
	if err := live.waitPast(ctx, all[len(all)-1].Position); err != nil {
		return err
	}
	return expectSame("what a subscription delivered while a writer was held and afterwards", all, live.events())
}

func readYourWrites(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		return race(racers, func(i int) error {
			stream := env.StreamID("Mine", 10_000*racers+i) // no other stream begins with it
			var mine []eventstore.Event
			for j := range appendsFor(racers) {
				writer, reader := stores[(i+j)%2], stores[(i+j+1)%2]
				events := env.Events(1 + j%2)
				mine = append(mine, events...)
				result, err := writer.Append(ctx, stream, eventstore.Any(), events...)
				if err != nil {
					return err
				}
				if err := expectWritten(ctx, reader, stream, result, mine); err != nil {
					return fmt.Errorf("as soon as the append through the other handle returned: %w", err)
				}
			}
			return nil
		})
	})
}

// expectWritten reads what was just appended, in every way there is.
func expectWritten(ctx context.Context, reader *eventstore.Store, stream string, result eventstore.AppendResult, mine []eventstore.Event) error {
	version, err := reader.StreamVersion(ctx, stream)
	if err != nil {
		return err
	}
	if version != uint64(len(mine)) {
		return unexpected(fmt.Sprintf("version of stream %q", stream), len(mine), version)
	}
	if err := expectEvents(ctx, reader, stream, mine...); err != nil {
		return err
	}
	if !reader.Capabilities().GlobalOrder.Supported() {
		return nil
	}
	all, err := collect(reader.ReadAll(ctx, eventstore.ReadAllOptions{Filter: eventstore.Filter{StreamPrefixes: []string{stream}}, Backward: true, Limit: 1}))
	if err != nil {
		return err
	}
	if len(all) != 1 || !slices.ContainsFunc(all, func(e eventstore.RecordedEvent) bool { return e.Position == result.Position }) {
		return unexpected(fmt.Sprintf("the last event of the prefix %q in ReadAll", stream), "the one at position "+result.Position.String(), fmt.Sprintf("%d events: %v", len(all), all))
	}
	return nil
}

func monotonicReads(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		stream := env.Stream("Order")
		var writing atomic.Bool
		writing.Store(true)
		reader := make(chan error, 1)
		go func() {
			reader <- contain(func() error {
				var version uint64
				var head eventstore.Position
				for i := 0; i < 20 || writing.Load(); i++ { // also where the writers leave a reader no time
					store := stores[i%2]
					now, err := store.StreamVersion(ctx, stream)
					if err != nil {
						return err
					}
					if now < version {
						return unexpected(fmt.Sprintf("version of stream %q through handle %d, after the other handle's answer", stream, i%2+1), fmt.Sprintf("at least %d", version), now)
					}
					version = now
					if !env.Caps.GlobalOrder.Supported() {
						continue
					}
					info, err := store.Info(ctx)
					if err != nil {
						return err
					}
					if info.Head.Position.Before(head) {
						return unexpected(fmt.Sprintf("head through handle %d, after the other handle's answer", i%2+1), "at least "+head.String(), info.Head)
					}
					head = info.Head.Position
				}
				return nil
			})
		}()
		told, err := writeAtOnce(ctx, env, racers, appendsFor(racers), stores[:], stream, env.Stream("Order"))
		writing.Store(false)
		if err := errors.Join(err, <-reader); err != nil {
			return err
		}
		want := count(slices.DeleteFunc(told, func(w written) bool { return w.stream != stream }))
		version, err := stores[0].StreamVersion(ctx, stream)
		if err != nil || version != uint64(want) {
			return unexpected(fmt.Sprintf("version of stream %q in the end", stream), want, fmt.Sprintf("%d, error %v", version, err))
		}
		return nil
	})
}
