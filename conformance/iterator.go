package conformance

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func iteratorChecks() []Check {
	return []Check{
		{
			Name: "iterator/single-use", Promise: 15,
			Sentence: "A read is for one use: ranging over it again yields ErrInvalid and nothing else.",
			Run:      singleUse,
		},
		{
			Name: "iterator/lazy", Promise: 15,
			Sentence: "A read does no I/O before it is ranged over, and fetches a page only when the one before it is used up.",
			Run:      lazyRead,
		},
		{
			Name: "iterator/error-is-last", Promise: 15,
			Sentence: "An error is the last pair that a read yields, with no event.",
			Run:      errorIsLast,
		},
		{
			Name: "iterator/break-frees", Promise: 15,
			Sentence: "Leaving the loop early frees everything: a thousand abandoned reads leave the store as usable as before.",
			Run:      breakFrees,
		},
		{
			Name: "iterator/nothing-held-open", Promise: 15, Core: true, Needs: NeedsOpenAgain,
			Sentence: "No transaction or cursor is held open while the caller works: the loop's body can append through the same and another handle.",
			Run:      appendWhileReading,
		},
	}
}

// reads are the ways to read the events of a stream that is alone in its store.
func reads(store *eventstore.Store, stream string) map[string]func(context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
	ways := map[string]func(context.Context) iter.Seq2[eventstore.RecordedEvent, error]{
		"ReadStream": func(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadStream(ctx, stream, eventstore.ReadOptions{})
		},
		"ReadStream backward": func(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadStream(ctx, stream, eventstore.ReadOptions{Backward: true})
		},
	}
	if store.Capabilities().GlobalOrder.Supported() {
		ways["ReadAll"] = func(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadAll(ctx, eventstore.ReadAllOptions{})
		}
		ways["ReadAll backward"] = func(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true})
		}
	}
	return ways
}

func singleUse(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 3, 3); err != nil {
		return err
	}
	for name, read := range reads(env.Store, stream) {
		seq := read(ctx)
		if events, err := collect(seq); err != nil || len(events) != 3 {
			return unexpected(name, "3 events", fmt.Sprintf("%d, error %v", len(events), err))
		}
		again, err := collect(seq)
		if len(again) != 0 {
			return unexpected(name+", ranged over again", "no event", len(again))
		}
		if err := expectError(name+", ranged over again", err, eventstore.ErrInvalid); err != nil {
			return err
		}
	}
	return nil
}

// pageCounter counts the pages that are asked of a backend.
type pageCounter struct {
	eventstore.Backend
	pages atomic.Int64
}

func (c *pageCounter) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	c.pages.Add(1)
	return c.Backend.ReadStream(ctx, req)
}

func (c *pageCounter) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	c.pages.Add(1)
	return c.Backend.ReadAll(ctx, req)
}

func lazyRead(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 10, 5); err != nil {
		return err
	}
	counter := &pageCounter{Backend: env.Fixture.Backend}
	store, err := env.NewStore(counter, eventstore.Options{PageSize: 2})
	if err != nil {
		return err
	}
	for name, read := range reads(store, stream) {
		counter.pages.Store(0)
		seq := read(ctx)
		if n := counter.pages.Load(); n != 0 {
			return unexpected(name+", before it is ranged over", "no page", n)
		}
		seen := int64(0)
		for _, err := range seq {
			if err != nil {
				return err
			}
			seen++
			if n := counter.pages.Load(); n > seen {
				return unexpected(fmt.Sprintf("%s in pages of 2, after %d events", name, seen), fmt.Sprintf("at most %d pages asked for", seen), n)
			}
		}
	}
	return nil
}

func errorIsLast(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 6, 3); err != nil {
		return err
	}
	store, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	for name, read := range reads(store, stream) {
		ctx, cancel := context.WithCancel(ctx)
		events, failures := 0, 0
		for event, err := range read(ctx) {
			switch {
			case failures > 0:
				cancel()
				return unexpected(name+" after its error", "the end", "another pair")
			case err == nil:
				events++
			default:
				failures++
				if event.Version != 0 || event.Data != nil {
					cancel()
					return unexpected(name+": the event beside an error", "none", describeRecord(event))
				}
				if err := expectError(name+" with a cancelled context", err, context.Canceled); err != nil {
					cancel()
					return err
				}
			}
			cancel() // while there are pages left
		}
		cancel()
		if failures != 1 || events == 0 || events > 2 {
			return unexpected(name+", cancelled in its first page of two", "one or two events, then one error", fmt.Sprintf("%d events, %d errors", events, failures))
		}
	}
	return nil
}

func breakFrees(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 6, 3); err != nil {
		return err
	}
	store, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	for name, read := range reads(store, stream) {
		for range 250 {
			for _, err := range read(ctx) {
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				break
			}
		}
	}
	// What an abandoned read held would now be missing here.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for range 10 {
		if _, err := env.Store.Append(ctx, stream, eventstore.Any(), env.Event("Happened")); err != nil {
			return fmt.Errorf("append after a thousand abandoned reads: %w", err)
		}
	}
	version, err := env.Store.StreamVersion(ctx, stream)
	if err != nil || version != 16 {
		return unexpected("stream version after a thousand abandoned reads", 16, fmt.Sprintf("%d, error %v", version, err))
	}
	return nil
}

func appendWhileReading(ctx context.Context, env *Env) error {
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	store, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	writers := []*eventstore.Store{store, again}
	stream := env.Stream("Order")
	before, err := env.Fill(ctx, stream, 6, 3)
	if err != nil {
		return err
	}
	if len(before) != 6 {
		return unexpected("read of a stream of 6 events", 6, len(before))
	}
	for name, read := range reads(store, stream) {
		var seen []eventstore.RecordedEvent
		for event, err := range read(ctx) {
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			seen = append(seen, event)
			if len(seen) > 4 {
				continue // or a forward read might never reach the end
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			_, err := writers[len(seen)%2].Append(ctx, stream, eventstore.Any(), env.Event("Happened"))
			cancel()
			if err != nil {
				return fmt.Errorf("append in the body of a %s: %w", name, err)
			}
		}
		if len(seen) < len(before) {
			return unexpected(name+" while its body appends", fmt.Sprintf("the %d events that were there before, at least", len(before)), len(seen))
		}
		if before, err = collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{})); err != nil {
			return err
		}
	}
	return nil
}
