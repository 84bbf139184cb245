package move

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestASubscriptionThatWasReadOnInTheOldStoreGoesOnThere(t *testing.T) {
	for name, test := range map[string]struct {
		inNew   func(t *testing.T, b Side)
		readOn  int // in the old store, of ten events of which four are handled
		new     uint64
		setBack uint64
		stays   bool
		rest    int // of thirteen events
	}{
		"to its end":                         {func(*testing.T, Side) {}, 6, 10, 0, true, 3},
		"and not as far as in the new one":   {func(t *testing.T, b Side) { t.Helper(); handle(t, b, "billing", 5) }, 2, 9, 0, false, 4},
		"and further than in the new one":    {func(t *testing.T, b Side) { t.Helper(); handle(t, b, "billing", 2) }, 6, 10, 0, true, 3},
		"and was set back in the new one":    {func(t *testing.T, b Side) { t.Helper(); resetTo(t, b, "billing", 1) }, 6, 2, 10, false, 11},
		"not at all, set back in the new":    {func(t *testing.T, b Side) { t.Helper(); resetTo(t, b, "billing", 1) }, 0, 2, 4, false, 11},
		"not at all, gone on in the new one": {func(t *testing.T, b Side) { t.Helper(); handle(t, b, "billing", 9) }, 0, 13, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
			add(t, a, 10)
			require.Len(t, handle(t, a, "billing", 4), 4)
			_, err := Move(t.Context(), a, b, nil)
			require.NoError(t, err)
			require.Len(t, handle(t, a, "billing", test.readOn), test.readOn)
			add(t, b, 3)
			test.inNew(t, b)

			report, err := Move(t.Context(), b, a, nil)
			require.NoError(t, err)
			require.Len(t, report.Checkpoints, 1, "Switchyard's own are not in it")
			c := report.Checkpoints[0]
			require.Equal(t, eventstore.NewPosition(test.new, 0), c.New)
			require.Equal(t, eventstore.NewPosition(test.setBack, 0), c.SetBackFrom)
			require.Equal(t, test.stays, c.ReadOn)
			if test.stays {
				require.Contains(t, c.String(), "it stays at 10")
				text, err := json.Marshal(report)
				require.NoError(t, err)
				require.Contains(t, string(text), `"readOn":true`)
			}
			require.Len(t, handle(t, a, "billing", 100), test.rest)
		})
	}
}

// resetTo sets a subscription back behind an event of a store.
func resetTo(t *testing.T, s Side, name string, event int) {
	t.Helper()
	require.NoError(t, s.Store.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: name, Place: all(t, s)[event].Place()}))
}

func TestASubscriptionThatWasFirstRunInTheSealedOldStoreIsLeftAndReported(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, handle(t, a, "reports", 10), 10)
	add(t, b, 1)
	report, err := Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	require.Equal(t, []string{`that TO's checkpoint "reports" is wanted: FROM keeps none of that name; if its subscription is to start anew, switchyard checkpoint delete memory:a "reports"`}, report.NotProved)
	require.Len(t, handle(t, a, "reports", 100), 1)
}

func TestWhatAnEarlierMoveKnewOfACheckpointIsForgotten(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	require.Len(t, handle(t, a, "billing", 4), 4)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	for _, s := range []Side{a, b} {
		require.NoError(t, s.Store.DeleteCheckpoint(t.Context(), "billing"))
	}
	for _, sides := range [][2]Side{{b, a}, {a, b}} {
		_, err = Move(t.Context(), sides[0], sides[1], nil)
		require.NoError(t, err)
	}
	require.Len(t, handle(t, a, "billing", 10), 10, "for the first time since")
	report, err := Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	require.Len(t, report.NotProved, 1)
	require.Empty(t, handle(t, a, "billing", 100))
}
