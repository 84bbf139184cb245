package bench_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
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

// As on a machine that runs nothing of a case before its time is over.
func TestACaseThatIsOutOfItsTimeHasMeasuredACallAllTheSame(t *testing.T) {
	results, err := bench.Run(t.Context(), []bench.Target{target()}, bench.Options{Duration: 1, Rounds: 1, Match: "^append|^read"})
	require.NoError(t, err)
	require.Greater(t, len(results), 2)
	for _, r := range results {
		require.Positive(t, r.Rate, r.Case)
	}
}

func TestACaseOfOneTargetIsMeasuredOnItOnly(t *testing.T) {
	with := target()
	with.Name = "with"
	with.Cases = []bench.Case{{Name: "baseline", Run: func(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
		return bench.Writers(ctx, 2, 1, d, func(context.Context, int) error { return nil })
	}}}
	results, err := bench.Run(t.Context(), []bench.Target{target(), with}, bench.Options{Duration: time.Millisecond, Rounds: 3, Match: "baseline"})
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.Equal(t, "with", results[0].Store)
}

func TestTargetsTakeTurnsAtEachCase(t *testing.T) {
	var order []string
	noted := func(name string) bench.Case {
		return bench.Case{Name: name, Run: func(context.Context, *eventstore.Store, time.Duration) (bench.Result, error) {
			return bench.Result{Rate: 1}, nil
		}}
	}
	first, second := target(), target()
	first.Name, first.Cases = "first", []bench.Case{noted("a"), noted("b")}
	second.Name, second.Cases = "second", []bench.Case{noted("b"), noted("a"), noted("c")}
	results, err := bench.Run(t.Context(), []bench.Target{first, second}, bench.Options{Rounds: 2, Progress: func(store, name string, _, _ int) {
		order = append(order, name+" "+store)
	}})
	require.NoError(t, err)
	require.Len(t, results, 5)
	round := []string{"a first", "a second", "b first", "b second", "c second"}
	require.Equal(t, slices.Concat(round, round), order)
}

func TestAStoreIsFilledAndReadFromAllOver(t *testing.T) {
	filling := target()
	store, err := filling.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	told := 0
	filled, err := bench.Fill(t.Context(), store, 20_001, func(done int) {
		require.Greater(t, done, told)
		told = done
	})
	require.NoError(t, err)
	require.Equal(t, 20_010, told, "whole streams of ten")
	count := func(opts eventstore.ReadAllOptions) (n int) {
		for _, err := range store.ReadAll(t.Context(), opts) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	require.Equal(t, told, count(eventstore.ReadAllOptions{}))
	require.Equal(t, 2010, count(eventstore.ReadAllOptions{Filter: eventstore.Filter{Categories: []string{"rare"}}}), "one stream in ten")

	filling.Cases = filled.Cases()
	results, err := bench.Run(t.Context(), []bench.Target{filling}, bench.Options{Duration: 5 * time.Millisecond, Rounds: 1, Match: "random|order of time|^append 1×1 new"})
	require.NoError(t, err)
	require.Len(t, results, 4)
	for _, r := range results {
		require.Positive(t, r.Rate, r.Case)
	}

	_, err = bench.Fill(t.Context(), store, 10, func(int) {})
	require.ErrorIs(t, err, eventstore.ErrConflict, "the same streams again are no fresh store")
}

func TestWhatCannotBeMeasuredIsAnError(t *testing.T) {
	_, err := bench.Run(t.Context(), []bench.Target{target()}, bench.Options{Match: "^nothing$"})
	require.ErrorContains(t, err, "no case")
	_, err = bench.Run(t.Context(), []bench.Target{target()}, bench.Options{Match: "("})
	require.ErrorContains(t, err, "selects cases")
}
