package move

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func TestAStoreIsMovedWithItsCheckpointsAndTheWayBackLeadsIntoTheSealedOne(t *testing.T) {
	a, b := side(t, spread{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 30)
	handled := handle(t, a, "billing", 10)
	require.NoError(t, a.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "new"}))

	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, report.Done)
	requireMoved(t, a, b)
	require.Equal(t, 30, report.To.Summary.Events)
	require.Equal(t, report.From.Summary, report.To.Summary)
	require.Len(t, report.Phases, 7)
	require.Len(t, report.Checkpoints, 2)
	require.Equal(t, handled[9].ID, report.Checkpoints[0].EventID)
	require.Equal(t, handled[9].Position, report.Checkpoints[0].Old)
	require.Equal(t, all(t, b)[9].Position, report.Checkpoints[0].New)
	require.NotEqual(t, report.Checkpoints[0].Old, report.Checkpoints[0].New)
	_, err = a.Store.Append(t.Context(), "a", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
	require.ErrorIs(t, err, eventstore.ErrSealed)
	require.ErrorContains(t, err, "moved to memory:b")

	rest := handle(t, b, "billing", 100)
	require.Len(t, rest, 20, "it goes on after the tenth event")
	require.Equal(t, all(t, a)[10].ID, rest[0].ID)
	require.Len(t, handle(t, b, "new", 100), 30)

	again, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.True(t, again.Already, "nothing is done twice")
	text, err := json.Marshal(again)
	require.NoError(t, err)
	require.NotContains(t, string(text), `"events"`, "and nothing read")

	add(t, b, 12)
	back, err := Move(t.Context(), b, a, nil)
	require.NoError(t, err)
	require.True(t, back.Done)
	requireMoved(t, b, a)
	require.Len(t, handle(t, a, "billing", 100), 12, "what was handled in b is not handled again")
	add(t, a, 3)

	_, err = Move(t.Context(), a, b, nil)
	require.NoError(t, err, "and there again")
	requireMoved(t, a, b)
}

func TestACheckpointKeptElsewhereIsTranslatedWhenItIsLoaded(t *testing.T) {
	a, b, c := side(t, spread{memory.New()}, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
	elsewhere := memorySide(t, "memory:elsewhere").Checkpoints
	add(t, a, 20)
	run := func(s Side, most int) (ids []uuid.UUID) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		require.NoError(t, s.Store.Run(ctx, eventstore.Subscription{
			Name: "projection", Checkpoints: elsewhere, UntilCaughtUp: true, CheckpointEvery: 1,
			Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
				if len(ids) == most {
					cancel()
					return context.Canceled
				}
				ids = append(ids, event.ID)
				return nil
			},
		}))
		return ids
	}
	first := run(a, 7)
	require.Len(t, first, 7)
	for _, pair := range [][2]Side{{a, b}, {b, c}} { // c's was a's two moves ago
		_, err := Move(t.Context(), pair[0], pair[1], nil)
		require.NoError(t, err)
	}
	second := run(c, 100)
	var want []uuid.UUID
	for _, event := range all(t, a) {
		want = append(want, event.ID)
	}
	require.Equal(t, want, append(first, second...), "every event once")
	stored, err := elsewhere.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "projection"})
	require.NoError(t, err)
	info, err := c.Store.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.ID, stored.Checkpoint.Store)

	err = a.Store.Run(t.Context(), eventstore.Subscription{Name: "projection", Checkpoints: elsewhere, UntilCaughtUp: true, Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }})
	require.ErrorIs(t, err, eventstore.ErrForeignCheckpoint, "the old store was not moved from the new one")
}

func TestWhatIsAcknowledgedWhileTheStoreIsMovedIsThereOnce(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 1000)
	var mu sync.Mutex
	acknowledged := make(map[uuid.UUID]bool)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			pace := time.NewTicker(100 * time.Microsecond)
			defer pace.Stop()
			for i := 0; ; i++ {
				<-pace.C
				result, err := a.Store.Append(t.Context(), fmt.Sprintf("w-%d", w), eventstore.Exactly(uint64(i)), eventstore.Event{Type: "T", Data: []byte("1")})
				if errors.Is(err, eventstore.ErrSealed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[result.Events[0].ID] = true
				mu.Unlock()
			}
		})
	}
	report, err := Move(t.Context(), a, b, nil)
	writers.Wait()
	require.NoError(t, err)
	require.Positive(t, report.Closed)
	requireMoved(t, a, b)
	for _, event := range all(t, b) {
		delete(acknowledged, event.ID)
	}
	require.Empty(t, acknowledged)
}

