package move

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// lookingChanged are events that say of themselves what a transfer from a source says.
func lookingChanged(source string) map[string]eventstore.Event {
	mark := map[string]string{"$original": `{"source":"` + source + `","remedies":["rename"],"stream":"other","version":7}`}
	aside := []byte(`{"source":"` + source + `","remedies":["park"],"stream":"other","version":9,"id":"` + uuid.NewString() + `"}`)
	return map[string]eventstore.Event{
		"a":                            {Type: "T", Data: []byte("1"), Metadata: mark},
		"switchyard-refused-1":         {Type: "EventParked", Data: aside},
		transfer.RefusedStream(source): {Type: "EventSkipped", Data: aside, Metadata: mark},
	}
}

func TestAnEventThatLooksChangedTravelsAsItIsWheneverItComes(t *testing.T) {
	for _, at := range []Phase{PhaseFits, PhaseFollow, PhaseSeal} {
		t.Run(string(at), func(t *testing.T) {
			a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
			source := cloudevents.Source(infoOf(t, a).ID)
			add(t, a, 5)
			report, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
				if phase != at {
					return
				}
				for stream, event := range lookingChanged(source) {
					_, err := a.Store.Append(t.Context(), stream, eventstore.Any(), event)
					require.NoError(t, err)
				}
			}})
			require.NoError(t, err)
			require.Equal(t, report.From.Summary, report.To.Summary)
			require.Equal(t, 3, report.Copied.Refused.Quoted)
			require.Len(t, report.Copied.Refused.Decisions, 3)
			from, to := all(t, a), all(t, b)
			require.Len(t, to, 8)
			for i, event := range to {
				o := transfer.Restore(event, source)
				require.Empty(t, o.Difference(from[i], false))
				require.Equal(t, from[i].Stream, event.Stream, "it stays in its stream")
				require.Equal(t, from[i].Version, event.Version)
			}
			whole, err := transfer.Verify(t.Context(), a.Store, b.Store, nil)
			require.NoError(t, err)
			require.True(t, whole.Equal())

			_, err = Move(t.Context(), b, a, nil)
			require.ErrorContains(t, err, "which has it as it was; move into a fresh store")
			_, err = Move(t.Context(), b, c, nil)
			require.NoError(t, err)
			requireMoved(t, b, c)
		})
	}
}

func TestAnEventThatSaysItCameFromTOIsRefusedBeforeTheSealAndMovesIntoAnotherStore(t *testing.T) {
	a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
	source := cloudevents.Source(infoOf(t, b).ID)
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
		if phase == PhaseFollow {
			_, err := a.Store.Append(t.Context(), "a", eventstore.Any(), lookingChanged(source)["a"])
			require.NoError(t, err)
		}
	}})
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "move into a fresh store")
	require.False(t, sealed(t, a))
	_, err = Move(t.Context(), a, c, nil)
	require.NoError(t, err)
	requireMoved(t, a, c)
}

func TestAnEventThatIsTooLargeWithWhatIsSaidOfItIsFoundBeforehand(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), ".+", 300}, "memory:b")
	event := lookingChanged(cloudevents.Source(infoOf(t, a).ID))["a"]
	event.ContentType, event.Data = eventstore.JSONContentType, nil
	event.Data = []byte(`"` + strings.Repeat("x", 300-event.Size()-2) + `"`)
	require.NoError(t, b.Store.CheckAppend(eventstore.StreamAppend{Stream: "a", Expected: eventstore.Any(), Events: []eventstore.Event{event}}), "as it is it would fit")
	_, err := a.Store.Append(t.Context(), "a", eventstore.Any(), event)
	require.NoError(t, err)
	_, err = Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "nothing was written")
	require.Empty(t, all(t, b))
}
