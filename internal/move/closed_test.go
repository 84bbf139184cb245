package move

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func textOf(t *testing.T, r *Report) string {
	t.Helper()
	var text strings.Builder
	require.NoError(t, r.WriteText(&text))
	return text.String()
}

func jsonOf(t *testing.T, r *Report) string {
	t.Helper()
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

func TestAMoveThatGoesOnBehindTheSealCountsFromTheSeal(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, file string)
		closed time.Duration
		want   string
	}{
		"which an earlier run has noted": {func(t *testing.T, file string) {
			t.Helper()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			at, position, _ := strings.Cut(string(text), " ")
			sealed, err := time.Parse(time.RFC3339Nano, at)
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), sealed, time.Minute)
			require.NoError(t, os.WriteFile(file, []byte(sealed.Add(-time.Hour).Format(time.RFC3339Nano)+" "+position), 0o600))
		}, time.Hour, ", from the seal to the end"},
		"or says that it does not know": {func(t *testing.T, file string) {
			t.Helper()
			require.NoError(t, os.Remove(file))
		}, 0, "closed for    at least "},
		"and not from an earlier one": {func(t *testing.T, file string) {
			t.Helper()
			require.NoError(t, os.WriteFile(file, []byte(time.Now().Add(-time.Hour).Format(time.RFC3339Nano)+" 3"), 0o600))
		}, 0, "closed for    at least "},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, dir := memorySide(t, "memory:a"), memorySide(t, "memory:b"), t.TempDir()
			add(t, a, 5)
			_, err := Move(t.Context(), a, killedAt(b, "save", originPrefix), &Options{StateDir: dir})
			require.ErrorIs(t, err, errKilled)
			file := statePath(dir, infoOf(t, a).ID, infoOf(t, b).ID) + "-sealed"
			test.change(t, file)
			report, err := Move(t.Context(), a, b, &Options{StateDir: dir})
			require.NoError(t, err)
			require.GreaterOrEqual(t, report.Closed, test.closed)
			require.Less(t, report.Closed, test.closed+time.Minute)
			require.Equal(t, test.closed == 0, report.ClosedAtLeast)
			require.Contains(t, textOf(t, report), test.want)
			require.NoFileExists(t, file)
		})
	}
}

func TestAStoreWithoutASealWasClosedForLongerThanTheMoveKnows(t *testing.T) {
	a, b := side(t, unsealable{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	report, err := Move(t.Context(), a, b, &Options{WritersStopped: true})
	require.NoError(t, err)
	require.Contains(t, textOf(t, report), "FROM has no seal, and its writers were stopped before this run looked at its end")
	require.Contains(t, jsonOf(t, report), `"closedAtLeast":true`)
}

func TestARefusalBehindTheSealSaysThatFROMIsSealedAndHowToGiveUp(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, killedAt(b, "save", originPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	require.NoError(t, a.Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{
		Checkpoint: eventstore.Checkpoint{Name: "billing", Store: infoOf(t, a).ID, Place: eventstore.Place{Position: infoOf(t, a).Head.Position}},
	}))
	report, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	text := textOf(t, report)
	require.NotContains(t, text+err.Error(), "nothing was written")
	require.Contains(t, text, "To give up: switchyard unseal memory:a\n")
	require.Contains(t, jsonOf(t, report), `"sealed":true`)

	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	report, err = Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.NotContains(t, textOf(t, report), "nothing was written", "TO holds events of an earlier run")
	require.NotContains(t, textOf(t, report), "unseal", "it is not sealed")
}

// stuck is a store that can be opened and not sealed again.
type stuck struct {
	*memory.Backend
	now *bool
}

func (s stuck) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	if *s.now && !req.Lift {
		return eventstore.Info{}, errors.New("the server is away")
	}
	return s.Backend.Seal(ctx, req)
}

func TestAnOldStoreThatIsLeftOpenIsInTheReport(t *testing.T) {
	now := false
	a, b := side(t, stuck{memory.New(), &now}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	now = true
	report, err := Move(t.Context(), b, killedAt(a, "save", originPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	require.False(t, sealed(t, a))
	require.Contains(t, textOf(t, report), "memory:a was opened for the way back and may take appends")
	require.Contains(t, textOf(t, report), "To give up: switchyard seal memory:a --reason TEXT, and then switchyard unseal memory:b\n")
	require.Contains(t, jsonOf(t, report), `"toLeftOpen":"`)
	require.Contains(t, jsonOf(t, report), "the server is away")
}

func TestAReportHoldsTheDecisionsOfAllRuns(t *testing.T) {
	for name, dir := range map[string]string{"digests gone on with": t.TempDir(), "all read again": ""} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z0-9-]+", 1000}, "memory:b")
			unfit(t, a)
			opts := &Options{OnRefused: []transfer.Remedy{transfer.Rename, transfer.KeepBytes, transfer.Skip}, StateDir: dir}
			first, err := Move(t.Context(), a, killedAt(b, "save", originPrefix), opts)
			require.ErrorIs(t, err, errKilled)
			require.Zero(t, first.RefusedBefore)
			require.Len(t, first.Refused.Decisions, 3, "one of them of a stream that is renamed as a whole")
			for i, d := range first.Refused.Decisions {
				copied := first.Copied.Refused.Decisions[i]
				require.Contains(t, d.Reason, "check an append: ", "of the event as FROM has it")
				copied.Reason = d.Reason
				require.Equal(t, copied, d, "as the copy decided, and TO says")
			}
			report, err := Move(t.Context(), a, b, opts)
			require.NoError(t, err)
			require.Equal(t, first.Refused.Decisions, report.Refused.Decisions)
			require.Equal(t, remedied(first.Refused), report.RefusedBefore)
			require.Contains(t, textOf(t, report), "by an earlier run: 4 of these\n")
			require.NotContains(t, jsonOf(t, report), "null")
			var page strings.Builder
			require.NoError(t, report.WriteMarkdown(&page))
			for form, out := range map[string]string{"text": textOf(t, report), "Markdown": page.String(), "JSON": jsonOf(t, report)} {
				for _, d := range report.Refused.Decisions {
					require.Contains(t, out, d.ID.String(), form)
					require.Contains(t, out, d.ToID.String(), form)
				}
				require.Contains(t, out, "the event has 2019 bytes", form)
			}
		})
	}
}

