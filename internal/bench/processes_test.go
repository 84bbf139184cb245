package bench_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
)

// asWorker makes the test program a further process of a benchmark.
const asWorker = "BENCH_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) == "" {
		os.Exit(m.Run())
	}
	if err := bench.Work(context.Background(), os.Stdin, os.Stdout, open); err != nil {
		os.Exit(1)
	}
}

// open opens the stores that workers are told to.
func open(ctx context.Context, url string) (*eventstore.Store, error) { return all.Open(ctx, url, nil) }

func worker(ctx context.Context) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asWorker+"=1")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

func TestProcessesShareTheWritersOfEachCase(t *testing.T) {
	url := "sqlite:" + filepath.ToSlash(filepath.Join(t.TempDir(), "shared.db"))
	openIt := func(ctx context.Context) (*eventstore.Store, error) { return all.Open(ctx, url, nil) }
	store, err := openIt(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	processes, err := bench.StartProcesses(t.Context(), 1, url, worker)
	require.NoError(t, err)
	target := bench.Target{Name: "two processes", Open: openIt, Cases: processes.Cases()}
	require.Len(t, target.Cases, 5, "appends to new streams, but not by one writer, which cannot be divided")
	results, err := bench.Run(t.Context(), []bench.Target{target}, bench.Options{Duration: 300 * time.Millisecond, Rounds: 1, Match: "append 8×1 "})
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.Equal(t, "append 8×1 new streams", results[0].Case)
	require.Positive(t, results[0].Rate)
	require.Regexp(t, `^\d+ \+ \d+ by process`, results[0].Note)

	stored := 0
	for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		stored++
	}
	require.Greater(t, float64(stored), results[0].Rate*0.3*0.99, "the rate counts what both have stored, and no more")
	require.NoError(t, processes.Close(), "the processes end in order")
}

func TestAProcessThatCannotDoItsPartIsAnError(t *testing.T) {
	_, err := bench.StartProcesses(t.Context(), 1, "sqlite:"+filepath.ToSlash(filepath.Join(t.TempDir(), "absent", "x.db")), worker)
	require.ErrorContains(t, err, "the other process")
	_, err = bench.StartProcesses(t.Context(), 1, "sqlite:x.db", func(ctx context.Context) (*exec.Cmd, error) {
		return exec.CommandContext(ctx, filepath.Join(t.TempDir(), "absent")), nil
	})
	require.ErrorContains(t, err, "start another process")
}

func TestAWorkerGivesUpWhenItsOrdersEnd(t *testing.T) {
	var out strings.Builder
	orders := strings.NewReader(`{"URL":"memory:"} {"Writers":1,"Size":1,"Duration":3600000000000}`)
	require.NoError(t, bench.Work(t.Context(), orders, &out, open), "an hour is not waited for")
}
