package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

var errKilled = errors.New("killed")

// killed is a store's checkpoints, of which one change is the last that a run makes.
type killed struct {
	eventstore.Checkpoints
	at func(change, name string) bool
}

func (k killed) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if k.at("save", req.Checkpoint.Name) {
		return errKilled
	}
	return k.Checkpoints.Save(ctx, req)
}

func (k killed) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	if k.at("delete", req.Name) {
		return errKilled
	}
	return k.Checkpoints.Delete(ctx, req)
}

// killedAt ends a run before the first change of a checkpoint whose name begins so.
func killedAt(s Side, change, prefix string) Side {
	s.Checkpoints = killed{s.Checkpoints, func(c, name string) bool { return c == change && strings.HasPrefix(name, prefix) }}
	return s
}

const originPrefix = "switchyard-moved-from-"

func TestAStoreThatHoldsAPartOfAnotherIsNotMoved(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(t *testing.T, a, b Side)
		want  string
	}{
		"after a dry run": {func(t *testing.T, a, b Side) {
			t.Helper()
			_, err := Move(t.Context(), a, b, &Options{DryRun: true})
			require.NoError(t, err)
		}, "has begun and not ended"},
		"after a run that was killed": {func(t *testing.T, a, b Side) {
			t.Helper()
			_, err := Move(t.Context(), a, killedAt(b, "save", originPrefix), nil)
			require.ErrorIs(t, err, errKilled)
		}, "has begun and not ended"},
		"which is moved back to": {func(t *testing.T, a, b Side) {
			t.Helper()
			_, err := Move(t.Context(), b, a, nil)
			require.NoError(t, err)
			add(t, a, 3)
			_, err = Move(t.Context(), a, killedAt(b, "save", originPrefix), nil)
			require.ErrorIs(t, err, errKilled)
			_, err = b.Store.Unseal(t.Context()) // as kill -9 leaves it
			require.NoError(t, err)
		}, "has begun and not ended"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
			if name == "which is moved back to" {
				add(t, b, 5)
			} else {
				add(t, a, 5)
			}
			test.begin(t, a, b)
			open := !sealed(t, b)
			for _, to := range []Side{a, c} {
				_, err := Move(t.Context(), b, to, nil)
				require.ErrorIs(t, err, ErrRefused)
				require.ErrorContains(t, err, test.want)
			}
			require.Equal(t, open, !sealed(t, b), "nothing is done to it")
			require.Empty(t, all(t, c))
			report, err := Move(t.Context(), a, b, nil)
			require.NoError(t, err)
			require.True(t, report.Done && !report.Already)
			_, err = Move(t.Context(), b, c, nil)
			require.NoError(t, err, "now it holds all")
			requireMoved(t, a, c)
		})
	}
}

func TestARefusalOfAPartSaysHowToUseItAllTheSame(t *testing.T) {
	a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, &Options{DryRun: true})
	require.NoError(t, err)
	_, err = Move(t.Context(), b, c, nil)
	_, name, found := strings.Cut(err.Error(), "switchyard checkpoint delete memory:b ")
	require.True(t, found, err)
	require.NoError(t, b.Store.DeleteCheckpoint(t.Context(), name))
	_, err = Move(t.Context(), b, c, nil)
	require.NoError(t, err)
}

// Between its last two steps a move has ended, and each store knows which one is in use. One
// whose mark is as that of the move before ends with the last step.
func TestAMoveThatIsKilledBesideTheMarkGoesOnInItsDirectionAlone(t *testing.T) {
	for change, prefix := range map[string]string{"save": originPrefix, "delete": underWayPrefix} {
		for _, more := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s, %d more events", change, more), func(t *testing.T) {
				a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
				add(t, a, 5)
				_, err := Move(t.Context(), a, b, nil)
				require.NoError(t, err)
				_, err = Move(t.Context(), b, a, nil) // both have a mark of the other at this place
				require.NoError(t, err)
				add(t, a, more)
				ended := change == "delete" && more > 0
				_, err = Move(t.Context(), a, killedAt(b, change, prefix), nil)
				require.ErrorIs(t, err, errKilled)
				require.True(t, sealed(t, a))
				if !ended {
					_, err = Move(t.Context(), b, a, nil)
					require.ErrorIs(t, err, ErrRefused)
					require.ErrorContains(t, err, "the way back has begun and not ended")
				}
				report, err := Move(t.Context(), a, b, nil)
				require.NoError(t, err)
				require.True(t, report.Done)
				require.Equal(t, ended, report.Already)
				require.False(t, sealed(t, b))
				require.False(t, slices.ContainsFunc(names(t, b), isUnderWay))
			})
		}
	}
}

