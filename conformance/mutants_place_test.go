package conformance_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// placeMutants break where pages, signals and answers say that events are.
func placeMutants() []classMutant {
	ordered := func(change func(req eventstore.ReadAllRequest, page *eventstore.Page)) func(*handle) {
		return func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadAll(ctx, req)
				if err == nil {
					change(req, &page)
				}
				return page, err
			}
			h.OnSubscribe = h.follow
		}
	}
	messages := func(change func(m *eventstore.Message)) func(*handle) {
		return func(h *handle) {
			h.messages(func(context.Context, eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					change(&m)
					return yield(m)
				}
			})
		}
	}
	infos := func(change func(h *handle, info *eventstore.Info)) func(*handle) {
		return func(h *handle) {
			h.OnInfo = func(ctx context.Context) (eventstore.Info, error) {
				info, err := h.Backend.Info(ctx)
				change(h, &info)
				return info, err
			}
		}
	}
	answers := func(change func(results []eventstore.PartResult)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				change(results)
				return results, err
			}
		}
	}
	// verifies is a backend that holds a place against the store in its own way:
	// what trust lets pass is not verified any further.
	verifies := func(trust func(ctx context.Context, h *handle, after eventstore.Place) bool) func(*handle) {
		return func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if trust(ctx, h, req.After) {
					req.After = eventstore.Place{Position: req.After.Position}
				}
				return h.Backend.ReadAll(ctx, req)
			}
			h.OnSubscribe = h.follow
		}
	}
	// at is the event at a position.
	at := func(ctx context.Context, h *handle, after eventstore.Place) eventstore.Place {
		hi, lo := after.Position.Words()
		page, err := h.Backend.ReadAll(ctx, eventstore.ReadAllRequest{Before: eventstore.NewPosition(hi+1, lo), Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
		if err != nil || len(page.Events) == 0 {
			return eventstore.Place{}
		}
		return page.Events[0].Place()
	}
	const invisible = 3 // records at the log's end that are no events
	return []classMutant{
		{"goes on beyond the last event", "place/next-within-the-store", "at most the last event's place", ordered(func(req eventstore.ReadAllRequest, page *eventstore.Page) {
			if page.End && !req.Backward {
				hi, _ := page.Next.Position.Words()
				page.Next = eventstore.Place{Position: eventstore.NewPosition(hi+invisible, 0)}
			}
		})},
		{"goes on at a position without an event", "place/next-within-the-store", "the place of an event of the store", ordered(func(_ eventstore.ReadAllRequest, page *eventstore.Page) {
			page.Next = eventstore.Place{Position: page.Next.Position}
		})},
		{"goes on at the last match", "place/next-within-the-store", "Next of a page", ordered(func(req eventstore.ReadAllRequest, page *eventstore.Page) {
			page.Next = req.After
			if n := len(page.Events); n > 0 {
				page.Next = page.Events[n-1].Place()
			}
		})},
		{"never ends an empty page", "place/next-within-the-store", "page after the last event", ordered(func(_ eventstore.ReadAllRequest, page *eventstore.Page) {
			page.End = page.End && len(page.Events) > 0
		})},
		{"goes on with the ID of another event", "place/next-within-the-store", "the place of an event of the store", ordered(func(_ eventstore.ReadAllRequest, page *eventstore.Page) {
			page.Next.ID[0]++
		})},
		{"makes progress to a position without an event", "place/signals-name-events", "place of message", messages(func(m *eventstore.Message) {
			if m.Kind == eventstore.MessageProgress {
				m.Place = eventstore.Place{Position: m.Place.Position}
			}
		})},
		{"delivers an event at another place", "place/signals-name-events", "place of message", messages(func(m *eventstore.Message) {
			if m.Kind == eventstore.MessageEvent {
				m.Place.Version++
			}
		})},
		{"has caught up nowhere", "place/signals-name-events", "to progress to|place of message", messages(func(m *eventstore.Message) {
			if m.Kind == eventstore.MessageCaughtUp {
				m.Place = eventstore.Place{}
			}
		})},
		{"has caught up at a caller's position without its event", "place/signals-name-events", "place of message 1", func(h *handle) {
			h.messages(func(_ context.Context, req eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if m.Kind == eventstore.MessageCaughtUp && m.Place.Position == req.After.Position {
						m.Place = req.After
					}
					return yield(m)
				}
			})
		}},
		{"waits at a place ahead of the store where that names an event", "place/ahead-after-reconnecting", "which is ahead of the store", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if !req.After.Named() || !headOf(ctx, h).Before(req.After.Position) {
					return h.follow(ctx, req)
				}
				return func(yield func(eventstore.Message, error) bool) {
					<-ctx.Done()
					yield(eventstore.Message{}, ctx.Err())
				}
			}
		}},
		{"holds a place against the head that it knew before", "place/ahead-after-reconnecting", "a subscription that reconnects", infos(func(_ *handle, info *eventstore.Info) {
			info.Head.Position = eventstore.NewPosition(math.MaxUint64, math.MaxUint64)
		})},
		{"reads the head late", "place/head-and-result", "head: expected", infos(func(h *handle, info *eventstore.Info) {
			h.data.remember(func(kept map[string]any) {
				key := "head" + string(rune('0'+h.number))
				now := info.Head
				if before, ok := kept[key].(eventstore.Place); ok {
					info.Head = before
				}
				kept[key] = now
			})
		})},
		{"does not name the event at its head", "place/head-and-result", "head: expected", infos(func(_ *handle, info *eventstore.Info) {
			info.Head = eventstore.Place{Position: info.Head.Position}
		})},
		{"answers with its own clock's time", "place/head-and-result", "events that appends returned", answers(func(results []eventstore.PartResult) {
			for _, result := range results {
				for i := range result.Recorded {
					result.Recorded[i].RecordedAt = result.Recorded[i].RecordedAt.Add(time.Microsecond)
				}
			}
		})},
		{"answers with the last event's place for all", "place/head-and-result", "events that appends returned", answers(func(results []eventstore.PartResult) {
			for _, result := range results {
				for i := range result.Recorded {
					result.Recorded[i].Position = result.Recorded[len(result.Recorded)-1].Position
				}
			}
		})},
		{"answers with the versions backward", "place/head-and-result", "events that appends returned", answers(func(results []eventstore.PartResult) {
			for _, result := range results {
				slices.Reverse(result.Recorded)
			}
		})},
		{"does not verify a place", "place/another-event", "a page after a place with", verifies(func(context.Context, *handle, eventstore.Place) bool { return true })},
		{"verifies a place only in pages", "place/another-event", "the backend's subscription after a place with", func(h *handle) {
			h.messages(func(context.Context, eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool { return yield(m) }
			})
			inner := h.OnSubscribe
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				req.After = eventstore.Place{Position: req.After.Position}
				return inner(ctx, req)
			}
		}},
		{"verifies a place without the ID", "place/another-event", "a place with another ID", verifies(func(ctx context.Context, h *handle, after eventstore.Place) bool {
			found := at(ctx, h, after)
			found.ID = after.ID
			return found == after
		})},
		{"verifies a place without the version", "place/another-event", "a place with another version", verifies(func(ctx context.Context, h *handle, after eventstore.Place) bool {
			found := at(ctx, h, after)
			found.Version = after.Version
			return found == after
		})},
		{"verifies a place without the stream", "place/another-event", "a place with another stream", verifies(func(ctx context.Context, h *handle, after eventstore.Place) bool {
			found := at(ctx, h, after)
			found.Stream = after.Stream
			return found == after
		})},
		{"verifies a place by its stream alone", "place/another-event", "a place with an(other| earlier) position", verifies(func(ctx context.Context, h *handle, after eventstore.Place) bool {
			page, err := h.Backend.ReadStream(ctx, eventstore.ReadStreamRequest{Stream: after.Stream, After: max(after.Version, 1) - 1, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
			return err == nil && len(page.Events) == 1 && page.Events[0].ID == after.ID && page.Events[0].Version == after.Version
		})},
		{"takes another event's place for its own end", "place/another-event", "a page after a place with", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadAll(ctx, req)
				if errors.Is(err, eventstore.ErrForeignCheckpoint) {
					return eventstore.Page{End: true, Next: req.After}, nil
				}
				return page, err
			}
			h.OnSubscribe = h.follow
		}},
		{"has a head that no event reaches", "place/ahead", "which is ahead of the store", infos(func(_ *handle, info *eventstore.Info) {
			info.Head.Position = eventstore.NewPosition(math.MaxUint64, math.MaxUint64)
		})},
	}
}
