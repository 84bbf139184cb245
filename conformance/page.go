package conformance

import (
	"bytes"
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func pageChecks() []Check {
	return []Check{
		{
			Name: "page/stream-within-bounds", Promise: 15,
			Sentence: "A page of a stream holds at most MaxEvents events and ends with the event that reaches MaxBytes; the pages together are the stream, in both directions.",
			Run:      streamPages,
		},
		{
			Name: "page/all-within-bounds", Promise: 15, Requires: globalOrder, Refused: refuseGlobalOrder,
			Sentence: "A page of everything holds at most MaxEvents events and ends with the event that reaches MaxBytes; Next goes on without a gap, with and without a filter, in both directions.",
			Run:      allPages,
		},
	}
}

// testedPageSizes are bounds that end pages by number, by bytes, by both, and by
// neither, for events of about 100 KiB.
func testedPageSizes() []eventstore.PageSize {
	const most = 1 << 30
	return []eventstore.PageSize{
		{MaxEvents: 1, MaxBytes: most},
		{MaxEvents: 4, MaxBytes: most},
		{MaxEvents: 1000, MaxBytes: 1},
		{MaxEvents: 1000, MaxBytes: 250 << 10},
		{MaxEvents: 2, MaxBytes: 250 << 10},
		{MaxEvents: 1000, MaxBytes: most},
	}
}

// largeEvent has a payload that no JSON parser accepts, where the backend can hold one.
func largeEvent(env *Env, size int) eventstore.Event {
	if !env.Caps.BinaryData.Supported() {
		event := sizedEvent(env, size)
		event.Type = "Large"
		return event
	}
	event := env.Event("Large")
	event.ContentType = "application/octet-stream"
	event.Data = bytes.Repeat([]byte{0xfe, byte(env.Rand.IntN(256))}, size/2)
	return event
}

// writeLarge writes 11 events to two streams, every third of them small.
func writeLarge(ctx context.Context, env *Env, streams ...string) error {
	for i := range 11 {
		event := largeEvent(env, 100<<10)
		if i%3 == 2 {
			event = env.Event("Small")
		}
		if _, err := env.Store.Append(ctx, streams[i%len(streams)], eventstore.Any(), event); err != nil {
			return err
		}
	}
	return nil
}

// pageTurner returns page after page; last is nil for the first one.
type pageTurner func(last *eventstore.Page) (eventstore.Page, error)

// turnPages collects the events of all pages and checks each against its bounds.
func turnPages(what string, size eventstore.PageSize, most int, next pageTurner) ([]eventstore.RecordedEvent, error) {
	var all []eventstore.RecordedEvent
	var last *eventstore.Page
	for pages := 1; ; pages++ {
		page, err := next(last)
		if err != nil {
			return nil, fmt.Errorf("%s, page %d: %w", what, pages, err)
		}
		if len(page.Events) > size.MaxEvents {
			return nil, unexpected(fmt.Sprintf("%s, page %d", what, pages), fmt.Sprintf("at most %d events", size.MaxEvents), len(page.Events))
		}
		sum := 0
		for i, event := range page.Events {
			if sum >= size.MaxBytes {
				return nil, unexpected(fmt.Sprintf("%s, page %d", what, pages), fmt.Sprintf("its end after %d events, which reach %d bytes", i, size.MaxBytes), fmt.Sprintf("%d events", len(page.Events)))
			}
			sum += event.Size()
		}
		all = append(all, page.Events...)
		if page.End {
			return all, nil
		}
		if pages > most {
			return nil, unexpected(what, fmt.Sprintf("its end within %d pages", most), "another page")
		}
		last = &page
	}
}

func streamPages(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if err := writeLarge(ctx, env, stream); err != nil {
		return err
	}
	all, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	for _, size := range testedPageSizes() {
		for _, backward := range []bool{false, true} {
			what := fmt.Sprintf("a stream of %d events in pages of at most %d events and %d bytes, backward %t", len(all), size.MaxEvents, size.MaxBytes, backward)
			req := eventstore.ReadStreamRequest{Stream: stream, Backward: backward, PageSize: size}
			got, err := turnPages(what, size, len(all), func(last *eventstore.Page) (eventstore.Page, error) {
				if last != nil {
					if len(last.Events) == 0 {
						return eventstore.Page{}, unexpected(what, "an event or the end: a stream has no holes", "an empty page before the end")
					}
					version := last.Events[len(last.Events)-1].Version
					if backward {
						req.Before = version
					} else {
						req.After = version
					}
				}
				if backward && req.Before == 1 {
					return eventstore.Page{End: true}, nil // the Store asks for no page below version 1
				}
				return env.Fixture.Backend.ReadStream(ctx, req)
			})
			if err != nil {
				return err
			}
			if err := expectSame(what, choice(all, func(eventstore.RecordedEvent) bool { return true }, backward, 0), got); err != nil {
				return err
			}
		}
	}
	return nil
}

func allPages(ctx context.Context, env *Env) error {
	if err := writeLarge(ctx, env, env.Stream("Order"), env.Stream("Cart"), env.Stream("Order")); err != nil {
		return err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	for _, size := range testedPageSizes() {
		for _, backward := range []bool{false, true} {
			for _, filter := range []eventstore.Filter{{}, {Categories: []string{"Cart"}}, {Types: []string{"Small"}}, {StreamPrefixes: []string{"Nothing"}}} {
				what := fmt.Sprintf("%d events in pages of at most %d events and %d bytes, backward %t, filter %+v", len(all), size.MaxEvents, size.MaxBytes, backward, filter)
				req := eventstore.ReadAllRequest{Backward: backward, Filter: filter, PageSize: size}
				got, err := turnPages(what, size, 2*len(all), func(last *eventstore.Page) (eventstore.Page, error) {
					if last != nil {
						if err := goOn(what, &req, last); err != nil {
							return eventstore.Page{}, err
						}
					}
					return env.Fixture.Backend.ReadAll(ctx, req)
				})
				if err != nil {
					return err
				}
				want := choice(all, func(e eventstore.RecordedEvent) bool { return filter.Match(e.Stream, e.Type) }, backward, 0)
				if err := expectSame(what, want, got); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// goOn moves a request behind a page, whose Next must lie farther on than the
// request began, and not before the page's last event.
func goOn(what string, req *eventstore.ReadAllRequest, last *eventstore.Page) error {
	if req.Backward {
		if !req.Before.IsZero() && !last.Next.Position.Before(req.Before) {
			return unexpected(what+": Next of a page", "one before "+req.Before.String(), last.Next)
		}
		if n := len(last.Events); n > 0 && last.Events[n-1].Position.Before(last.Next.Position) {
			return unexpected(what+": Next of a page", "not after its last event, at "+last.Events[n-1].Position.String(), last.Next)
		}
		req.Before = last.Next.Position
		return nil
	}
	if !req.After.Position.Before(last.Next.Position) {
		return unexpected(what+": Next of a page", "one after "+req.After.String(), last.Next)
	}
	if n := len(last.Events); n > 0 && last.Next.Position.Before(last.Events[n-1].Position) {
		return unexpected(what+": Next of a page", "not before its last event, at "+last.Events[n-1].Position.String(), last.Next)
	}
	req.After = last.Next
	return nil
}
