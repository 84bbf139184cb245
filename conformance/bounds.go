package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of bounds far beyond what is stored, and of leaving and closing anywhere.
func boundsChecks() []Check {
	return []Check{
		{
			Name: "bounds/stream-versions", Promise: 11, Core: true,
			Sentence: "Bounds on a version far beyond the stream, around 2^31, 2^32, 2^53 and up to 2^63-1, and limits of any size select what they say.",
			Run:      versionBounds,
		},
		{
			Name: "bounds/positions", Promise: 15, Core: true, Requires: globalOrder,
			Sentence: "Bounds on a position between two events or far beyond the head, with words around 2^32, 2^63 and up to 2^64-1, and limits of any size select what they say.",
			Run:      positionBounds,
		},
		{
			Name: "bounds/expected-versions", Promise: 2, Core: true,
			Sentence: "An expected version far beyond the stream is a conflict that carries the actual one, also where its low 32 bits agree.",
			Run:      expectedBounds,
		},
		{
			Name: "iterator/left-anywhere", Promise: 20, Needs: NeedsOpenAgain,
			Sentence: "A read or subscription can be left after any pair: the store works on, and what is read next is whole.",
			Run:      leftAnywhere,
		},
		{
			Name: "close/anywhere-in-a-loop", Promise: 20, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A store closed in the body of a loop ends that loop promptly, after any pair: with ErrClosed, or at its own end with everything delivered.",
			Run:      closedAnywhere,
		},
	}
}

// farVersions lie beyond any stream of the suite, up to the highest version.
func farVersions() []uint64 {
	return []uint64{1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<32 + 3, 1<<53 - 1, 1<<53 + 1, 1 << 62, math.MaxInt64 - 1, math.MaxInt64}
}

// farLimits lie beyond any number of events of the suite, as far as an int reaches.
func farLimits() []int {
	limits := []int{math.MaxInt32}
	for _, far := range []int64{math.MaxInt32 + 1, math.MaxUint32, math.MaxUint32 + 2, math.MaxInt64} {
		if far <= math.MaxInt {
			limits = append(limits, int(far))
		}
	}
	return limits
}

func versionBounds(ctx context.Context, env *Env) error {
	const n = 7
	stream, events := env.Stream("Order"), env.Events(n)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
		return err
	}
	for _, far := range farVersions() {
		for _, opts := range []eventstore.ReadOptions{
			{Before: far},
			{Before: far, Backward: true},
			{After: far},
			{After: far, Backward: true},
			{After: far - 1, Before: far},
			{After: far - 1, Before: far, Backward: true},
			{After: 2, Before: far},
			{After: 2, Before: far, Backward: true, Limit: 3},
			{After: n, Before: far, Backward: true},
			{After: n, Before: far},
			{After: n - 1, Before: far},
		} {
			if opts.After >= n { // nothing lies there
				got, err := collect(env.Store.ReadStream(ctx, stream, opts))
				if err != nil || len(got) > 0 {
					return unexpected(fmt.Sprintf("a stream of %d events read with %+v", n, opts), "nothing", fmt.Sprintf("%d events, error %v", len(got), err))
				}
				continue
			}
			if err := expectPart(ctx, env.Store, stream, events, opts); err != nil {
				return err
			}
		}
	}
	for _, limit := range append([]int{n, n + 1}, farLimits()...) {
		for _, backward := range []bool{false, true} {
			if err := expectPart(ctx, env.Store, stream, events, eventstore.ReadOptions{Limit: limit, Backward: backward}); err != nil {
				return err
			}
		}
	}
	return nil
}

func positionBounds(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 5, env.Store)
	if err != nil {
		return err
	}
	head := all[len(all)-1].Position
	for _, hi := range words() {
		if hi < 1<<31-1 {
			continue // the suite's stores may come so far
		}
		for _, lo := range []uint64{0, 1, 1<<31 - 1, hi} { // as a log's offsets are: the low word is not above the high one
			far := eventstore.NewPosition(hi, lo)
			for _, opts := range []eventstore.ReadAllOptions{
				{Before: far},
				{Before: far, Backward: true},
				{After: far},
				{After: far, Backward: true},
				{After: head, Before: far},
				{After: all[1].Position, Before: far, Backward: true, Limit: 2},
				{After: all[1].Position, Before: far, Filter: ofTypes(all[2].Type)},
			} {
				if err := expectFiltered(ctx, env.Store, all, opts); err != nil {
					return err
				}
			}
		}
	}
	for _, event := range all {
		hi, lo := event.Position.Words()
		if lo++; lo > hi {
			continue // no log has such offsets
		}
		near := eventstore.NewPosition(hi, lo) // another kind of store's, which lies between two events
		for _, opts := range []eventstore.ReadAllOptions{{Before: near}, {After: near}} {
			for _, filter := range []eventstore.Filter{{}, ofTypes(event.Type), ofCategory(eventstore.Category(event.Stream))} {
				for _, backward := range []bool{false, true} {
					opts.Filter, opts.Backward = filter, backward
					if err := expectFiltered(ctx, env.Store, all, opts); err != nil {
						return err
					}
				}
			}
		}
	}
	for _, limit := range append([]int{len(all)}, farLimits()...) {
		for _, backward := range []bool{false, true} {
			if err := expectFiltered(ctx, env.Store, all, eventstore.ReadAllOptions{Limit: limit, Backward: backward}); err != nil {
				return err
			}
		}
	}
	return nil
}

