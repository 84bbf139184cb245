package move

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAReportSaysTheSameInEachForm(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 6)
	handle(t, a, "bill|ing <b>", 2)
	report, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	var text, page strings.Builder
	require.NoError(t, report.WriteText(&text))
	require.NoError(t, report.WriteMarkdown(&page))
	asJSON, err := json.Marshal(report)
	require.NoError(t, err)
	for _, want := range []string{
		report.From.Summary.Digest.String(), report.To.Order.String(), report.Seal.String(), "memory:b",
		report.Checkpoints[0].EventID.String(), "snapshots", "translate",
	} {
		for form, out := range map[string]string{"text": text.String(), "Markdown": page.String(), "JSON": string(asJSON)} {
			require.Contains(t, out, want, form)
		}
	}
	require.Contains(t, page.String(), `| bill\|ing &lt;b> | `+report.Checkpoints[0].Old.String()+" | "+report.Checkpoints[0].New.String()+" |")
	require.Equal(t, `a\\\|b !\[x](http://e/) &lt;i>`, cell("a\\|b ![x](http://e/) <i>"), "a backslash does not set the bar free")
	require.Contains(t, text.String(), `configuration url: "memory:b"`)
	require.NotContains(t, string(asJSON), "null", "lists are lists")

	again, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	text.Reset()
	require.NoError(t, again.WriteText(&text))
	require.Contains(t, text.String(), "memory:a was moved to memory:b already, and has not changed since\n")
	require.Contains(t, text.String(), `configuration url: "memory:b"`, "the run that ended the move may have been killed before its report")
}

func TestAReportOfAMoveThatFailedSaysWhyAndHowFarItCame(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 6)
	for _, at := range []Phase{PhaseFits, PhaseVerify} {
		report, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
			if phase != at {
				return
			}
			if phase == PhaseVerify {
				_, err := a.Store.Unseal(t.Context())
				require.NoError(t, err)
				return
			}
			require.NoError(t, a.Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: "x", Store: infoOf(t, a).ID, Place: eventstore.Place{Position: eventstore.NewPosition(1000, 0)}}}))
		}})
		require.ErrorIs(t, err, ErrRefused)
		var text strings.Builder
		require.NoError(t, report.WriteText(&text))
		asJSON, err := json.Marshal(report)
		require.NoError(t, err)
		require.Contains(t, string(asJSON), `"done":false`)
		if at == PhaseFits {
			require.Contains(t, text.String(), "memory:a does not fit into memory:b; nothing was written")
			require.NoError(t, a.Checkpoints.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "x"}))
		} else {
			require.Contains(t, text.String(), "memory:a was closed after position")
			require.Contains(t, text.String(), "lifted the seal")
		}
	}
}

func TestEachReadOfAWholeStoreTellsHowFarItIs(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5500)
	var phase Phase
	told := make(map[Phase][][2]int)
	opts := &Options{Phase: func(p Phase) { phase = p }, Progress: func(done, total int) {
		if phase == PhaseFits { // the others are told as time passes
			told[phase] = append(told[phase], [2]int{done, total})
		}
	}}
	of := func(n int) (want [][2]int) {
		want = append(want, [2]int{0, 0})
		for done := 1000; done < n; done += 1000 {
			want = append(want, [2]int{done, n - 1}) // the event after so many is looked at
		}
		return want
	}
	_, err := Move(t.Context(), a, b, opts)
	require.NoError(t, err)
	require.Equal(t, of(5500), told[PhaseFits])
	add(t, b, 1)
	clear(told)
	_, err = Move(t.Context(), b, a, opts)
	require.NoError(t, err)
	want := append(of(5501), of(5500)...)
	for done := 1000; done < 5500; done += 1000 {
		want = append(want, [2]int{done, 5500})
	}
	require.Equal(t, want, told[PhaseFits], "of the way back, also the old store, which is read and then compared")
}