// names are those of all checkpoints that a store keeps.
func names(t *testing.T, s Side) []string {
	t.Helper()
	var names []string
	for checkpoint, err := range s.Store.ListCheckpoints(t.Context()) {
		require.NoError(t, err)
		names = append(names, checkpoint.Name)
	}
	return names
}

// A run that was suspended meets, when it goes on, a move that another one has ended.
func TestARunThatComesLateChangesNothingInTheStoreThatIsInUse(t *testing.T) {
	for _, direction := range []string{"there", "back"} {
		for _, at := range []string{"fits", "copy", "seal", "drain", "verify", "translate", "checkpoint", "mark", "Ctrl-C"} {
			t.Run(direction+" "+at, func(t *testing.T) {
				from, to := memorySide(t, "memory:from"), side(t, spread{memory.New()}, "memory:to")
				add(t, to, 9)
				if direction == "back" {
					_, err := Move(t.Context(), to, from, nil)
					require.NoError(t, err)
				} else {
					to = side(t, spread{memory.New()}, "memory:to")
				}
				add(t, from, 6)
				require.Len(t, handle(t, from, "billing", 4), 4)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				met := false
				other := func() {
					if met {
						return
					}
					met = true
					report, err := Move(t.Context(), from, to, nil)
					require.NoError(t, err)
					require.True(t, report.Done && !report.Already)
					require.NotEmpty(t, handle(t, to, "billing", 100))
					add(t, to, 2)
					if at == "Ctrl-C" {
						cancel()
					}
				}
				late := to
				late.Checkpoints = killed{to.Checkpoints, func(change, name string) bool {
					if change == "save" && (at == "checkpoint" && name == "billing" || at == "mark" && strings.HasPrefix(name, originPrefix)) {
						other()
						return true // what is told here is looked at below: the step before it
					}
					return false
				}}
				report, err := Move(ctx, from, late, &Options{Phase: func(phase Phase) {
					if string(phase) == at || at == "Ctrl-C" && phase == PhaseCopy {
						other()
					}
				}})
				require.True(t, met)
				if at == "fits" {
					require.NoError(t, err)
					require.True(t, report.Already)
				} else {
					require.ErrorIs(t, err, ErrRefused)
					require.ErrorContains(t, err, "was finished by another run")
					require.NotContains(t, err.Error(), "events that FROM does not", "those of a store in use are its own")
					require.Contains(t, textOf(t, report), "by another run, and this one changed nothing more")
					require.NotContains(t, textOf(t, report), "unseal", "and nothing is to be given up")
					require.Contains(t, jsonOf(t, report), `"otherRun":true`)
				}
				require.False(t, sealed(t, to), "it is in use")
				require.True(t, sealed(t, from))
				require.NotContains(t, names(t, from), astrayName(infoOf(t, to).ID))
				add(t, to, 1)
				require.Len(t, handle(t, to, "billing", 100), 3, "nothing comes again")
				again, err := Move(t.Context(), from, to, nil)
				require.NoError(t, err)
				require.True(t, again.Already)
			})
		}
	}
}

// loading calls back when it is asked for the n-th time whether a store is being moved to.
type loading struct {
	eventstore.Checkpoints
	left *int
	call func()
}