func expectedBounds(ctx context.Context, env *Env) error {
	absent, stream := env.Stream("Cart"), env.Stream("Order")
	stored := env.Events(3)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored...); err != nil {
		return err
	}
	for _, far := range append(farVersions(), 1<<16, 1<<16+3, 1<<8+3, 1<<33, 1<<62+3) {
		for name, actual := range map[string]uint64{absent: 0, stream: 3} {
			_, err := env.Store.Append(ctx, name, eventstore.Exactly(far), env.Events(1)...)
			if err := expectConflict(fmt.Sprintf("an append that expects version %d of a stream at %d", far, actual), err, name, eventstore.Exactly(far), actual); err != nil {
				return err
			}
		}
		if err := expectDuplicateAt(ctx, env.Store, stream, eventstore.Exactly(far), 3, stored...); err != nil {
			return err
		}
	}
	return errors.Join(expectEvents(ctx, env.Store, absent), expectEvents(ctx, env.Store, stream, stored...))
}

// expectDuplicateAt appends events again and wants to hear of their last version.
func expectDuplicateAt(ctx context.Context, store *eventstore.Store, stream string, expected eventstore.ExpectedVersion, version uint64, events ...eventstore.Event) error {
	result, err := store.Append(ctx, stream, expected, events...)
	if err != nil || !result.Duplicate || result.Version != version {
		return unexpected(fmt.Sprintf("the same append again, expecting %s", expected), fmt.Sprintf("a duplicate at version %d", version), fmt.Sprintf("%+v, error %v", result, err))
	}
	return nil
}

// loop is a way to range over a store, and how many events it has; a
// subscription has no end.
type loop struct {
	name    string
	endless bool
	run     func(ctx context.Context, store *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error]
}

func loops(env *Env, stream string) []loop {
	all := []loop{
		{"ReadStream", false, func(ctx context.Context, s *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			return s.ReadStream(ctx, stream, eventstore.ReadOptions{})
		}},
		{"ReadStream backward", false, func(ctx context.Context, s *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			return s.ReadStream(ctx, stream, eventstore.ReadOptions{Backward: true})
		}},
	}
	if !env.Caps.GlobalOrder.Supported() {
		return all
	}
	subscribed := func(opts eventstore.SubscribeOptions) func(context.Context, *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
		return func(ctx context.Context, s *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			return func(yield func(eventstore.RecordedEvent, error) bool) {
				for m, err := range s.Subscribe(ctx, opts) {
					if !yield(m.Event, err) {
						return
					}
				}
			}
		}
	}
	return append(all,
		loop{"ReadAll", false, func(ctx context.Context, s *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			return s.ReadAll(ctx, eventstore.ReadAllOptions{})
		}},
		loop{"ReadAll backward with a filter", false, func(ctx context.Context, s *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			return s.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true, Filter: ofPrefix(stream)})
		}},
		loop{"Subscribe", true, subscribed(eventstore.SubscribeOptions{})},
		loop{"Subscribe with a filter", true, subscribed(eventstore.SubscribeOptions{Filter: ofTypes("Happened")})},
	)
}

// inLoops has 9 events, which each loop reads in pages of 3.
const inLoops = 9

func leftAnywhere(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	stored, err := env.Fill(ctx, stream, inLoops, inLoops)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 3)
	if err != nil {
		return err
	}
	for _, l := range loops(env, stream) {
		for leave := 1; leave <= inLoops; leave++ {
			for _, store := range []*eventstore.Store{small, env.Store} {
				what := fmt.Sprintf("%s, left after pair %d", l.name, leave)
				failed, late := returnsPromptly(what, func() error {
					n := 0
					for _, err := range l.run(ctx, store) {
						if err != nil {
							return err
						}
						if n++; n == leave {
							break
						}
					}
					got, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
					return errors.Join(err, expectSame("a stream read after "+what, stored, got))
				})
				if err := errors.Join(late, failed); err != nil {
					return err
				}
			}
		}
	}
	_, err = env.Store.Append(ctx, stream, eventstore.Exactly(inLoops), env.Events(1)...)
	return err
}

func closedAnywhere(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	stored, err := env.Fill(ctx, stream, inLoops, inLoops)
	if err != nil {
		return err
	}
	for i, l := range loops(env, stream) {
		for leave := 1; leave <= inLoops; leave++ {
			backend, err := env.Fixture.OpenAgain(ctx)
			if err != nil {
				return fmt.Errorf("the fixture's %s: %w", NeedsOpenAgain, err)
			}
			store, err := env.NewStore(backend, eventstore.Options{PageSize: []int{3, 512}[(i+leave)%2]})
			if err != nil {
				return err
			}
			what := fmt.Sprintf("%s whose store is closed after pair %d", l.name, leave)
			pairs := 0
			ended, late := returnsPromptly(what, func() error {
				for _, err := range l.run(ctx, store) {
					if err != nil {
						return err
					}
					if pairs++; pairs == leave {
						if err := store.Close(); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if late != nil {
				return late
			}
			switch {
			case ended == nil && (l.endless || pairs != inLoops):
				return unexpected(what, "ErrClosed", fmt.Sprintf("its end after %d pairs without an error", pairs))
			case ended != nil && !errors.Is(ended, eventstore.ErrClosed):
				return unexpected(what, eventstore.ErrClosed, ended)
			}
		}
	}
	got, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	return errors.Join(err, expectSame("a stream after other handles were closed", stored, got))
}
