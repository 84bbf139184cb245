package conformance_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// timeMutants break what only time, or callers at once, show.
func timeMutants() []classMutant {
	forgets := func(is func(h *handle, e eventstore.Event) bool) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for i := range req.Parts {
					for j, e := range req.Parts[i].Events {
						if is(h, e) {
							req.Parts[i].Events[j].ID, req.Parts[i].Expected = uuid.New(), eventstore.Any()
						}
					}
				}
				return h.Backend.Append(ctx, req)
			}
		}
	}
	older := func(than time.Duration) func(*handle, eventstore.Event) bool {
		return func(h *handle, e eventstore.Event) (old bool) {
			h.data.remember(func(kept map[string]any) {
				at, ok := kept[e.ID.String()].(time.Time)
				if !ok {
					kept[e.ID.String()] = time.Now()
				}
				old = ok && time.Since(at) > than
			})
			return old
		}
	}
	passes := func(after time.Duration) func(*handle) {
		return func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadAll(ctx, req)
				if i := slices.IndexFunc(page.Events, h.data.isHeld); i >= 0 {
					if !req.Backward && time.Since(page.Events[i].RecordedAt) < after {
						return h.data.before(page, req.After), err
					}
					page.Events = slices.DeleteFunc(page.Events, h.data.isHeld)
				}
				return page, err
			}
			h.OnSubscribe = h.follow
		}
	}
	waits := func(h *handle, ctx context.Context, most time.Duration) {
		for began := time.Now(); time.Since(began) < most && ctx.Err() == nil; {
			h.data.mu.Lock()
			held := len(h.data.held)
			h.data.mu.Unlock()
			if held == 0 {
				return
			}
			roundTrip()
		}
	}
	return []classMutant{
		{"forgets an ID after half a second", "idempotency/after-a-rest", "later", forgets(older(500 * time.Millisecond))},
		{"forgets an ID that an old UUID tells", "idempotency/old-ids", "IDs made at|an ID made at", forgets(func(_ *handle, e eventstore.Event) bool {
			sec, _ := e.ID.Time().UnixTime()
			return e.ID.Version() == 7 && time.Since(time.Unix(sec, 0)) > 24*time.Hour
		})},
		{"forgets an ID that a UUID of the future tells", "idempotency/old-ids", "IDs made at|an ID made at", forgets(func(_ *handle, e eventstore.Event) bool {
			sec, _ := e.ID.Time().UnixTime()
			return e.ID.Version() == 7 && time.Until(time.Unix(sec, 0)) > 24*time.Hour
		})},
		{"forgets an ID whose record time is old", "idempotency/old-ids", "IDs made at|an ID made at", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part := &req.Parts[0]
				h.data.remember(func(kept map[string]any) {
					for j, e := range part.Events {
						if _, old := kept[e.ID.String()]; old {
							part.Events[j].ID, part.Expected = uuid.New(), eventstore.Any()
						} else if part.RecordedAt != nil && time.Since(*part.RecordedAt) > 24*time.Hour {
							kept[e.ID.String()] = true
						}
					}
				})
				return h.Backend.Append(ctx, req)
			}
		}},
		{"calls all of several identical appends duplicates", "idempotency/one-of-8-identical-is-new", "without Duplicate", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				var at int
				h.data.remember(func(kept map[string]any) {
					at, _ = kept[req.Parts[0].Events[0].ID.String()].(int)
					kept[req.Parts[0].Events[0].ID.String()] = at + 1
				})
				results, err := h.Backend.Append(ctx, req)
				if at == 0 {
					roundTrip()
				}
				var more int
				h.data.remember(func(kept map[string]any) { more, _ = kept[req.Parts[0].Events[0].ID.String()].(int) })
				if err == nil && more > 1 {
					results[0].Duplicate = true
				}
				return results, err
			}
		}},
		{"calls none of several identical appends a duplicate", "idempotency/one-of-32-identical-is-new", "without Duplicate", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				if err == nil {
					results[0].Duplicate = false
				}
				return results, err
			}
		}},
		{"gives the second of two identical appends a conflict", "idempotency/one-of-2-identical-is-new", "identical appends", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				part, busy := req.Parts[0], false
				key := "busy " + part.Stream
				h.data.remember(func(kept map[string]any) { busy, _ = kept[key].(bool); kept[key] = true })
				if busy {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: 1}
				}
				defer h.data.remember(func(kept map[string]any) { delete(kept, key) })
				roundTrip()
				return h.Backend.Append(ctx, req)
			}
		}},
		{"passes a writer after 200 ms", "held/no-reader-passes-by-time", "", passes(200 * time.Millisecond)},
		{"passes a writer after half a second", "held/no-reader-passes-by-time", "", passes(500 * time.Millisecond)},
		{"waits for a held writer beyond its own deadline", "held/others-keep-their-deadlines", "within", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				waits(h, context.WithoutCancel(ctx), 5*time.Second)
				return h.Backend.Append(context.WithoutCancel(ctx), req)
			}
		}},
		{"takes a deadline beside a held writer for a conflict", "held/others-keep-their-deadlines", "version conflict", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				waits(h, ctx, 5*time.Second)
				if ctx.Err() != nil {
					return nil, &eventstore.ConflictError{Stream: req.Parts[0].Stream, Expected: req.Parts[0].Expected}
				}
				return h.Backend.Append(ctx, req)
			}
		}},
		{"lets readers wait for a held writer", "held/others-keep-their-deadlines", "read .* beside a writer", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				waits(h, ctx, 5*time.Second)
				return h.Backend.ReadAll(ctx, req)
			}
		}},
	}
}