func (l loading) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if isUnderWay(req.Name) {
		if *l.left--; *l.left == 0 {
			l.call()
		}
	}
	return l.Checkpoints.Load(ctx, req)
}

func TestARunThatComesLateBeforeItHasWrittenFindsTheMoveDone(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 6)
	left := 2 // once in identify, then in fits
	late := b
	late.Checkpoints = loading{b.Checkpoints, &left, func() {
		_, err := Move(t.Context(), a, b, nil)
		require.NoError(t, err)
		add(t, b, 2)
	}}
	report, err := Move(t.Context(), a, late, nil)
	require.NoError(t, err)
	require.LessOrEqual(t, left, 0, "it was called")
	require.True(t, report.Already)
	require.False(t, slices.ContainsFunc(names(t, b), isUnderWay), "a store in use is not marked as a part")
}

func TestARunThatComesLateDoesNotSealAFROMThatIsInUseAgain(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 6)
	_, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
		if phase != PhaseSeal {
			return
		}
		for _, sides := range [][2]Side{{a, b}, {b, a}} {
			_, err := Move(t.Context(), sides[0], sides[1], nil)
			require.NoError(t, err)
		}
	}})
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "was finished by another run")
	require.False(t, sealed(t, a))
}

func TestAWayBackOpensNoStoreThatIsSealedForAnotherReason(t *testing.T) {
	for name, test := range map[string]struct {
		seal func(t *testing.T, a Side)
		want string
	}{
		"for a move to a third store": {func(t *testing.T, a Side) {
			t.Helper()
			_, err := Move(t.Context(), a, memorySide(t, "memory:c"), nil)
			require.NoError(t, err)
		}, "to another store since, which is the one in use: moved to memory:c"},
		"by hand": {func(t *testing.T, a Side) {
			t.Helper()
			_, err := a.Store.Seal(t.Context(), "an audit")
			require.NoError(t, err)
		}, "is sealed since for something else: an audit"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
			add(t, a, 6)
			_, err := Move(t.Context(), a, b, nil)
			require.NoError(t, err)
			_, err = a.Store.Unseal(t.Context())
			require.NoError(t, err)
			test.seal(t, a)
			_, err = Move(t.Context(), b, a, nil)
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, test.want)
			require.True(t, sealed(t, a))
			require.False(t, sealed(t, b))
		})
	}
}

// As docs/moving.md says how a way back is given up, with the reason that the operator chose.
func TestAWayBackThatWasGivenUpAndSealedByHandGoesOn(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 6)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 2)
	_, err = Move(t.Context(), b, killedAt(a, "save", originPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	for _, s := range []Side{a, b} {
		_, err = s.Store.Unseal(t.Context())
		require.NoError(t, err)
	}
	_, err = a.Store.Seal(t.Context(), "given up")
	require.NoError(t, err)
	_, err = Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	requireMoved(t, b, a)
}

// stopped is a store's checkpoints, of which one save is held up.
type stopped struct {
	eventstore.Checkpoints
	before func(req eventstore.SaveCheckpointRequest)
}

func (s stopped) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	s.before(req)
	return s.Checkpoints.Save(ctx, req)
}

