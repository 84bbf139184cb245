package move

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func TestOfTwoMovesToTwoStoresAtOnceOneIsRefused(t *testing.T) {
	a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
	add(t, a, 10)
	report, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
		if phase == PhaseSeal {
			first, err := Move(t.Context(), a, c, nil)
			require.NoError(t, err)
			require.True(t, first.Done)
		}
	}})
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "moved to memory:c")
	require.False(t, report.Done)
	_, found, err := originOf(t.Context(), b, report.From.Store)
	require.NoError(t, err)
	require.False(t, found, "TO does not say that FROM was moved to it")
}

func TestOfTwoMovesAgainstEachOtherOneIsRefused(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, &Options{DryRun: true}) // and both are level
	require.NoError(t, err)
	report, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
		if phase == PhaseSeal {
			_, err := Move(t.Context(), b, a, nil)
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, "a move into FROM from store "+infoOf(t, a).ID.String()+" has begun and not ended")
		}
	}})
	require.NoError(t, err)
	require.True(t, report.Done)
}

func TestAStoreThatWasSealedByHandIsNotMoved(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := a.Store.Seal(t.Context(), "maintenance")
	require.NoError(t, err)
	_, err = Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused) // or its writers are not told where it went, and a second move could end too
	require.ErrorContains(t, err, "maintenance; if it is to be moved here all the same, unseal it first")
	require.Empty(t, all(t, b))

	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	again, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, again.Already)
	require.Equal(t, report.SealReason, again.SealReason)
	text, err := json.Marshal(again)
	require.NoError(t, err)
	require.Contains(t, string(text), `"sealed":true`)
}

func TestACheckpointThatWasDeletedSinceDoesNotComeBackWithTheStore(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
	add(t, a, 10)
	for _, name := range []string{"billing", "mail"} {
		require.Len(t, handle(t, a, name, 10), 10)
	}
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.NoError(t, b.Store.DeleteCheckpoint(t.Context(), "billing")) // so that it starts anew
	add(t, b, 2)

	report, err := Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	require.Contains(t, report.NotKept, NotKept{`TO's old checkpoint "billing"`, "it was deleted in FROM since TO was moved there; its subscription starts anew"})
	require.Len(t, handle(t, a, "billing", 100), 12)
	require.Len(t, handle(t, a, "mail", 100), 2)
}

func TestACheckpointOfTOThatFROMDoesNotKeepIsReported(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, &Options{DryRun: true})
	require.NoError(t, err)
	require.Len(t, handle(t, b, "made beforehand", 10), 10)
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Equal(t, []string{`that TO's checkpoint "made beforehand" is wanted: FROM keeps none of that name; if its subscription is to start anew, switchyard checkpoint delete memory:b "made beforehand"`}, report.NotProved)
	require.Empty(t, handle(t, b, "made beforehand", 100), "and it is left as it is")
}

func TestADryRunOfTheWayBackLeavesTheOldStoreSealed(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 5)
	report, err := Move(t.Context(), b, a, &Options{DryRun: true})
	require.NoError(t, err)
	require.False(t, report.Done)
	require.True(t, sealed(t, a), "a program that still writes there is refused")
	require.False(t, sealed(t, b))
	again, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, again.Already, "run once more the move changes nothing")
}

func TestTheWayBackOfWhatWasChangedLeadsIntoAFreshStore(t *testing.T) {
	remedies := []transfer.Remedy{transfer.Rename, transfer.KeepBytes, transfer.Skip}
	for name, test := range map[string]struct {
		remedies []transfer.Remedy
		last     string // the stream of the last event
	}{
		"renamed":                     {remedies, "last"},
		"skipped":                     {remedies[2:], "last"},
		"renamed, and so is the last": {remedies, "LAST"},
		"skipped, and so is the last": {remedies[2:], "LAST"},
	} {
		a, b, c := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z0-9-]+", 1000}, "memory:b"), memorySide(t, "memory:c")
		unfit(t, a)
		_, err := a.Store.Append(t.Context(), test.last, eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
		require.NoError(t, err)
		_, err = Move(t.Context(), a, b, &Options{OnRefused: test.remedies})
		require.NoError(t, err, name)
		for _, opts := range []*Options{nil, {OnRefused: []transfer.Remedy{transfer.Rename, transfer.Skip}}} {
			report, err := Move(t.Context(), b, a, opts)
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, "on its way from TO, which has it as it was; move into a fresh store")
			require.Len(t, report.Problems, 1, "and nothing else is wrong")
			require.True(t, sealed(t, a))
			require.False(t, sealed(t, b))
		}
		_, err = Move(t.Context(), b, c, nil)
		require.NoError(t, err)
		requireMoved(t, b, c)
	}
}