// crashMutants break what a crash shows.
func crashMutants() []classMutant {
	return []classMutant{
		{"forgets event IDs in a crash", "idempotency/after-a-crash", "the same append again", func(h *handle) {
			if h.data.boots > 0 {
				h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					return h.Backend.Append(ctx, withNewIDs(req))
				}
			}
		}},
		{"loses checkpoints in a crash", "crash/checkpoints-survive", "checkpoint after a crash", func(h *handle) {
			boot := h.data.boots
			h.OnCheckpoints = func() eventstore.Checkpoints {
				return keptCheckpoints{h.Backend.Records().Checkpoints, func(name string) string { return string(rune('a'+boot)) + name }}
			}
		}},
		{"brings deleted checkpoints back in a crash", "crash/checkpoints-survive", "deleted before a crash", func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints { return deletesUntilCrash{h.Backend.Records().Checkpoints, h} }
		}},
		{"loses snapshots in a crash", "crash/snapshots-survive", "snapshot after a crash", func(h *handle) {
			boot := h.data.boots
			h.OnSnapshots = func() eventstore.Snapshots {
				return keptSnapshots{h.Backend.Records().Snapshots, func(stream, kind string) (string, string) { return stream, string(rune('a'+boot)) + kind }}
			}
		}},
		{"makes record times anew after a crash", "crash/records-survive", "recorded at", func(h *handle) {
			if h.data.boots > 0 {
				h.pages(func(page *eventstore.Page) {
					for i := range page.Events {
						page.Events[i].RecordedAt = page.Events[i].RecordedAt.Add(time.Hour)
					}
				})
			}
		}},
		{"numbers positions anew after a crash", "crash/records-survive", "position", func(h *handle) {
			if h.data.boots > 0 {
				h.pages(func(page *eventstore.Page) {
					for i := range page.Events {
						page.Events[i].Position = next(page.Events[i].Position)
					}
				})
			}
		}},
		{"has its checkpoint at the head after a crash", "crash/subscription-goes-on", "up to where events were handled", func(h *handle) {
			if h.data.boots > 0 {
				h.OnCheckpoints = func() eventstore.Checkpoints { return atHead{h.Backend.Records().Checkpoints, h} }
			}
		}},
		{"reads nothing through a handle whose server went away", "crash/old-handle-tells-no-lie", "whose server went away", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				if errors.Is(err, eventstore.ErrClosed) {
					return eventstore.Page{End: true}, nil
				}
				return page, err
			}
		}},
		{"says conflict through a handle whose server went away", "crash/old-handle-tells-no-lie", "version conflict", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrClosed) {
					err = &eventstore.ConflictError{Stream: req.Parts[0].Stream, Expected: req.Parts[0].Expected}
				}
				return results, err
			}
		}},
		{"never reaches its server again", "crash/old-handle-tells-no-lie", "to work again", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				if errors.Is(err, eventstore.ErrClosed) {
					err = eventstore.ErrUnavailable
				}
				return results, err
			}
		}},
		{"ends subscriptions with its driver's error when the server goes away", "crash/calls-under-way-tell-no-lie", "connection reset", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					for m, err := range h.Backend.Subscribe(ctx, req) {
						if errors.Is(err, eventstore.ErrClosed) {
							err = errors.New("connection reset by peer")
						}
						if !yield(m, err) {
							return
						}
					}
				}
			}
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				if errors.Is(err, eventstore.ErrClosed) {
					err = errors.New("connection reset by peer")
				}
				return page, err
			}
		}},
		{"reads a part of a stream when the server goes away", "crash/calls-under-way-tell-no-lie", "missing|events", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := h.Backend.ReadStream(ctx, req)
				if errors.Is(err, eventstore.ErrClosed) {
					return eventstore.Page{End: true}, nil
				}
				return page, err
			}
		}},
	}
}

