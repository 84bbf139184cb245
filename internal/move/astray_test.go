package move

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func appendTo(t *testing.T, s Side, stream, data string) {
	t.Helper()
	_, err := s.Store.Append(t.Context(), stream, eventstore.Any(), eventstore.Event{Type: "T", Data: []byte(data)})
	require.NoError(t, err)
}

func TestEventsThatTheOldStoreHoldsAloneAreNamedWhenTheyAreMet(t *testing.T) {
	for _, at := range []Phase{PhaseCopy, PhaseDrain, PhaseVerify, PhaseTranslate} {
		t.Run(string(at), func(t *testing.T) {
			a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
			add(t, a, 5)
			_, err := Move(t.Context(), a, b, nil)
			require.NoError(t, err)
			add(t, b, 4)
			_, err = Move(t.Context(), b, a, &Options{Phase: func(phase Phase) {
				if phase == at {
					appendTo(t, a, "paid", "1")
					appendTo(t, a, "a", "2")
				}
			}})
			for range 2 { // and when it is run again
				require.ErrorIs(t, err, ErrRefused)
				require.ErrorContains(t, err, `TO holds 2 events that FROM does not, the first is version 1 of stream "paid" at `)
				require.ErrorContains(t, err, "switchyard unseal memory:b (if it is sealed), then switchyard export memory:a --after ")
				require.ErrorContains(t, err, " | switchyard import memory:b")
				if at != PhaseCopy {
					require.ErrorContains(t, err, "--after 9 |", "what was copied need not be read")
				}
				require.True(t, sealed(t, a))
				_, err = Move(t.Context(), b, a, nil)
			}
			_, err = Move(t.Context(), a, c, nil)
			require.ErrorIs(t, err, ErrRefused)
			_, err = Move(t.Context(), a, b, nil)
			require.ErrorContains(t, err, `FROM holds events that TO does not, from version 1 of stream "paid" on; switchyard move memory:b memory:a says how`)

			_, err = b.Store.Unseal(t.Context())
			require.NoError(t, err)
			report, err := Move(t.Context(), b, c, nil)
			require.NoError(t, err)
			require.Len(t, report.NotProved, 1)
			require.Contains(t, report.NotProved[0], `held events which FROM did not, from version 1 of stream "paid" at `)
		})
	}
}

func TestEventsThatWereBroughtOverAreNotMissed(t *testing.T) {
	a, b := bothOpen(t)
	event := eventstore.Event{ID: all(t, b)[8].ID, Type: "T", Data: []byte("1")}
	event.ID[0]++
	for _, s := range []Side{a, b} { // at another version
		_, err := s.Store.Append(t.Context(), "a", eventstore.Any(), event)
		require.NoError(t, err)
	}
	_, err := Move(t.Context(), b, a, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "FROM holds all events of TO, but not all where TO has them")
	require.NotContains(t, names(t, b), astrayName(infoOf(t, a).ID))
}

func TestADryRunThatMeetsEventsOfTheOldStoreAloneChangesNothing(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	appendTo(t, a, "paid", "1")
	before := names(t, b)
	_, err = Move(t.Context(), b, a, &Options{DryRun: true})
	require.ErrorContains(t, err, "TO holds 1 event that FROM does not")
	require.Equal(t, before, names(t, b))
}

// Whoever follows the refusal loses no event of either store.
func TestAnOldStoreThatWasOpenedBesideTheNewOneIsNotMovedOverIt(t *testing.T) {
	a, b := bothOpen(t)
	appendTo(t, a, "paid", "1")
	_, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "so TO is the store in use")
	require.ErrorContains(t, err, "switchyard move memory:b memory:a says how")
	require.NotContains(t, err.Error(), "fresh store", "which would leave TO's events out")
	require.False(t, sealed(t, b))

	_, err = Move(t.Context(), b, a, nil)
	require.ErrorContains(t, err, "TO cannot be moved to any more, also then; move FROM into a fresh store (switchyard move memory:b NEW)")
}
