package conformance_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// onOneServer has stores that share one count of events, as stores on one server
// share its log. Where broken is set, filters find nothing in an old server.
func onOneServer(broken bool) conformance.Harness {
	var events atomic.Int64
	return classHarness("on one server", func(h *handle) {
		h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			events.Add(int64(len(req.Parts[0].Events)))
			return h.Backend.Append(ctx, req)
		}
		h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			page, err := h.Backend.ReadAll(ctx, req)
			if broken && !req.Filter.IsZero() && events.Load() > 10_000 {
				page.Events = slices.Clone(page.Events)[:len(page.Events)/2]
			}
			return page, err
		}
	})
}

func TestWhatOnlyAnOldServerShowsIsFoundWithNeighbours(t *testing.T) {
	opts := conformance.Options{Match: "^(filter/types|filter/category)$"}
	fresh, err := conformance.RunAll(t.Context(), onOneServer(true), opts)
	require.NoError(t, err)
	require.True(t, fresh.OK(), "on a fresh server nothing is wrong")
	for _, broken := range []bool{true, false} {
		h, leave := conformance.WithNeighbours(onOneServer(broken), conformance.Neighbours{})
		report, err := conformance.RunAll(t.Context(), h, opts)
		require.NoError(t, err)
		require.Equal(t, !broken, report.OK(), report.Summary())
		require.NoError(t, leave(t.Context()))
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
