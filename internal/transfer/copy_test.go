package transfer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestACopyIsEqualToItsSource(t *testing.T) {
	a, target := newStore(t, nil), memory.New()
	b := newStore(t, target)
	fill(t, a, 7, 3000)
	opts := &CopyOptions{Checkpoints: target.Checkpoints()}
	result, err := Copy(t.Context(), a, b, opts)
	require.NoError(t, err)
	require.Equal(t, Result{Read: 3000, Stored: 3000}, result)
	requireSame(t, a, b)

	result, err = Copy(t.Context(), a, b, opts)
	require.NoError(t, err)
	require.Equal(t, Result{}, result, "a second copy has nothing to do")
}

func TestACopyKeepsTheEventsOfOneAppendTogether(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, nil)
	var events []eventstore.Event
	for i := range 1500 {
		events = append(events, eventstore.Event{Type: "T", Data: fmt.Append(nil, i)})
	}
	_, err := a.Append(t.Context(), "s", eventstore.NoStream(), events...)
	require.NoError(t, err)
	_, err = Copy(t.Context(), a, b, nil)
	require.NoError(t, err)
	requireSame(t, a, b)
}

// stopping is a store's backend that fails for good after some appends, as a
// process that is killed does.
type stopping struct {
	*memory.Backend
	left int
}

var errKilled = errors.New("killed")

func (s *stopping) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if s.left--; s.left < 0 {
		return nil, errKilled
	}
	return s.Backend.Append(ctx, req)
}

// without forgets one of the checkpoints of a copy.
type without struct {
	eventstore.Checkpoints
	name string
}

func (w without) Load(ctx context.Context, name string) (eventstore.Checkpoint, bool, error) {
	if w.name == name {
		return eventstore.Checkpoint{}, false, nil
	}
	return w.Checkpoints.Load(ctx, name)
}

func TestACopyThatWasEndedGoesOnWhateverItsCheckpointsSay(t *testing.T) {
	a := newStore(t, nil)
	fill(t, a, 5, 4500)
	info, err := a.Info(t.Context())
	require.NoError(t, err)
	for name, checkpoints := range map[string]func(log *memory.Log) eventstore.Checkpoints{
		"both":              func(log *memory.Log) eventstore.Checkpoints { return log.Open(nil).Checkpoints() },
		"none":              func(*memory.Log) eventstore.Checkpoints { return nil },
		"empty":             func(*memory.Log) eventstore.Checkpoints { return memory.New().Checkpoints() },
		"the source's lags": func(log *memory.Log) eventstore.Checkpoints { return lagging(t, log, copiedName(info.ID)) },
		"the target's lags": func(log *memory.Log) eventstore.Checkpoints { return lagging(t, log, checkedName(info.ID)) },
		"one is missing": func(log *memory.Log) eventstore.Checkpoints {
			return without{log.Open(nil).Checkpoints(), copiedName(info.ID)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := memory.NewLog()
			killed := newStore(t, &stopping{Backend: log.Open(nil), left: 3})
			_, err := Copy(t.Context(), a, killed, &CopyOptions{Checkpoints: log.Open(nil).Checkpoints()})
			require.ErrorIs(t, err, errKilled)

			b := newStore(t, log.Open(nil))
			require.Len(t, all(t, b), 3000)
			_, err = Copy(t.Context(), a, b, &CopyOptions{Checkpoints: checkpoints(log)})
			require.NoError(t, err)
			requireSame(t, a, b)
		})
	}
}

// lagging returns a log's checkpoints with one of them at an early position.
func lagging(t *testing.T, log *memory.Log, name string) eventstore.Checkpoints {
	t.Helper()
	checkpoints := log.Open(nil).Checkpoints()
	checkpoint, ok, err := checkpoints.Load(t.Context(), name)
	require.NoError(t, err)
	require.True(t, ok)
	checkpoint.Position = eventstore.NewPosition(700, 0)
	require.NoError(t, checkpoints.Delete(t.Context(), name))
	require.NoError(t, checkpoints.Save(t.Context(), checkpoint))
	return checkpoints
}

