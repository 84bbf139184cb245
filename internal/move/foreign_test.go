package move

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// keptIn runs a subscription over a store whose checkpoint another one keeps.
func keptIn(t *testing.T, keeper, of Side, name string) int {
	t.Helper()
	handled := 0
	require.NoError(t, of.Store.Run(t.Context(), eventstore.Subscription{
		Name: name, Checkpoints: keeper.Checkpoints, UntilCaughtUp: true, Handler: func(context.Context, eventstore.RecordedEvent) error {
			handled++
			return nil
		},
	}))
	return handled
}

func TestACheckpointOfAnotherStoreTravelsAsItIs(t *testing.T) {
	a, b, other := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b"), memorySide(t, "memory:other")
	add(t, a, 3)
	add(t, other, 5)
	require.Equal(t, 5, keptIn(t, a, other, "totals"))
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, report.Checkpoints, 1)
	id := infoOf(t, other).ID
	require.Equal(t, id, report.Checkpoints[0].Of)
	require.Contains(t, textOf(t, report), "totals: 5 of store "+id.String()+", as it is")
	require.Contains(t, jsonOf(t, report), `"ofStore":"`+id.String()+`"`)
	var page strings.Builder
	require.NoError(t, report.WriteMarkdown(&page))
	require.Contains(t, page.String(), "of store "+id.String()+", as it is")
	add(t, other, 2)
	require.Equal(t, 2, keptIn(t, b, other, "totals"))
	_, err = Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	require.Zero(t, keptIn(t, a, other, "totals"))

	require.NoError(t, a.Checkpoints.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "totals"})) // to start anew
	report, err = Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Contains(t, textOf(t, report), `TO's old checkpoint "totals"`)
	require.Equal(t, 7, keptIn(t, b, other, "totals"))
}

func TestACheckpointOfTwoOtherStoresIsNotOverwritten(t *testing.T) {
	a, b, one, two := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:one"), memorySide(t, "memory:two")
	for _, pair := range [][2]Side{{a, one}, {b, two}} {
		add(t, pair[1], 4)
		keptIn(t, pair[0], pair[1], "totals")
	}
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, report.NotProved, 1)
	require.Contains(t, report.NotProved[0], `which checkpoint "totals" is wanted`)
	require.Zero(t, keptIn(t, b, two, "totals"))
}

func TestACheckpointOfAnotherStoreThatIsSetBackInTOIsReported(t *testing.T) {
	a, b, other := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:other")
	add(t, other, 4)
	keptIn(t, a, other, "totals")
	add(t, other, 2)
	keptIn(t, b, other, "totals")
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Equal(t, eventstore.NewPosition(6, 0), report.Checkpoints[0].SetBackFrom)
}

func TestCheckpointsForRetriesTravelWithoutAName(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
	add(t, a, 4)
	place := all(t, a)[1].Place()
	retried, read := eventstore.RetriedName(uuid.New()), eventstore.ParkedReadName("billing", "parked")
	for _, name := range []string{retried, read} {
		require.NoError(t, a.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: name, Place: place}))
	}
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Empty(t, report.Checkpoints)
	require.Equal(t, 2, report.RetryCheckpoints)
	require.Contains(t, textOf(t, report), "also 2 of Switchyard's own, for retries of parked events")
	require.Contains(t, jsonOf(t, report), `"retryCheckpoints":2`)
	moved, found, err := b.Store.LoadCheckpoint(t.Context(), retried)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, place.ID, moved.Place.ID)

	for _, name := range []string{retried, read} { // done there
		require.NoError(t, b.Store.DeleteCheckpoint(t.Context(), name))
	}
	report, err = Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	require.NotContains(t, textOf(t, report), "retried")
	require.NotContains(t, names(t, a), retried)
}

func TestTheReportSaysThatTablesOfApplicationsAreNotMoved(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Contains(t, textOf(t, report), "not moved     tables of applications: ")
}