func TestAMoveThatIsDoneIsTakenUpAgainWhereTheSealWasLifted(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.False(t, report.Already, "somebody may append to FROM")
	require.True(t, sealed(t, a))
}

func TestAMoveThereAndBackAndThereAgainIsNotDoneByTheFirstOne(t *testing.T) {
	a, b := side(t, unsealable{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, &Options{WritersStopped: true})
	require.NoError(t, err)
	_, err = Move(t.Context(), b, a, nil) // and nothing was appended in between
	require.NoError(t, err)
	report, err := Move(t.Context(), a, b, &Options{WritersStopped: true})
	require.NoError(t, err)
	require.False(t, report.Already)
	require.False(t, sealed(t, b), "it takes appends")
}

func TestTheWayBackFromAStoreWithoutASealCanBeMovedThereAgain(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, unsealable{memory.New()}, "memory:b")
	add(t, a, 10)
	for range 2 {
		_, err := Move(t.Context(), a, b, nil)
		require.NoError(t, err)
		add(t, b, 2)
		_, err = Move(t.Context(), b, a, &Options{WritersStopped: true})
		require.NoError(t, err)
		requireMoved(t, b, a)
		add(t, a, 2)
	}
}

func TestACheckpointThatWasMadeInTOOnTheWayBackIsLeft(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 2)
	_, err = Move(t.Context(), b, a, &Options{Phase: func(phase Phase) {
		if phase == PhaseVerify {
			require.Len(t, handle(t, a, "made beforehand", 12), 12)
		}
	}})
	require.NoError(t, err)
	require.Empty(t, handle(t, a, "made beforehand", 100))
}

// distant is a store that takes its time to say where its head is.
type distant struct{ *memory.Backend }

func (d distant) Info(ctx context.Context) (eventstore.Info, error) {
	<-time.After(time.Millisecond)
	return d.Backend.Info(ctx)
}

func TestFROMIsNotSealedWhileTOIsTooFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a slow machine has not less than the two seconds
		a, b := side(t, distant{memory.New()}, "memory:a"), memorySide(t, "memory:b")
		add(t, a, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		report, err := Move(ctx, a, b, &Options{MaxLag: time.Microsecond})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.GreaterOrEqual(t, report.Lag, time.Millisecond)
		require.False(t, sealed(t, a))
	})
}

// marking calls back when a store is told what it was moved from.
type marking struct {
	eventstore.Checkpoints
	marked func()
}

func (m marking) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	err := m.Checkpoints.Save(ctx, req)
	if isOrigin(req.Checkpoint.Name) {
		m.marked()
	}
	return err
}

func TestWhatIsAppendedToTOAtOnceIsNotInTheReport(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	b.Checkpoints = marking{b.Checkpoints, func() {
		add(t, b, 3)
		require.Len(t, handle(t, b, "early", 100), 13)
	}}
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Equal(t, 10, report.To.Summary.Events)
	require.Equal(t, report.From.Summary, report.To.Summary)
}

func TestAWayBackThatIsEndedLeavesTheOldStoreSealedAndGoesOn(t *testing.T) {
	for name, during := range map[string]func(t *testing.T, old Side, cancel func()){
		"by Ctrl-C": func(_ *testing.T, _ Side, cancel func()) { cancel() },
		"by a program that still writes to the old store": func(t *testing.T, old Side, _ func()) {
			t.Helper()
			_, err := old.Store.Append(t.Context(), "stale", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
			add(t, a, 10)
			require.Len(t, handle(t, a, "billing", 10), 10)
			_, err := Move(t.Context(), a, b, nil)
			require.NoError(t, err)
			add(t, b, 5)
			require.NoError(t, b.Store.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing"})) // to be handled anew
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err = Move(ctx, b, a, &Options{Phase: func(phase Phase) {
				if phase == PhaseCopy {
					during(t, a, cancel)
				}
			}})
			require.Error(t, err)
			require.True(t, sealed(t, a))
			require.True(t, sealed(t, b), "it is left, until the move is run again or it is unsealed")

			_, err = b.Store.Unseal(t.Context()) // given up for now
			require.NoError(t, err)
			_, err = Move(t.Context(), a, b, nil)
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, "the way back has begun and not ended")
			_, err = Move(t.Context(), b, a, nil)
			if slices.ContainsFunc(all(t, a), func(event eventstore.RecordedEvent) bool { return event.Stream == "stale" }) {
				require.ErrorIs(t, err, ErrRefused)
				require.ErrorContains(t, err, "unsealed and written to")
				require.True(t, sealed(t, a))
				return
			}
			require.NoError(t, err)
			requireMoved(t, b, a)
			require.Len(t, handle(t, a, "billing", 100), 15)
		})
	}
}