func TestADecisionWhoseReasonNoRunHasKeptSaysSo(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memory.New()
	unfit(t, a)
	opts := &Options{OnRefused: []transfer.Remedy{transfer.Skip}, DryRun: true}
	_, err := Move(t.Context(), a, side(t, narrow{b, "[a-z0-9-]+", 1000}, "memory:b"), opts)
	require.NoError(t, err)
	report, err := Move(t.Context(), a, side(t, b, "memory:b"), opts) // which takes everything now
	require.NoError(t, err)
	require.Len(t, report.Refused.Decisions, 4)
	require.Equal(t, unknownReason, report.Refused.Decisions[0].Reason)
	require.Equal(t, []transfer.Remedy{transfer.Skip}, report.Refused.Decisions[0].Remedies)
}

func TestAReportListsNoMoreThanSoManyDecisions(t *testing.T) {
	a, b := memorySide(t, "memory:a"), side(t, narrow{memory.New(), "[a-z0-9-]+", 1000}, "memory:b")
	var parts []eventstore.StreamAppend
	for i := range 30 + maxDecisions {
		parts = append(parts, eventstore.StreamAppend{Stream: fmt.Sprintf("UPPER%d", i), Expected: eventstore.Any(), Events: []eventstore.Event{{Type: "T", Data: []byte("1")}}})
		if len(parts) == 10 {
			_, err := a.Store.AppendStreams(t.Context(), parts...)
			require.NoError(t, err)
			parts = nil
		}
	}
	opts := &Options{OnRefused: []transfer.Remedy{transfer.Rename}, DryRun: true, StateDir: t.TempDir()}
	for range 2 {
		report, err := Move(t.Context(), a, b, opts)
		require.NoError(t, err)
		require.Len(t, report.Refused.Decisions, maxDecisions)
		require.Equal(t, 30, report.Refused.Unlisted)
		require.Contains(t, textOf(t, report), fmt.Sprintf("and %d more; as JSON", 30+maxDecisions-shownDecisions))
	}
}

func TestATOThatIsSealedMeanwhileIsRefused(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
		if phase == PhaseSeal {
			_, err := b.Store.Seal(t.Context(), "maintenance")
			require.NoError(t, err)
		}
	}})
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "TO was sealed meanwhile: maintenance")
}

func TestNobodyIsToldToOpenAStoreThatIsNotTheOneInUse(t *testing.T) {
	a, b, c := memorySide(t, "memory:a"), memorySide(t, "memory:b"), memorySide(t, "memory:c")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	elsewhere, err := Move(t.Context(), a, c, nil)
	require.ErrorIs(t, err, ErrRefused)
	add(t, b, 2)
	_, err = Move(t.Context(), b, killedAt(a, "save", originPrefix), nil)
	require.ErrorIs(t, err, errKilled)
	wrong, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	for _, report := range []*Report{elsewhere, wrong} {
		require.Contains(t, textOf(t, report), "sealed        memory:a: moved to memory:b")
		require.NotContains(t, textOf(t, report), "switchyard unseal")
	}
}
