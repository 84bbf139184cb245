package conformance_test

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// behindMutants break subscriptions that fall behind, rest, or are many, and what
// signals mean.
func behindMutants() []classMutant {
	return []classMutant{
		{"keeps a thousand events for a live subscriber and drops the rest", "subscription/falls-far-behind", "missing|expected", func(h *handle) {
			h.messages(func(ctx context.Context, req eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				live, last := false, req.After
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					live = live || m.Kind == eventstore.MessageCaughtUp
					hi, _ := m.Place.Position.Words()
					from, _ := last.Position.Words()
					head := headOf(ctx, h)
					if at, _ := head.Words(); live && m.Kind == eventstore.MessageEvent && at > from+1000 && hi < at-1000 {
						return true
					}
					last = m.Place
					return yield(m)
				}
			})
		}},
		{"lets no live subscriber catch up over a page of bytes", "subscription/falls-far-behind", "", func(h *handle) {
			h.messages(func(context.Context, eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				live, large := false, 0
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					live = live || m.Kind == eventstore.MessageCaughtUp
					if m.Kind == eventstore.MessageEvent && live {
						large += m.Event.Size()
						if large > 4<<20 && large < 5<<20 && m.Event.Size() > 100<<10 {
							return true
						}
					}
					return yield(m)
				}
			})
		}},
		{"loses its place after some idle polls", "subscription/idle", "idle for", func(h *handle) { h.OnSubscribe = idles(h, 4) }},
		{"sleeps for good after some idle polls", "subscription/idle-without-hints", "idle for", func(h *handle) { h.OnSubscribe = sleeps(h, 5) }},
		{"forgets a filtered subscription that rests", "subscription/idle", "idle for", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if req.Filter.IsZero() {
					return h.follow(ctx, req)
				}
				return sleeps(h, 4)(ctx, req)
			}
		}},
		{"says Progress of what it has not delivered", "subscription/signals-are-true", "every match up to it|not before", func(h *handle) {
			h.messages(func(ctx context.Context, _ eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if m.Kind == eventstore.MessageProgress {
						m.Place.Position = headOf(ctx, h)
					}
					return yield(m)
				}
			})
		}},
		{"says CaughtUp at the head of another moment", "subscription/signals-are-true", "every match up to it|not before", func(h *handle) {
			h.messages(func(ctx context.Context, _ eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if m.Kind == eventstore.MessageCaughtUp {
						roundTrip()
						m.Place.Position = headOf(ctx, h)
					}
					return yield(m)
				}
			})
		}},
		{"delivers a match after the Progress that passed it", "subscription/signals-are-true", "every match up to it|not before|match", func(h *handle) {
			h.messages(func(context.Context, eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				var late *eventstore.Message
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if late != nil {
						kept := *late
						late = nil
						return yield(m) && yield(kept)
					}
					if m.Kind == eventstore.MessageEvent && m.Event.Version%7 == 0 {
						late = &m
						return true
					}
					return yield(m)
				}
			})
		}},
		{"serves a hundred subscriptions at once", "subscription/two-hundred", "subscriptions", func(h *handle) {
			var open atomic.Int64
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					defer open.Add(-1)
					if open.Add(1) > 60 {
						if yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Place: req.After}, nil) {
							<-ctx.Done()
							yield(eventstore.Message{}, ctx.Err())
						}
						return
					}
					h.follow(ctx, req)(yield)
				}
			}
		}},
		{"holds up appends behind a hundred subscriptions of a handle", "subscription/two-hundred", "an append beside 200 subscriptions", func(h *handle) {
			var open atomic.Int64
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					open.Add(1)
					defer open.Add(-1)
					h.follow(ctx, req)(yield)
				}
			}
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if open.Load() >= 100 { // calls of one connection
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return h.Backend.Append(ctx, req)
			}
		}},
		{"mixes up the filters of many subscriptions", "subscription/two-hundred", "subscriptions", func(h *handle) {
			var opened atomic.Int64
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if opened.Add(1) > 80 && len(req.Filter.Types) > 1 {
					req.Filter.Types = req.Filter.Types[:1]
				}
				return h.follow(ctx, req)
			}
		}},
	}
}

// headOf reads the last position behind the mutant's back.
func headOf(ctx context.Context, h *handle) eventstore.Position { return headPlace(ctx, h).Position }

func headPlace(ctx context.Context, h *handle) eventstore.Place {
	info, err := h.Backend.Info(ctx)
	if err != nil {
		return eventstore.Place{}
	}
	return info.Head
}

// idles follows until n polls in a row have found nothing; then it goes on behind
// the next event.
func idles(h *handle, n int) func(context.Context, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		idle := 0
		return adapter.Follow(ctx, req, adapter.FollowSource{Info: h.Info, Poll: 5 * time.Millisecond, Page: func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			page, err := h.Backend.ReadAll(ctx, req)
			if err == nil && !req.After.Position.Before(page.Next.Position) {
				idle++
			} else if idle > n {
				idle, page.Events = 0, nil
			}
			return page, err
		}})
	}
}

// sleeps follows until n polls in a row have found nothing, and then waits for good.
func sleeps(h *handle, n int) func(context.Context, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		idle := 0
		return adapter.Follow(ctx, req, adapter.FollowSource{Info: h.Info, Poll: 5 * time.Millisecond, Page: func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			if idle > n {
				<-ctx.Done()
				return eventstore.Page{}, ctx.Err()
			}
			page, err := h.Backend.ReadAll(ctx, req)
			if idle++; req.After.Position.Before(page.Next.Position) {
				idle = 0
			}
			return page, err
		}})
	}
}