func TestWhatIsAppendedJustBeforeTheSealIsDrained(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
		if phase == PhaseSeal {
			add(t, a, 3000)
		}
	}})
	require.NoError(t, err)
	requireMoved(t, a, b)
}

func TestADryRunEndsBeforeTheSeal(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	report, err := Move(t.Context(), a, b, &Options{DryRun: true})
	require.NoError(t, err)
	require.False(t, report.Done)
	require.Len(t, all(t, b), 10)
	var page strings.Builder
	require.NoError(t, report.WriteText(&page))
	require.Contains(t, page.String(), "dry run: memory:a fits into memory:b; nothing is sealed, and applications stay where they are\n")
	require.Contains(t, page.String(), "10 events of the first so far, and 10 of the second")
	require.Contains(t, page.String(), "at the end")
	require.Contains(t, page.String(), "equal so far  the first 10 events of both, in one order\n")
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.Contains(t, string(text), `"dryRun":true`)
	require.Contains(t, string(text), `"equalSoFar":10`)
	require.Equal(t, 2, strings.Count(string(text), `"events":10`), "of each of the two")
	require.NotContains(t, string(text), `"digest"`, "it is not of all")
	add(t, a, 3)
	report, err = Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.Equal(t, 3, report.Copied.Stored, "the dry run's copy is gone on with")
}

// unsealable is a store that cannot be sealed.
type unsealable struct{ *memory.Backend }

func (u unsealable) Capabilities() eventstore.Capabilities {
	caps := u.Backend.Capabilities()
	caps.Seal = eventstore.No("others write too")
	return caps
}

func TestAStoreWithoutASealIsClosedByTheOperatorsWordAndTheReportSaysSo(t *testing.T) {
	a, b := side(t, unsealable{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	var told []string
	report, err := Move(t.Context(), a, b, &Options{DryRun: true, Tell: func(line string) { told = append(told, line) }})
	require.NoError(t, err)
	var page strings.Builder
	require.NoError(t, report.WriteText(&page))
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.Contains(t, string(text), `"cannotBeSealed":"others write too"`)
	require.Len(t, told, 1)
	for _, out := range []string{told[0], page.String()} {
		require.Contains(t, out, "FROM cannot be sealed (others write too). Its writers are stopped by hand")
		require.Contains(t, out, "with --writers-stopped. That nobody appends to it afterwards is then not proved")
	}
	_, err = Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "others write too")
	require.ErrorContains(t, err, "--writers-stopped")
	report, err = Move(t.Context(), a, b, &Options{WritersStopped: true})
	require.NoError(t, err)
	require.True(t, report.Done)
	require.False(t, report.Sealed)
	require.Len(t, report.NotProved, 1)
	require.Contains(t, report.NotProved[0], "the operator's word")

	add(t, a, 1) // and then one writes all the same
	report, err = Move(t.Context(), a, b, &Options{WritersStopped: true})
	require.NoError(t, err)
	require.Equal(t, 1, report.Copied.Stored)
}

func TestWhatAMoveRefusesBeforeItWritesAnything(t *testing.T) {
	event := eventstore.Event{Type: "T", Data: []byte("1")}
	for name, test := range map[string]struct {
		prepare func(t *testing.T, from, to Side)
		want    string
	}{
		"a target with another event": {func(t *testing.T, _, to Side) {
			_, err := to.Store.Append(t.Context(), "a", eventstore.Any(), event)
			require.NoError(t, err)
		}, "TO is not empty"},
		"a sealed target": {func(t *testing.T, _, to Side) {
			_, err := to.Store.Seal(t.Context(), "closed for the winter")
			require.NoError(t, err)
		}, "closed for the winter"},
		"a source that was moved elsewhere": {func(t *testing.T, from, _ Side) {
			_, err := from.Store.Seal(t.Context(), "moved to kafka://elsewhere (store 1)")
			require.NoError(t, err)
		}, "kafka://elsewhere"},
		"a checkpoint that nobody can translate": {func(t *testing.T, from, _ Side) {
			require.NoError(t, from.Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: "foreign", Store: infoOf(t, from).ID, Place: eventstore.Place{Position: eventstore.NewPosition(1000, 0)}}}))
		}, `checkpoint "foreign"`},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
			add(t, a, 5)
			test.prepare(t, a, b)
			before := all(t, b)
			report, err := Move(t.Context(), a, b, nil)
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, test.want)
			require.False(t, report.Done)
			require.Equal(t, before, all(t, b), "nothing was written")
			info, err := a.Store.Info(t.Context())
			require.NoError(t, err)
			require.NotContains(t, info.SealReason, "memory:b")
		})
	}
	t.Run("a store into itself", func(t *testing.T) {
		a := memorySide(t, "memory:a")
		_, err := Move(t.Context(), a, a, nil)
		require.ErrorIs(t, err, transfer.ErrSameStore)
	})
	t.Run("the way back into a store that was written to since", func(t *testing.T) {
		a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
		add(t, a, 5)
		_, err := Move(t.Context(), a, b, nil)
		require.NoError(t, err)
		_, err = a.Store.Unseal(t.Context())
		require.NoError(t, err)
		add(t, a, 1)
		_, err = a.Store.Seal(t.Context(), "again")
		require.NoError(t, err)
		_, err = Move(t.Context(), b, a, nil)
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "unsealed and written to")
	})
}