func TestACheckpointOfATOThatWasInUseIsNotSetBack(t *testing.T) {
	a, b := side(t, spread{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	require.Len(t, handle(t, a, "billing", 4), 4)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, handle(t, b, "billing", 100), 6)
	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	add(t, a, 2)

	report, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "TO has it at 10 (version 4 of stream \"a\"), and FROM at what is 4 (version 2 of stream \"a\") there")
	require.Equal(t, 1, report.Problems[0].Count)
	require.False(t, sealed(t, a))
	require.Len(t, all(t, b), 10, "nothing was written")

	require.NoError(t, b.Store.DeleteCheckpoint(t.Context(), "billing"))
	_, err = Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, handle(t, b, "billing", 100), 8, "it was said so")
}

func TestACheckpointThatIsSetBackInAFreshTOIsReported(t *testing.T) {
	a, b := side(t, spread{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	require.Len(t, handle(t, a, "billing", 4), 4)
	require.NoError(t, a.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "new"}))
	_, err := Move(t.Context(), a, b, &Options{DryRun: true})
	require.NoError(t, err)
	for _, name := range []string{"billing", "new"} {
		require.Len(t, handle(t, b, name, 7), 7, "a trial")
	}
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Len(t, report.Checkpoints, 2)
	for _, c := range report.Checkpoints {
		require.Equal(t, eventstore.NewPosition(7, 0), c.SetBackFrom)
		require.Contains(t, c.String(), "set back from 7 in TO")
	}
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.Contains(t, string(text), `"setBackFrom":"7"`)
	require.Len(t, handle(t, b, "billing", 100), 6)
}

func TestACheckpointThatWasResetIsSetBackOnTheWayBackHoweverOftenItIsGone(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	require.Len(t, handle(t, a, "billing", 100), 10)
	for range 2 {
		_, err := Move(t.Context(), a, b, nil)
		require.NoError(t, err)
		require.NoError(t, b.Store.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing"}))
		report, err := Move(t.Context(), b, a, nil)
		require.NoError(t, err)
		require.Equal(t, eventstore.NewPosition(10, 0), report.Checkpoints[0].SetBackFrom, "and it is said")
		require.Len(t, handle(t, a, "billing", 100), 10)
	}
}

func TestTheWayBackIntoAStoreThatTheOperatorHasOpenedIsFollowed(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 5)
	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	report, err := Move(t.Context(), b, a, &Options{Phase: func(phase Phase) {
		if phase == PhaseFollow {
			add(t, b, 5) // writers work on
		}
	}})
	require.NoError(t, err)
	require.Len(t, report.Phases, 7)
	requireMoved(t, b, a)
	require.False(t, sealed(t, a))
}

func TestAWayBackThatWasKilledAndThenRefusedClosesTheOldStore(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 5)
	_, err = Move(t.Context(), b, a, &Options{Phase: func(phase Phase) {
		if phase == PhaseVerify {
			_, err := b.Store.Unseal(t.Context()) // which ends it
			require.NoError(t, err)
		}
	}})
	require.ErrorIs(t, err, ErrRefused)
	_, err = b.Store.Seal(t.Context(), "moved to memory:a (store "+infoOf(t, a).ID.String()+")")
	require.NoError(t, err)
	_, err = a.Store.Unseal(t.Context()) // as kill -9 leaves both
	require.NoError(t, err)
	_, err = a.Store.Append(t.Context(), "stale", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
	require.NoError(t, err)

	_, err = Move(t.Context(), b, a, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "somebody else writes to TO")
	require.True(t, sealed(t, a), "before FROM may be opened again")
	require.True(t, sealed(t, b))
}
