package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	opts := &CopyOptions{Checkpoints: target.Records().Checkpoints}
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

func (s *stopping) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
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

func (w without) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if w.name == req.Name {
		return eventstore.LoadCheckpointResult{}, nil
	}
	return w.Checkpoints.Load(ctx, req)
}

func TestACopyThatWasEndedGoesOnWhateverItsCheckpointsSay(t *testing.T) {
	a := newStore(t, nil)
	fill(t, a, 5, 4500)
	info, err := a.Info(t.Context())
	require.NoError(t, err)
	for name, checkpoints := range map[string]func(log *memory.Log) eventstore.Checkpoints{
		"both":              func(log *memory.Log) eventstore.Checkpoints { return log.Open(nil).Records().Checkpoints },
		"none":              func(*memory.Log) eventstore.Checkpoints { return nil },
		"empty":             func(*memory.Log) eventstore.Checkpoints { return memory.New().Records().Checkpoints },
		"the source's lags": func(log *memory.Log) eventstore.Checkpoints { return lagging(t, log, copiedName(info.ID)) },
		"the target's lags": func(log *memory.Log) eventstore.Checkpoints { return lagging(t, log, checkedName(info.ID)) },
		"one is missing": func(log *memory.Log) eventstore.Checkpoints {
			return without{log.Open(nil).Records().Checkpoints, copiedName(info.ID)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := memory.NewLog()
			killed := newStore(t, &stopping{Backend: log.Open(nil), left: 3})
			_, err := Copy(t.Context(), a, killed, &CopyOptions{Checkpoints: log.Open(nil).Records().Checkpoints})
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
	checkpoints := log.Open(nil).Records().Checkpoints
	stored, err := checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
	require.NoError(t, err)
	require.True(t, stored.Found)
	checkpoint := stored.Checkpoint
	checkpoint.Place = all(t, newStore(t, log.Open(nil)))[699].Place() // the copy has its source's order
	require.NoError(t, checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint, Reset: true}))
	return checkpoints
}

// A restored or failed-over store keeps its identity and gives the positions of
// lost events to others. Its checkpoints then name events that it does not hold.
func TestACopyStartsAnewWhereAStoreWasRestored(t *testing.T) {
	source := newStore(t, nil)
	fill(t, source, 3, 1200)
	info, err := source.Info(t.Context())
	require.NoError(t, err)
	for _, name := range []string{copiedName(info.ID), checkedName(info.ID)} {
		log := memory.NewLog()
		target, checkpoints := newStore(t, log.Open(nil)), log.Open(nil).Records().Checkpoints
		_, err := Copy(t.Context(), source, target, &CopyOptions{Checkpoints: checkpoints})
		require.NoError(t, err)
		stored, err := checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
		require.NoError(t, err)
		checkpoint := stored.Checkpoint
		checkpoint.Place.ID = uuid.New() // what was at that place before
		require.NoError(t, checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint, Reset: true}))
		var checked int
		_, err = Copy(t.Context(), source, target, &CopyOptions{Checkpoints: checkpoints, Checking: func(p Progress) { checked = p.Read }})
		require.NoError(t, err)
		require.NotZero(t, checked, "all of the target is compared again: %s", name)
	}
}

// scattered is a memory store in whose order other programs' events lie between
// those of one append.
type scattered struct {
	*memory.Backend
	other *eventstore.Event // what comes between next
}

func (s *scattered) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	caps.ContiguousAppends = eventstore.No("this double has none")
	return caps
}

func (s *scattered) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	var results []eventstore.PartResult
	for i := range req.Parts {
		if i > 0 && s.other != nil {
			foreign := eventstore.StreamAppend{Stream: "foreign", Expected: eventstore.Any(), Events: []eventstore.Event{*s.other}}
			if _, err := s.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{foreign}}); err != nil {
				return nil, err
			}
			s.other = nil
		}
		result, err := s.Backend.Append(ctx, eventstore.AppendRequest{Parts: req.Parts[i : i+1]})
		if err != nil {
			return nil, err
		}
		results = append(results, result...)
	}
	return results, nil
}

