package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func orderChecks() []Check {
	ordered := func(name string, promise int, sentence string, run func(context.Context, *Env) error) Check {
		return Check{Name: "order/" + name, Promise: promise, Core: true, Requires: globalOrder, Refused: refuseGlobalOrder, Sentence: sentence, Run: run}
	}
	return slices.Concat([]Check{
		{
			Name: "order/versions-under-writers", Promise: 11, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Versions are 1..n without a hole or a duplicate when 2, 8 and 32 writers append to one stream through two handles, and each writer is told the versions of its own events.",
			Run:      versionsUnderWriters,
		},
		needs(NeedsOpenAgain, ordered("position-agrees-with-version", 12, "Position order agrees with version order in each stream, also under concurrent writers.", positionAgrees)),
		needs(NeedsOpenAgain, ordered("union-of-streams", 15, "ReadAll is the union of all streams: every event of every stream, once, with the same content and position.", unionOfStreams)),
		needs(NeedsOpenAgain, ordered("handles-agree", 12, "All readers on all handles agree on the order, while 2, 8 and 32 writers write and afterwards.", handlesAgree)),
		needs(NeedsOpenAgain, ordered("append-position", 12, "An append returns the position of its last event; positions rise strictly from above zero.", appendPosition)),
		{
			Name: "order/position-text", Promise: 12, Requires: globalOrder,
			Sentence: "A position survives the way through its text and through JSON, and can be resumed from afterwards.",
			Run:      positionText,
		},
		needs(NeedsOpenAgain, ordered("head", 14, "The head is the position of the last event, through every handle, as soon as the append returned.", headFollows)),
	}, visibilityChecks())
}

// written is what a writer was told about one of its appends.
type written struct {
	stream string
	events []eventstore.Event
	result eventstore.AppendResult
}

// writeAtOnce has n writers append at once, in turns through the stores, each
// appends batches of one to three events to the streams, and returns what they
// were told.
func writeAtOnce(ctx context.Context, env *Env, n, appends int, stores []*eventstore.Store, streams ...string) ([]written, error) {
	told := make([][]written, n)
	err := race(n, func(i int) error {
		for j := range appends {
			w := written{stream: streams[(i+j)%len(streams)], events: env.Events(1 + (i+j)%3)}
			var err error
			if w.result, err = stores[(i+j)%len(stores)].Append(ctx, w.stream, eventstore.Any(), w.events...); err != nil {
				return err
			}
			told[i] = append(told[i], w)
		}
		return nil
	})
	return slices.Concat(told...), err
}

// count is how many events were written.
func count(told []written) int {
	n := 0
	for _, w := range told {
		n += len(w.events)
	}
	return n
}

// appendsFor keeps the work of a check about equal for any number of racers.
func appendsFor(racers int) int { return max(4, 96/racers) }

func versionsUnderWriters(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		stream := env.Stream("Order")
		told, err := writeAtOnce(ctx, env, racers, appendsFor(racers), stores[:], stream)
		if err != nil {
			return err
		}
		var want []eventstore.Event
		slices.SortFunc(told, func(a, b written) int { return int(firstVersion(a.result)) - int(firstVersion(b.result)) })
		for _, w := range told {
			first, last := uint64(len(want))+1, uint64(len(want)+len(w.events))
			if firstVersion(w.result) != first || w.result.Version != last {
				return unexpected(fmt.Sprintf("versions that the writer of %d events was told", len(w.events)), fmt.Sprintf("%d to %d", first, last), fmt.Sprintf("%d to %d", firstVersion(w.result), w.result.Version))
			}
			want = append(want, w.events...)
		}
		return errors.Join(expectEvents(ctx, stores[0], stream, want...), expectEvents(ctx, stores[1], stream, want...))
	})
}

func positionAgrees(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	written := 0
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		streams := []string{env.Stream("Order"), env.Stream("Order"), env.Stream("Cart")}
		told, err := writeAtOnce(ctx, env, racers, appendsFor(racers), stores[:], streams...)
		if err != nil {
			return err
		}
		all, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := expectIncreasing("ReadAll", all); err != nil {
			return err
		}
		versions := make(map[string]uint64)
		for _, event := range all {
			if event.Version != versions[event.Stream]+1 {
				return unexpected(fmt.Sprintf("version of stream %q at position %s", event.Stream, event.Position), versions[event.Stream]+1, event.Version)
			}
			versions[event.Stream]++
		}
		if written += count(told); len(all) != written {
			return unexpected("events in ReadAll", written, len(all))
		}
		return nil
	})
}

