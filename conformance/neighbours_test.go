package conformance_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// onOneServer has stores that share one count of events, as stores on one server
// share its log. Where that is long, breaks changes the pages of filtered reads.
func onOneServer(breaks func(req eventstore.ReadAllRequest, page *eventstore.Page)) conformance.Harness {
	var events atomic.Int64
	return classHarness("on one server", func(h *handle) {
		h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			events.Add(int64(len(req.Parts[0].Events)))
			return h.Backend.Append(ctx, req)
		}
		h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			page, err := h.Backend.ReadAll(ctx, req)
			if err == nil && !req.Filter.IsZero() && events.Load() > 10_000 {
				breaks(req, &page)
			}
			return page, err
		}
	})
}

func TestWhatOnlyAnOldServerShowsIsFoundWithNeighbours(t *testing.T) {
	for name, mutant := range map[string]struct {
		killed []string // each of these checks must fail
		breaks func(req eventstore.ReadAllRequest, page *eventstore.Page)
	}{
		"finds half of what matches": {[]string{"filter/types", "filter/category"}, func(_ eventstore.ReadAllRequest, page *eventstore.Page) {
			page.Events = slices.Clone(page.Events)[:len(page.Events)/2]
		}},
		"makes no progress where nothing matches": {[]string{"subscription/progress", "durable/filtered-progress"}, func(req eventstore.ReadAllRequest, page *eventstore.Page) {
			if len(page.Events) == 0 {
				page.Next = req.After
			}
		}},
		"nothing": {[]string{"filter/types", "filter/category", "subscription/progress", "durable/filtered-progress"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := conformance.Options{Match: "^(" + strings.Join(mutant.killed, "|") + ")$", Parallel: len(mutant.killed)}
			sound := mutant.breaks == nil
			if sound {
				mutant.breaks = func(eventstore.ReadAllRequest, *eventstore.Page) {}
			}
			fresh, err := conformance.RunAll(t.Context(), onOneServer(mutant.breaks), opts)
			require.NoError(t, err)
			require.True(t, fresh.OK(), "on a fresh server nothing is wrong: %s", fresh.Summary())
			h, leave := conformance.WithNeighbours(onOneServer(mutant.breaks), conformance.Neighbours{})
			report, err := conformance.RunAll(t.Context(), h, opts)
			require.NoError(t, err)
			require.Len(t, report.Results, len(mutant.killed))
			for _, result := range report.Results {
				require.Equal(t, sound, result.Status == conformance.Passed, "%s: %s", result.Check, result.Failure)
			}
			require.NoError(t, leave(t.Context()))
		})
	}
}

func TestWhatHappensToNeighboursIsReported(t *testing.T) {
	inner := classHarness("with neighbours that lose an event", func(h *handle) {
		h.pages(func(page *eventstore.Page) {
			page.Events = slices.DeleteFunc(page.Events, func(e eventstore.RecordedEvent) bool { return e.Stream == "Cart-4" && e.Version == 7 })
		})
	})
	h, leave := conformance.WithNeighbours(inner, conformance.Neighbours{Subscriptions: 1})
	_, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$"})
	require.NoError(t, err)
	require.ErrorContains(t, leave(t.Context()), "events of the neighbours")
	require.NoError(t, leave(t.Context()), "they have left")
}
