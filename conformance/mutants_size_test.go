package conformance_test

import (
	"bytes"
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// sizeMutants break what only many events or large ones show.
func sizeMutants() []classMutant {
	return []classMutant{
		{"orders versions as text from 10,000 on", "long/stream", "a long stream", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				if req.Backward && req.Before == 0 && len(page.Events) > 1 && page.Events[0].Version > 10_000 {
					page.Events[0], page.Events[1] = page.Events[1], page.Events[0]
				}
				return page, err
			}
		}},
		{"ends a stream's read at 4,096", "long/stream", "a long stream", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				if i := slices.IndexFunc(page.Events, func(e eventstore.RecordedEvent) bool { return e.Version == 4097 }); i >= 0 && !req.Backward {
					page.Events, page.End = page.Events[:i], true
				}
				return page, err
			}
		}},
		{"counts versions in 16 bits", "long/stream", "version", func(h *handle) {
			h.pages(func(page *eventstore.Page) {
				for i := range page.Events {
					page.Events[i].Version = (page.Events[i].Version-1)%(1<<16) + 1
				}
			})
		}},
		{"finds no bound beyond 32,767", "long/stream", "its version", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				if req.Before > 1<<15 {
					req.Before = 0
				}
				return h.Backend.ReadStream(ctx, req)
			}
		}},
		{"remembers the last 20,000 IDs", "long/ids-met-again", "later: the same append again", forgetsBeyond(20_000, true)},
		{"remembers 50,000 IDs of a stream", "long/ids-met-again", "a duplicate", forgetsBeyond(50_000, false)},
		{"believes what it knew of a long stream", "long/stale-handle", "handle that knew version", func(h *handle) {
			known := make(map[string]uint64)
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part := req.Parts[0]
				version, exact := part.Expected.Exact()
				if at := known[part.Stream]; exact && at > 10_000 && version != at {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: at}
				}
				results, err := h.Backend.Append(ctx, req)
				if err == nil {
					known[part.Stream] = lastVersion(results[0])
				}
				return results, err
			}
		}},
		{"gives up a filtered read after 15,000 others", "long/rare-match", "the first one missing", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadAll(ctx, req)
				if err != nil || req.Filter.IsZero() || len(page.Events) > 0 {
					return page, err
				}
				hi, _ := page.Next.Position.Words()
				page.End = page.End || !req.Backward && hi > 15_000
				return page, nil
			}
			h.OnSubscribe = h.follow
		}},
		{"ends the log's read at 30,000", "long/log", "events in ReadAll|events of a subscription", func(h *handle) {
			h.pages(func(page *eventstore.Page) {
				if i := slices.IndexFunc(page.Events, func(e eventstore.RecordedEvent) bool { hi, _ := e.Position.Words(); return hi > 30_000 }); i >= 0 {
					page.Events, page.End = page.Events[:i], true
				}
			})
		}},
		{"ends a read of large events at its second page", "long/large-events", "events", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				size := 0
				for _, e := range page.Events {
					size += e.Size()
				}
				page.End = page.End || req.After > 0 && size >= req.MaxBytes
				return page, err
			}
		}},
		{"takes a page of exactly its bytes for the end", "page/of-exactly-its-bytes", "missing", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				size := 0
				for _, e := range page.Events {
					size += e.Size()
				}
				page.End = page.End || size == req.MaxBytes
				return page, err
			}
		}},
		{"ends a page before the event that reaches its bytes exactly", "page/of-exactly-its-bytes", "", func(h *handle) {
			h.pages(func(page *eventstore.Page) {
				size := 0
				for _, e := range page.Events {
					size += e.Size()
				}
				if n := len(page.Events); n > 1 && size == 5<<10 {
					page.Events = page.Events[:n-1] // and Next stays where it was
				}
			})
		}},
		{"takes a full page of 512 for the end", "page/default-options", "events", func(h *handle) {
			h.pages(func(page *eventstore.Page) { page.End = page.End || len(page.Events) == 512 })
		}},
		{"drops the last of 2,048", "page/default-options", "", func(h *handle) {
			h.pages(func(page *eventstore.Page) {
				if len(page.Events) == 2048 {
					page.Events = page.Events[:2047]
				}
			})
		}},
	}
}

// forgetsBeyond stores an event again whose ID lies so far back: in the log, or in
// its stream.
func forgetsBeyond(n int, inLog bool) func(*handle) {
	return func(h *handle) {
		h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			h.data.remember(func(kept map[string]any) {
				for i := range req.Parts {
					part := &req.Parts[i]
					key := "ids"
					if !inLog {
						key = part.Stream
					}
					at, _ := kept[key].(map[uuid.UUID]int)
					if at == nil {
						at = make(map[uuid.UUID]int)
						kept[key] = at
					}
					for j := range part.Events {
						id := part.Events[j].ID
						if seen, ok := at[id]; ok && seen < len(at)-n {
							part.Events[j].ID, part.Expected = uuid.New(), eventstore.Any()
						} else if !ok {
							at[id] = len(at)
						}
					}
				}
			})
			return h.Backend.Append(ctx, req)
		}
	}
}

// batchMutants break what only large appends show.
func batchMutants() []classMutant {
	size := func(events []eventstore.Event) (n int) {
		for _, e := range events {
			n += e.Size()
		}
		return n
	}
	torn := func(at func(events []eventstore.Event) int) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part := req.Parts[0]
				cut := at(part.Events)
				if cut == 0 {
					return h.Backend.Append(ctx, req)
				}
				first := part
				first.Events = part.Events[:cut]
				results, err := h.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{first}})
				if err != nil {
					return nil, err
				}
				roundTrip()
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				rest := part
				rest.Events, rest.Expected = part.Events[cut:], eventstore.Any()
				more, err := h.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{rest}})
				if err != nil {
					return nil, err
				}
				more[0].Recorded = append(results[0].Recorded, more[0].Recorded...)
				return more, nil
			}
		}
	}
	return []classMutant{
		{"tears an append of more than 50 events", "batch/never-seen-in-part", "a multiple of", torn(func(e []eventstore.Event) int { return max(0, min(50, len(e)-14)) / 50 * 50 })},
		{"tears an append of more than 512 KiB", "batch/never-seen-in-part", "a multiple of", torn(func(e []eventstore.Event) int {
			if size(e) <= 512<<10 {
				return 0
			}
			return len(e) / 2
		})},
		{"keeps the first half of a large append that is cut short", "batch/cut-short", "", torn(func(e []eventstore.Event) int {
			if len(e) < 64 {
				return 0
			}
			return 32
		})},
		{"keeps the first half of a large append that is refused", "batch/refused-whole", "", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				if n := len(req.Parts[0].Events); err != nil && n >= 64 {
					half := req.Parts[0]
					half.Events, half.Expected = half.Events[:n/2], eventstore.Any()
					_, _ = h.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{half}})
				}
				return results, err
			}
		}},
		{"refuses appends that it declares", "batch/at-own-limits", "within the declared limits", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if len(req.Parts[0].Events) > 20_000 {
					return nil, eventstore.ErrUnavailable
				}
				return h.Backend.Append(ctx, req)
			}
		}},
		{"cuts an event at 16 MiB", "batch/at-own-limits", "", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for i, e := range req.Parts[0].Events {
					req.Parts[0].Events[i].Data = bytes.Clone(e.Data[:min(len(e.Data), 16<<20)])
				}
				return h.Backend.Append(ctx, req)
			}
		}},
	}
}