// narrow is a store that holds less than others.
type narrow struct {
	*memory.Backend
	streams  string // a pattern
	maxBytes int    // of an event
}

func (n narrow) Capabilities() eventstore.Capabilities {
	caps := n.Backend.Capabilities()
	caps.BinaryData = eventstore.No("JSON alone")
	caps.StreamScopedIDs = eventstore.No("one index of all IDs")
	caps.Limits.StreamPattern = n.streams
	caps.Limits.MaxEventBytes = n.maxBytes
	return caps
}

// unfit fills a store with events of which narrow ones refuse all but the first.
func unfit(t *testing.T, s Side) {
	t.Helper()
	id := uuid.New()
	for _, part := range []struct {
		stream string
		event  eventstore.Event
	}{
		{"fine", eventstore.Event{ID: id, Type: "T", Data: []byte("1")}},
		{"UPPER", eventstore.Event{Type: "T", Data: []byte("1")}},
		{"UPPER", eventstore.Event{Type: "T", Data: []byte("2")}},
		{"bytes", eventstore.Event{Type: "T", Data: []byte{0xff}, ContentType: "application/octet-stream"}},
		{"large", eventstore.Event{Type: "T", Data: []byte(`"` + strings.Repeat("x", 2000) + `"`)}},
		{"twice", eventstore.Event{ID: id, Type: "T", Data: []byte("1")}},
	} {
		_, err := s.Store.Append(t.Context(), part.stream, eventstore.Any(), part.event)
		require.NoError(t, err)
	}
}

func TestWhatDoesNotFitIsSaidWithItsCountAndItsFirstEvent(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z]+", 100}, "memory:b")
	unfit(t, a)
	report, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "nothing was written")
	require.Empty(t, all(t, b))
	counts := make(map[string]int)
	for _, problem := range report.Problems {
		counts[problem.What] = problem.Count
	}
	require.Equal(t, map[string]int{"stream": 2, "BinaryData: a content type other than JSON": 1, "data": 1, "stream-scoped IDs": 1}, counts)
	require.Contains(t, report.Problems[0].First, `version 1 of stream "UPPER"`)
	require.ErrorContains(t, err, "stream (2; --on-refused rename, park or skip helps), first event ")
	require.ErrorContains(t, err, "BinaryData: a content type other than JSON (1; --on-refused keep-bytes, park or skip helps)")
	require.ErrorContains(t, err, "data (1; --on-refused skip helps)")
}

func TestARemedyThatDoesNotHelpIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	for name, test := range map[string]struct {
		remedies    []transfer.Remedy
		wrong, fits []string
	}{
		"rename":     {[]transfer.Remedy{transfer.Rename}, []string{"BinaryData: a content type other than JSON", "data"}, []string{"stream", "stream-scoped IDs"}},
		"keep-bytes": {[]transfer.Remedy{transfer.KeepBytes}, []string{"stream", "data", "stream-scoped IDs"}, []string{"BinaryData: a content type other than JSON"}},
		"park":       {[]transfer.Remedy{transfer.Park}, []string{"data"}, []string{"stream", "BinaryData: a content type other than JSON", "stream-scoped IDs"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z]+", 100}, "memory:b")
			unfit(t, a)
			report, err := Move(t.Context(), a, b, &Options{OnRefused: test.remedies})
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, "nothing was written")
			require.Empty(t, all(t, b))
			what := func(problems []Problem) (names []string) {
				for _, problem := range problems {
					names = append(names, problem.What)
				}
				return names
			}
			require.Equal(t, test.wrong, what(report.Problems))
			require.Equal(t, test.fits, what(report.Remedied))
		})
	}
}

func TestWhatDoesNotFitIsMovedByARemedyAndVerifiedAsItWas(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z0-9-]+", 1000}, "memory:b")
	unfit(t, a)
	events := all(t, a)
	for i, event := range events {
		require.NoError(t, a.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: fmt.Sprint("after ", i), Place: event.Place()}))
	}
	opts := &Options{OnRefused: []transfer.Remedy{transfer.Rename, transfer.KeepBytes, transfer.Skip}}
	report, err := Move(t.Context(), a, b, opts)
	require.NoError(t, err)
	require.True(t, report.Done)
	require.Empty(t, report.Problems)
	require.Len(t, report.Remedied, 4)
	refused := report.Copied.Refused
	// The double is memory, which takes an ID twice all the same.
	require.Equal(t, []int{1, 2, 1}, []int{refused.KeptBytes, refused.Renamed, refused.Skipped})
	require.Equal(t, report.From.Summary, report.To.Summary)

	moved := all(t, b)
	require.Len(t, moved, len(events))
	require.Len(t, report.Checkpoints, len(events))
	for i, c := range report.Checkpoints {
		require.Equal(t, events[i].Position, c.Old)
		require.Equal(t, moved[i].Position, c.New, "of the event, or of what stands for it")
	}
	again, err := Move(t.Context(), a, b, opts)
	require.NoError(t, err)
	require.True(t, again.Already)

	text, err := report.MarshalJSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"skipped":1`)
	var page strings.Builder
	require.NoError(t, report.WriteText(&page))
	require.Contains(t, page.String(), "1 kept as bytes, 2 renamed, 0 renumbered, 0 parked, 1 skipped")
}

func TestWhatAnEarlierRunHasStoredNeedsItsRemedyNoMore(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z0-9-]+", 1000}, "memory:b")
	unfit(t, a)
	_, err := Move(t.Context(), a, b, &Options{OnRefused: []transfer.Remedy{transfer.Rename, transfer.KeepBytes, transfer.Skip}, DryRun: true})
	require.NoError(t, err)
	_, err = a.Store.Append(t.Context(), "bytes", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte{0xfe}, ContentType: "application/octet-stream"})
	require.NoError(t, err)
	report, err := Move(t.Context(), a, b, &Options{OnRefused: []transfer.Remedy{transfer.Rename}})
	require.ErrorIs(t, err, ErrRefused)
	require.Len(t, report.Problems, 1)
	require.Equal(t, 1, report.Problems[0].Count, "the one that came since")
	report, err = Move(t.Context(), a, b, &Options{OnRefused: []transfer.Remedy{transfer.KeepBytes}})
	require.NoError(t, err)
	require.True(t, report.Done)
}

func TestAMoveByRemediesThatWasKilledGoesOn(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z0-9-]+", 1000}, "memory:b")
	unfit(t, a)
	opts := &Options{OnRefused: []transfer.Remedy{transfer.Skip}, DryRun: true, StateDir: t.TempDir()}
	for range 2 { // the second one finds an event that is not FROM's as it is at TO's end
		report, err := Move(t.Context(), a, b, opts)
		require.NoError(t, err)
		require.False(t, report.Done)
	}
	opts.DryRun = false
	report, err := Move(t.Context(), a, b, opts)
	require.NoError(t, err)
	require.True(t, report.Done)
	require.Zero(t, report.Copied.Refused.Skipped, "what an earlier run skipped is not skipped again")
	require.Equal(t, 4, report.Refused.Skipped, "and the report is the whole move's")
	require.Equal(t, 6, report.To.Summary.Events)
	var page strings.Builder
	require.NoError(t, report.WriteText(&page))
	require.Contains(t, page.String(), "0 parked, 4 skipped")
}