// A run is suspended when it has looked whether the move is under way and is about to
// store a checkpoint, the note beside it, or the mark; it goes on when another one is done.
func TestARunThatIsSuspendedBeforeASaveSetsNothingBack(t *testing.T) {
	for _, direction := range []string{"there", "back"} {
		for _, at := range []string{"billing", "mail", "untouched", originPrefix} {
			t.Run(direction+" "+at, func(t *testing.T) {
				from, to := memorySide(t, "memory:from"), side(t, spread{memory.New()}, "memory:to")
				if direction == "back" {
					add(t, to, 9)
					_, err := Move(t.Context(), to, from, nil)
					require.NoError(t, err)
				}
				add(t, from, 6)
				require.Len(t, handle(t, from, "billing", 4), 4)
				require.NoError(t, from.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "mail", Place: all(t, from)[1].Place()}))
				require.NoError(t, from.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "untouched", Place: all(t, from)[2].Place()}))
				met := false
				late := to
				late.Checkpoints = stopped{to.Checkpoints, func(req eventstore.SaveCheckpointRequest) {
					if met || !strings.HasPrefix(req.Checkpoint.Name, at) {
						return
					}
					met = true
					report, err := Move(t.Context(), from, to, nil)
					require.NoError(t, err)
					require.True(t, report.Done && !report.Already)
					add(t, to, 2)
					require.NotEmpty(t, handle(t, to, "billing", 100))
					require.NoError(t, to.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "mail", Place: all(t, to)[7].Place()})) // without a lease
				}}
				report, err := Move(t.Context(), from, late, nil)
				require.True(t, met)
				if at == originPrefix { // which both write
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, ErrRefused)
					require.True(t, report.OtherRun)
				}
				require.False(t, sealed(t, to), "it is in use")
				billing, _, err := to.Store.LoadCheckpoint(t.Context(), "billing")
				require.NoError(t, err)
				require.Equal(t, infoOf(t, to).Head, billing.Place)
				mail, _, err := to.Store.LoadCheckpoint(t.Context(), "mail")
				require.NoError(t, err)
				require.Equal(t, all(t, to)[7].Place(), mail.Place)
				again, err := Move(t.Context(), from, to, nil)
				require.NoError(t, err)
				require.True(t, again.Already)
			})
		}
	}
}

// Both stores were moved to each other before, so TO has a mark of FROM when the move begins.
func TestARunThatIsSuspendedWhenItSetsOutMakesNoPartOfAStoreInUse(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, spread{memory.New()}, "memory:b")
	add(t, a, 6)
	for _, sides := range [][2]Side{{a, b}, {b, a}} {
		_, err := Move(t.Context(), sides[0], sides[1], nil)
		require.NoError(t, err)
		add(t, sides[1], 2)
	}
	met := false
	late := b
	late.Checkpoints = stopped{b.Checkpoints, func(req eventstore.SaveCheckpointRequest) {
		if met || !isUnderWay(req.Checkpoint.Name) {
			return
		}
		met = true
		report, err := Move(t.Context(), a, b, nil)
		require.NoError(t, err)
		require.True(t, report.Done && !report.Already)
		add(t, b, 2)
	}}
	report, err := Move(t.Context(), a, late, nil)
	require.True(t, met)
	require.NoError(t, err)
	require.True(t, report.Already)
	require.False(t, sealed(t, b), "it is in use")
	_, part, err := unfinished(t.Context(), b, infoOf(t, a).ID)
	require.NoError(t, err)
	require.False(t, part, "and no part")
}

// A trial of a subscription in TO has its lease, and stands before where FROM's is.
func TestASubscriptionThatRunsInTOGoesOnAfterTheTranslatedCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no lease is over because the machine is slow
		a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
		add(t, a, 6)
		require.Len(t, handle(t, a, "billing", 4), 4)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var handled []eventstore.RecordedEvent
		first, moved := make(chan struct{}), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- b.Store.Run(ctx, eventstore.Subscription{
				Name: "billing", CheckpointEvery: 1, LeaseTTL: time.Second,
				Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
					if handled = append(handled, event); len(handled) == 1 {
						close(first)
						select { // an event that takes long
						case <-moved:
						case <-ctx.Done(): // its lease was taken
							return ctx.Err()
						}
					}
					if event.Position == eventstore.NewPosition(6, 0) {
						cancel()
					}
					return nil
				},
			})
		}()
		_, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
			if phase == PhaseTranslate {
				<-first
			}
		}})
		require.NoError(t, err)
		lease, err := b.Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "billing", New: eventstore.Lease{Name: "billing", Epoch: 1}})
		require.NoError(t, err)
		require.Empty(t, lease.Lease.Owner)
		require.NoError(t, <-ended)
		close(moved)
		require.Len(t, handled, 3, "the one, and what is after the checkpoint")
		require.Equal(t, all(t, b)[4].ID, handled[1].ID)
	})
}
