package bench_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
)

func target() bench.Target {
	log := memory.NewLog()
	return bench.Target{Name: "memory", Open: func(context.Context) (*eventstore.Store, error) {
		return eventstore.New(log.Open(nil), nil)
	}}
}

func TestEveryCaseMeasuresSomething(t *testing.T) {
	results, err := bench.Run(t.Context(), []bench.Target{target()}, bench.Options{Duration: 20 * time.Millisecond, Rounds: 1})
	require.NoError(t, err)
	require.Len(t, results, len(bench.Cases()))
	for _, r := range results {
		require.Positive(t, r.Rate+float64(r.P99), r.Case)
	}
	var table, text bytes.Buffer
	require.NoError(t, bench.WriteTable(&table, results))
	require.NoError(t, bench.WriteJSON(&text, results))
	for _, c := range bench.Cases() {
		require.Contains(t, table.String(), c.Name)
		require.Contains(t, text.String(), c.Name)
	}
	for _, name := range []string{"chart.png", "chart.svg"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, bench.Plot(path, results))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Positive(t, info.Size())
	}
	require.ErrorContains(t, bench.Plot(filepath.Join(t.TempDir(), "chart.doc"), results), ".png or .svg")
	require.ErrorContains(t, bench.Plot("chart.png", nil), "no rates")
}

func TestABaselineIsMeasuredOnItsTargetOnly(t *testing.T) {
	with := target()
	with.Name = "with"
	with.Baselines = []bench.Case{{Name: "baseline", Run: func(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
		return bench.Writers(ctx, 2, 1, d, func(context.Context, int) error { return nil })
	}}}
	results, err := bench.Run(t.Context(), []bench.Target{target(), with}, bench.Options{Duration: time.Millisecond, Rounds: 3, Match: "baseline"})
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.Equal(t, "with", results[0].Store)
}

func TestWhatCannotBeMeasuredIsAnError(t *testing.T) {
	_, err := bench.Run(t.Context(), []bench.Target{target()}, bench.Options{Match: "^nothing$"})
	require.ErrorContains(t, err, "no case")
	_, err = bench.Run(t.Context(), []bench.Target{target()}, bench.Options{Match: "("})
	require.ErrorContains(t, err, "selects cases")
}