func TestACopyNoticesAnEventBetweenThoseOfItsAppend(t *testing.T) {
	source, backend := newStore(t, nil), &scattered{Backend: memory.New()}
	fill(t, source, 3, 30)
	_, err := Copy(t.Context(), source, newStore(t, backend), nil)
	require.NoError(t, err)

	backend = &scattered{Backend: memory.New(), other: &eventstore.Event{ID: uuid.New(), Type: "Foreign", Data: []byte("{}")}}
	_, err = Copy(t.Context(), source, newStore(t, backend), nil)
	require.ErrorIs(t, err, ErrForeign)
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
				opts := &CopyOptions{Checkpoints: target.Records().Checkpoints}
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
	require.Zero(t, report.Differing)
	require.Equal(t, "order", report.First.Field, "nothing is missing, and who verifies the copy is told")
}

func TestACopyFollowsItsSource(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, target := newStore(t, nil), memory.New()
	b := newStore(t, target)
	fill(t, a, 2, 100)
	done, caughtUp := make(chan error, 1), make(chan Result, 1)
	opts := &CopyOptions{Follow: true, Checkpoints: target.Records().Checkpoints, CaughtUp: func(r Result) { caughtUp <- r }}
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
	opts := &CopyOptions{Follow: true, Checkpoints: target.Records().Checkpoints, CaughtUp: func(Result) { cancel() }}
	_, err := Copy(ctx, a, b, opts)
	require.ErrorIs(t, err, context.Canceled)
	from, err := a.Info(t.Context())
	require.NoError(t, err)
	stored, err := target.Records().Checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: copiedName(from.ID)})
	require.NoError(t, err)
	require.True(t, stored.Found)
	require.Equal(t, from.Head, stored.Checkpoint.Place)
}

func TestACopyIntoALesserBackendKeepsWhatItCan(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, forgetful{memory.New()})
	fill(t, a, 3, 90)
	_, err := Copy(t.Context(), a, b, nil)
	require.NoError(t, err)
	report, err := Verify(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, report.Equal())
	require.Equal(t, []Loss{{What: "record times", Why: "this double has none"}}, Losses(b.Capabilities(), time.Nanosecond))
	require.Empty(t, Losses(a.Capabilities(), time.Nanosecond))
	coarse := a.Capabilities()
	coarse.TimePrecision = time.Microsecond
	require.Equal(t, []Loss{{What: "parts of record times below 1µs", Why: "that is its precision"}}, Losses(coarse, 100*time.Nanosecond))
	require.Empty(t, Losses(coarse, time.Microsecond))
	require.Empty(t, Losses(coarse, 0), "nobody knows")
}

// narrow is a memory store that takes two parts in one append.
type narrow struct{ *memory.Backend }

func (n narrow) Capabilities() eventstore.Capabilities {
	caps := n.Backend.Capabilities()
	caps.Limits.MaxAppendParts = 2
	return caps
}

func TestACopyKeepsToTheLimitOnTheParts(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, narrow{memory.New()})
	fill(t, a, 5, 50)
	result, err := Copy(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Equal(t, 50, result.Stored)
	requireSame(t, a, b)
}

// A checkpoint, or the last line of a file, may name a stream that cannot be asked for.
func TestATransferGoesOnAfterAStreamWhoseNameCannotBeRead(t *testing.T) {
	f, log := dirty(), memory.NewLog()
	for i := range f.events {
		delete(f.events[i].Metadata, "latin") // which no line can hold
	}
	source, target := openFilled(t, f), openFilled(t, strict{log.Open(nil), nil})
	opts := &CopyOptions{OnRefused: []Remedy{KeepBytes, Rename}, Checkpoints: log.Open(nil).Records().Checkpoints}
	file, err := os.Create(filepath.Join(t.TempDir(), "export.ndjson"))
	require.NoError(t, err)
	defer file.Close()
	f.add("nul\x00", 1, eventstore.Event{})
	for _, want := range []int{len(f.events), 1, 0} {
		result, err := Copy(t.Context(), source, target, opts)
		require.NoError(t, err)
		require.Equal(t, want, result.Read)
		requireRestored(t, f, target)
		n, err := ExportFile(t.Context(), source, file, nil)
		require.NoError(t, err)
		require.Equal(t, want, n)
		if want > 1 {
			f.add("nul\x00", 2, eventstore.Event{})
		}
	}
	_, err = Copy(t.Context(), source, target, nil)
	require.NoError(t, err, "without its checkpoints")
}