func unionOfStreams(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	streams := []string{env.Stream("Order"), env.Stream("Order"), env.Stream("Cart"), env.odd("Plain", "Ord%r-1")[0], env.odd("Plain", "Ord%r-1")[1]}
	told, err := writeAtOnce(ctx, env, 8, 10, stores[:], streams...)
	if err != nil {
		return err
	}
	want := count(told)
	var union []eventstore.RecordedEvent
	for i, stream := range streams {
		events, err := collect(stores[i%2].ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		union = append(union, events...)
	}
	if len(union) != want {
		return unexpected("events in all streams", want, len(union))
	}
	slices.SortFunc(union, func(a, b eventstore.RecordedEvent) int { return a.Position.Compare(b.Position) })
	for _, store := range stores {
		all, err := collect(store.ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := expectSame("ReadAll against the union of all streams", union, all); err != nil {
			return err
		}
	}
	return nil
}

// handlesAgree compares what readers saw while there were writers with what all
// of them see afterwards: it must be how that begins.
func handlesAgree(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	written := 0
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		const readers = 4
		var writing atomic.Bool
		writing.Store(true)
		seen := make([][][]eventstore.RecordedEvent, readers)
		var reading sync.WaitGroup
		failures := make([]error, readers)
		for i := range readers {
			reading.Go(func() {
				failures[i] = contain(func() error {
					for writing.Load() && len(seen[i]) < 50 {
						all, err := collect(stores[i%2].ReadAll(ctx, eventstore.ReadAllOptions{}))
						if err != nil {
							return err
						}
						seen[i] = append(seen[i], all)
					}
					return nil
				})
			})
		}
		told, err := writeAtOnce(ctx, env, racers, appendsFor(racers)/2, stores[:], env.Stream("Order"), env.Stream("Order"), env.Stream("Cart"))
		writing.Store(false)
		reading.Wait()
		if err := errors.Join(append(failures, err)...); err != nil {
			return err
		}
		final, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		other, err := collect(stores[1].ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := expectSame("ReadAll through the second handle against the first", final, other); err != nil {
			return err
		}
		if written += count(told); len(final) != written {
			return unexpected("events in ReadAll", written, len(final))
		}
		for i, snapshots := range seen {
			for _, all := range snapshots {
				what := fmt.Sprintf("ReadAll through handle %d while there were writers, against how the log begins afterwards", i%2+1)
				if err := expectSame(what, final[:min(len(final), len(all))], all); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func appendPosition(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	if _, err := writeLog(ctx, env, 20, stores[:]...); err != nil { // compares them for one writer
		return err
	}
	told, err := writeAtOnce(ctx, env, 8, 8, stores[:], env.Stream("Order"), env.Stream("Cart"))
	if err != nil {
		return err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if err := expectIncreasing("ReadAll", all); err != nil {
		return err
	}
	for _, w := range told {
		i, found := slices.BinarySearchFunc(all, w.result.Position, func(e eventstore.RecordedEvent, p eventstore.Position) int { return e.Position.Compare(p) })
		last := w.events[len(w.events)-1]
		if !found || all[i].ID != last.ID {
			got := "no event"
			if found {
				got = describe(all[i].Event)
			}
			return unexpected(fmt.Sprintf("the event at the position %s that an append returned", w.result.Position), describe(last), got)
		}
	}
	return nil
}

func positionText(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 10, env.Store)
	if err != nil {
		return err
	}
	for i, event := range all {
		parsed, err := eventstore.ParsePosition(event.Position.String())
		if err != nil || parsed != event.Position {
			return unexpected("position read from its text", event.Position, fmt.Sprintf("%s, error %v", parsed, err))
		}
		text, err := json.Marshal(map[string]eventstore.Position{"at": event.Position})
		if err != nil {
			return err
		}
		var back map[string]eventstore.Position
		if err := json.Unmarshal(text, &back); err != nil || back["at"] != event.Position {
			return unexpected("position read from JSON", event.Position, fmt.Sprintf("%s, error %v", back["at"], err))
		}
		got, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: back["at"]}))
		if err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("ReadAll after the position of event %d, read from text", i+1), all[i+1:], got); err != nil {
			return err
		}
	}
	return nil
}

func headFollows(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	var last eventstore.Position
	for i := range 20 {
		result, err := stores[i%2].Append(ctx, env.StreamID("Order", 1), eventstore.Any(), env.Events(1+i%3)...)
		if err != nil {
			return err
		}
		if !last.Before(result.Position) {
			return unexpected("position of an append", "one after "+last.String(), result.Position)
		}
		last = result.Position
		for j, store := range stores {
			info, err := store.Info(ctx)
			if err != nil {
				return err
			}
			if info.Head.Position != result.Position {
				return unexpected(fmt.Sprintf("head through handle %d after an append through handle %d", j+1, i%2+1), result.Position, info.Head)
			}
		}
	}
	return nil
}