// filterAfterMutants break a filter and a place together, and what was refused.
func filterAfterMutants() []classMutant {
	return []classMutant{
		{"takes After for inclusive where there is a filter", "filter/after-each-event", "too many|expected", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if hi, lo := req.After.Position.Words(); !req.Filter.IsZero() && hi > 0 && !req.Backward {
					req.After = eventstore.Place{Position: eventstore.NewPosition(hi-1, lo)}
				}
				return h.Backend.ReadAll(ctx, req)
			}
		}},
		{"skips the first match after a place that does not match", "filter/subscribed-after-each-event", "missing|expected", func(h *handle) {
			h.messages(func(ctx context.Context, req eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				page, _ := h.Backend.ReadAll(ctx, eventstore.ReadAllRequest{Before: next(req.After.Position), Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
				skip := !req.After.IsZero() && len(req.Filter.Types) > 0 && len(page.Events) > 0 && !req.Filter.Match(page.Events[0].Stream, page.Events[0].Type)
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if skip && m.Kind == eventstore.MessageEvent {
						skip = false
						return true
					}
					return yield(m)
				}
			})
		}},
		{"ignores After in a subscription to a category", "filter/subscribed-after-each-event", "expected", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if len(req.Filter.Categories) > 0 {
					req.After = eventstore.Place{}
				}
				return h.follow(ctx, req)
			}
		}},
		{"ignores the types where there is a bound before", "filter/after-each-event", "expected", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if !req.Before.IsZero() && !req.After.IsZero() && !req.Backward {
					req.Filter.Types = nil
				}
				return h.Backend.ReadAll(ctx, req)
			}
		}},
		{"goes on from the log's end where its first look found nothing", "filter/first-match-after-caught-up", "the only match, appended .* after CaughtUp", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				looks, nothing := 0, false
				return adapter.Follow(ctx, req, adapter.FollowSource{Info: h.Info, Poll: 20 * time.Millisecond, Page: func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
					if looks++; looks == 2 && nothing {
						req.After = headPlace(ctx, h)
					}
					page, err := h.Backend.ReadAll(ctx, req)
					nothing = err == nil && len(page.Events) == 0 && !req.Filter.IsZero()
					return page, err
				}})
			}
		}},
		{"passes on 256 types at most", "filter/many-types", "missing|expected", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				req.Filter.Types = req.Filter.Types[:min(256, len(req.Filter.Types))]
				return h.Backend.ReadAll(ctx, req)
			}
			h.OnSubscribe = h.follow
		}},
		{"shows live subscriptions what is refused", "refused/seen-by-no-subscription", "", func(h *handle) {
			h.OnAppend = refusing(h, func(req eventstore.AppendRequest) {
				h.data.remember(func(kept map[string]any) { kept["refused"] = req.Parts[0] })
			})
			h.messages(func(context.Context, eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				live := false
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					var shown *eventstore.Message
					h.data.remember(func(kept map[string]any) {
						if part, ok := kept["refused"].(eventstore.StreamAppend); ok && live && m.Kind == eventstore.MessageEvent {
							shown = &eventstore.Message{Kind: m.Kind, Place: m.Place, Event: eventstore.RecordedEvent{Event: part.Events[0], Stream: part.Stream, Version: 1, Position: m.Place.Position}}
						}
					})
					live = live || m.Kind == eventstore.MessageCaughtUp
					return (shown == nil || yield(*shown)) && yield(m)
				}
			})
		}},
		{"keeps refused IDs for handles that are opened later", "refused/seen-by-no-later-handle", "refused before", func(h *handle) {
			number := h.number
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) (results []eventstore.PartResult, err error) {
				h.data.remember(func(kept map[string]any) {
					for _, e := range req.Parts[0].Events {
						if by, ok := kept[e.ID.String()].(int); ok && by < number {
							err = &eventstore.EventIDReusedError{Stream: req.Parts[0].Stream, ID: e.ID, Reason: "it was met before"}
						}
					}
				})
				if err != nil {
					return nil, err
				}
				results, err = h.Backend.Append(ctx, req)
				if err != nil {
					h.data.remember(func(kept map[string]any) {
						for _, e := range req.Parts[0].Events {
							kept[e.ID.String()] = number
						}
					})
				}
				return results, err
			}
		}},
		{"writes what it refused when it is opened anew", "refused/not-after-a-crash", "", func(h *handle) {
			h.OnAppend = refusing(h, func(req eventstore.AppendRequest) {
				h.data.remember(func(kept map[string]any) { kept["refused"] = req.Parts[0] })
			})
			h.data.crash = func(d *handles) {
				if part, ok := d.kept["refused"].(eventstore.StreamAppend); ok {
					part.Expected, part.Events = eventstore.Any(), slices.Clone(part.Events)[len(part.Events)-1:]
					_, _ = d.log.Open(nil).Append(context.Background(), eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
				}
			}
		}},
	}
}

// refusing calls seen with each append that is refused for its version.
func refusing(h *handle, seen func(eventstore.AppendRequest)) func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	return func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		results, err := h.Backend.Append(ctx, req)
		if err != nil && len(req.Parts) == 1 {
			seen(req)
		}
		return results, err
	}
}

// next is the place behind a position of a memory log.
func next(p eventstore.Position) eventstore.Position {
	hi, lo := p.Words()
	return eventstore.NewPosition(hi+1, lo)
}
