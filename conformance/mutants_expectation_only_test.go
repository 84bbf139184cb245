package conformance_test

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// expectationOnlyMutants break parts without events.
func expectationOnlyMutants() []classMutant {
	appends := func(change func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				return change(ctx, h, req)
			}
		}
	}
	// judged holds the parts without events against what is stored now.
	judged := func(ctx context.Context, h *handle, req eventstore.AppendRequest) error {
		for _, part := range req.Parts {
			if current := h.version(ctx, part.Stream); len(part.Events) == 0 && !part.Expected.Allows(current) {
				return &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: current}
			}
		}
		return nil
	}
	// written appends the parts that are chosen, and answers for all.
	written := func(ctx context.Context, h *handle, req eventstore.AppendRequest, chosen func(eventstore.StreamAppend) bool) ([]eventstore.PartResult, error) {
		results := make([]eventstore.PartResult, len(req.Parts))
		var parts []eventstore.StreamAppend
		var places []int
		for i, part := range req.Parts {
			if chosen(part) {
				parts, places = append(parts, part), append(places, i)
			}
		}
		answers, err := h.Backend.Append(ctx, eventstore.AppendRequest{ID: req.ID, Parts: parts})
		if err != nil {
			return nil, err
		}
		for i, answer := range answers {
			results[places[i]] = answer
		}
		return results, nil
	}
	hasEvents := func(part eventstore.StreamAppend) bool { return len(part.Events) > 0 }
	return []classMutant{
		{"ignores parts without events", "multi/part-without-events", "version conflict", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return written(ctx, h, req, hasEvents)
		})},
		{"ignores parts without events of absent streams", "multi/part-without-events", "of a stream at 0", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return written(ctx, h, req, func(part eventstore.StreamAppend) bool { return hasEvents(part) || h.version(ctx, part.Stream) > 0 })
		})},
		{"ignores parts without events that come first", "multi/part-without-events", "version conflict", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			first := true
			return written(ctx, h, req, func(part eventstore.StreamAppend) bool {
				skipped := first && !hasEvents(part)
				first = false
				return !skipped
			})
		})},
		{"makes the stream of a part without events", "multi/part-without-events", "an append that expects 3 of a stream at 3|too many", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			parts := slices.Clone(req.Parts)
			for i := range parts {
				if !hasEvents(parts[i]) {
					parts[i].Events = []eventstore.Event{{ID: uuid.New(), Type: "Checked", Data: []byte("{}"), ContentType: eventstore.JSONContentType}}
				}
			}
			results, err := h.Backend.Append(ctx, eventstore.AppendRequest{ID: req.ID, Parts: parts})
			for i := range results {
				if !hasEvents(req.Parts[i]) {
					results[i] = eventstore.PartResult{}
				}
			}
			return results, err
		})},
		{"answers for a part without events with an event", "multi/part-without-events", "unknown|outcome", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			results, err := h.Backend.Append(ctx, req)
			for i := range results {
				if !hasEvents(req.Parts[i]) {
					results[i].Recorded = made(h.version(ctx, req.Parts[i].Stream), 1, false).Recorded
				}
			}
			return results, err
		})},
		{"judges parts without events before all others", "multi/part-without-events-sees-earlier-parts", "a check after a part", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if err := judged(ctx, h, req); err != nil {
				return h.Backend.Append(ctx, req) // a repetition, or a conflict
			}
			return written(ctx, h, req, hasEvents)
		})},
		{"judges parts without events after all others", "multi/part-without-events-sees-earlier-parts", "between two checks", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			parts := slices.Clone(req.Parts)
			slices.SortStableFunc(parts, func(a, b eventstore.StreamAppend) int { return min(len(b.Events), 1) - min(len(a.Events), 1) })
			if _, err := h.data.log.Open(nil).Append(ctx, eventstore.AppendRequest{Parts: parts}); err != nil {
				return nil, err
			}
			return h.Backend.Append(ctx, req)
		})},
		{"judges the checks of a repetition", "multi/part-without-events-of-a-repetition", "after the stream that it checks has changed", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if err := judged(ctx, h, req); err != nil && len(req.Parts) > 1 {
				return nil, err
			}
			return h.Backend.Append(ctx, req)
		})},
		{"counts a check as a repetition", "multi/part-without-events-of-a-repetition", "no duplicate of the part without events", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			results, err := h.Backend.Append(ctx, req)
			for i := range results {
				results[i].Duplicate = results[i].Duplicate || slices.ContainsFunc(results, func(r eventstore.PartResult) bool { return r.Duplicate })
			}
			return results, err
		})},
		{"judges no check where one part is a repetition", "multi/part-without-events-of-a-repetition", "a repetition in part", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			for _, part := range req.Parts {
				if !hasEvents(part) || h.version(ctx, part.Stream) == 0 {
					continue
				}
				again, err := h.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
				if err == nil && again[0].Duplicate {
					return written(ctx, h, req, hasEvents)
				}
			}
			return h.Backend.Append(ctx, req)
		})},
		{"judges parts without events before it takes the lock", "multi/no-write-skew", "appends that succeeded", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if err := judged(ctx, h, req); err != nil {
				return h.Backend.Append(ctx, req)
			}
			roundTrip()
			return written(ctx, h, req, hasEvents)
		})},
	}
}