// keptCheckpoints keeps checkpoints under another name.
type keptCheckpoints struct {
	eventstore.Checkpoints
	under func(name string) string
}

func (c keptCheckpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	name := req.Name
	req.Name = c.under(name)
	result, err := c.Checkpoints.Load(ctx, req)
	result.Checkpoint.Name = name
	return result, err
}

func (c keptCheckpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	req.Checkpoint.Name = c.under(req.Checkpoint.Name)
	return c.Checkpoints.Save(ctx, req)
}

func (c keptCheckpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	req.Name = c.under(req.Name)
	return c.Checkpoints.Delete(ctx, req)
}

// deletesUntilCrash hides a deleted checkpoint until the next crash.
type deletesUntilCrash struct {
	eventstore.Checkpoints
	h *handle
}

func (c deletesUntilCrash) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	hidden := false
	c.h.data.remember(func(kept map[string]any) {
		boot, deleted := kept["deleted "+req.Name].(int)
		hidden = deleted && boot == c.h.data.boots
	})
	if hidden {
		return eventstore.LoadCheckpointResult{}, nil
	}
	return c.Checkpoints.Load(ctx, req)
}

func (c deletesUntilCrash) Delete(_ context.Context, req eventstore.DeleteCheckpointRequest) error {
	c.h.data.remember(func(kept map[string]any) { kept["deleted "+req.Name] = c.h.data.boots })
	return nil
}

// atHead moves each checkpoint to the head.
type atHead struct {
	eventstore.Checkpoints
	h *handle
}

func (c atHead) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	result, err := c.Checkpoints.Load(ctx, req)
	result.Checkpoint.Place = headPlace(ctx, c.h)
	return result, err
}

// keptSnapshots keeps snapshots under another key.
type keptSnapshots struct {
	eventstore.Snapshots
	under func(stream, kind string) (string, string)
}

func (s keptSnapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	stream, kind := req.Stream, req.Type
	req.Stream, req.Type = s.under(stream, kind)
	result, err := s.Snapshots.Load(ctx, req)
	if result.Found {
		result.Snapshot.Stream, result.Snapshot.Type = stream, kind
	}
	return result, err
}

func (s keptSnapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	req.Snapshot.Stream, req.Snapshot.Type = s.under(req.Snapshot.Stream, req.Snapshot.Type)
	return s.Snapshots.Save(ctx, req)
}

func (s keptSnapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	req.Stream, req.Type = s.under(req.Stream, req.Type)
	return s.Snapshots.Delete(ctx, req)
}