func TestACopyRefusesATargetWithForeignEvents(t *testing.T) {
	foreign := eventstore.Event{ID: uuid.New(), Type: "Foreign", Data: []byte("{}")}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, target *eventstore.Store)
	}{
		"a stream of its own": {func(t *testing.T, target *eventstore.Store) {
			_, err := target.Append(t.Context(), "other-1", eventstore.NoStream(), foreign)
			require.NoError(t, err)
		}},
		"an event more in a stream": {func(t *testing.T, target *eventstore.Store) {
			_, err := target.Append(t.Context(), "counter-1", eventstore.StreamExists(), foreign)
			require.NoError(t, err)
		}},
	} {
		for _, when := range []string{"before the first copy", "after a copy", "during a copy"} {
			t.Run(name+" "+when, func(t *testing.T) {
				a, target := newStore(t, nil), memory.New()
				b := newStore(t, target)
				fill(t, a, 4, 2000)
				opts := &CopyOptions{Checkpoints: target.Checkpoints()}
				if when == "before the first copy" {
					head := newStore(t, nil)
					fill(t, head, 4, 400)
					_, err := Copy(t.Context(), head, b, nil)
					require.NoError(t, err)
					test.spoil(t, b)
				}
				if when == "after a copy" {
					_, err := Copy(t.Context(), a, b, opts)
					require.NoError(t, err)
					test.spoil(t, b)
				}
				if when == "during a copy" {
					opts.Progress = func(p Progress) {
						if p.Read == 1000 {
							test.spoil(t, b)
						}
					}
				}
				_, err := Copy(t.Context(), a, b, opts)
				var found *ForeignError
				require.ErrorIs(t, err, ErrForeign)
				require.ErrorAs(t, err, &found)
				require.Equal(t, foreign.ID, found.ID)
			})
		}
	}
}

func TestACopyIntoItselfIsRefused(t *testing.T) {
	log := memory.NewLog()
	_, err := Copy(t.Context(), newStore(t, log.Open(nil)), newStore(t, log.Open(nil)), nil)
	require.ErrorIs(t, err, ErrSameStore)
}

func TestACopyIntoAStoreThatWasImportedInAnotherOrder(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, nil)
	fill(t, a, 3, 90)
	for _, stream := range []string{"counter-2", "counter-0"} {
		for event, err := range a.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
			require.NoError(t, err)
			_, err = b.Append(t.Context(), stream, eventstore.Exactly(event.Version-1), event.Event)
			require.NoError(t, err)
		}
	}
	result, err := Copy(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Equal(t, 30, result.Stored)
	report, err := Verify(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, report.Equal())
}

func TestACopyFollowsItsSource(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, target := newStore(t, nil), memory.New()
	b := newStore(t, target)
	fill(t, a, 2, 100)
	done, caughtUp := make(chan error, 1), make(chan Result, 1)
	opts := &CopyOptions{Follow: true, Checkpoints: target.Checkpoints(), CaughtUp: func(r Result) { caughtUp <- r }}
	go func() {
		_, err := Copy(ctx, a, b, opts)
		done <- err
	}()
	require.Equal(t, 100, (<-caughtUp).Stored)
	for i := range 300 {
		_, err := a.Append(ctx, "live", eventstore.Exactly(uint64(i)), eventstore.Event{Type: "T", Data: []byte("{}")})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		version, err := b.StreamVersion(ctx, "live")
		return err == nil && version == 300
	}, 10*time.Second, time.Millisecond)

	_, err := b.Append(ctx, "other", eventstore.NoStream(), eventstore.Event{Type: "T", Data: []byte("{}")})
	require.NoError(t, err)
	_, err = a.Append(ctx, "live", eventstore.Exactly(300), eventstore.Event{Type: "T", Data: []byte("{}")})
	require.NoError(t, err)
	require.ErrorIs(t, <-done, ErrForeign, "it is noticed with the next event")
	cancel()
}

func TestAnEndedFollowLeavesItsCheckpoints(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, target := newStore(t, nil), memory.New()
	b := newStore(t, target)
	fill(t, a, 2, 100)
	opts := &CopyOptions{Follow: true, Checkpoints: target.Checkpoints(), CaughtUp: func(Result) { cancel() }}
	_, err := Copy(ctx, a, b, opts)
	require.ErrorIs(t, err, context.Canceled)
	from, err := a.Info(t.Context())
	require.NoError(t, err)
	checkpoint, ok, err := target.Checkpoints().Load(t.Context(), copiedName(from.ID))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, from.Head, checkpoint.Position)
}

func TestACopyIntoALesserBackendKeepsWhatItCan(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, forgetful{memory.New()})
	fill(t, a, 3, 90)
	_, err := Copy(t.Context(), a, b, nil)
	require.NoError(t, err)
	report, err := Verify(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, report.Equal())
	require.Equal(t, []Loss{{What: "record times", Why: "this double has none"}}, Losses(b.Capabilities()))
	require.Empty(t, Losses(a.Capabilities()))
}
