package move

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// reopened lifts a seal and returns what was warned of.
func reopened(t *testing.T, s Side, althoughMoved bool) []string {
	t.Helper()
	var warned []string
	info, err := Reopen(t.Context(), s, althoughMoved, func(warning string) { warned = append(warned, warning) })
	require.NoError(t, err)
	require.False(t, info.Sealed)
	require.False(t, sealed(t, s))
	return warned
}

func TestAStoreThatWasMovedIsNotOpenedBesideTheOther(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	_, err = Reopen(t.Context(), a, false, func(string) { t.Error("nothing happens") })
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "memory:a is moved to memory:b (store "+infoOf(t, b).ID.String()+"). That move has ended")
	require.ErrorContains(t, err, "switchyard unseal memory:a --although-moved")
	require.True(t, sealed(t, a))

	warned := reopened(t, a, true)
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "moved to memory:b")
	require.Contains(t, warned[0], "see that nobody writes to that store")

	add(t, a, 1) // and it is moved once more, which is killed
	_, err = Move(t.Context(), a, killedAt(b, "save", originPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	warned = reopened(t, a, false)
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "that move has not ended: run it again")
	require.Empty(t, reopened(t, a, false), "it is open")
}

func TestAMoveThatWasKilledBeforeItToldFROMTellsItWhenItIsRunAgain(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, killedAt(b, "delete", underWayPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	require.NotContains(t, names(t, a), endedName(infoOf(t, b).ID))
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, report.Already)
	_, err = Reopen(t.Context(), a, false, nil)
	require.ErrorContains(t, err, "That move has ended")
}

func TestAWayBackThatHasNotEndedIsOpenedWithAWarning(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 2)
	_, err = Move(t.Context(), b, killedAt(a, "save", originPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	warned := reopened(t, b, false)
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "that way back has not ended: see that the other store is sealed")
}

func TestAStoreThatWasSealedByHandIsOpenedWithoutAQuestion(t *testing.T) {
	a := memorySide(t, "memory:a")
	for _, reason := range []string{"maintenance", "moved to another building", "moved to x (store y)"} {
		_, err := a.Store.Seal(t.Context(), reason)
		require.NoError(t, err)
		require.Empty(t, reopened(t, a, false))
	}
	b := side(t, unsealable{memory.New()}, "memory:b")
	_, err := Reopen(t.Context(), b, false, nil)
	require.ErrorIs(t, err, eventstore.ErrUnsupported)
}

// What FROM is told is not among its subscriptions, and does not travel.
func TestThatAMoveHasEndedIsNoCheckpointOfASubscription(t *testing.T) {
	a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
	add(t, a, 5)
	for _, sides := range [][2]Side{{a, b}, {b, c}} {
		report, err := Move(t.Context(), sides[0], sides[1], nil)
		require.NoError(t, err)
		require.Empty(t, report.Checkpoints)
		require.Empty(t, report.NotProved)
	}
	for _, name := range names(t, c) {
		require.False(t, isEnded(name))
	}
	for _, name := range names(t, a) {
		require.True(t, OwnCheckpoint(name))
	}
}
