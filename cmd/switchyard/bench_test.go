package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/bench"
)

func TestBenchMeasuresGrowthAndSeveralProcessesSideBySide(t *testing.T) {
	url := sqliteURL(t)
	cmd := program(t, "bench", url, "--prefill", "20,2000", "--processes", "2", "--rounds", "1", "--duration", "50ms",
		"--match", "^append 8×1 new streams$|at random", "--json")
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	require.NoError(t, err, "%s", told.String())
	require.Contains(t, told.String(), "2,000 events before in ", "it tells how long filling took")
	var results []bench.Result
	require.NoError(t, json.Unmarshal(out, &results))
	var measured []string
	for _, r := range results {
		require.Positive(t, r.Rate)
		measured = append(measured, strings.TrimPrefix(r.Store, url)+": "+r.Case)
	}
	require.Equal(t, []string{
		", 20 events before: append 8×1 new streams",
		", 20 events before: read streams of 10 at random",
		", 20 events before, 2 processes: append 8×1 new streams",
		", 2,000 events before: append 8×1 new streams",
		", 2,000 events before: read streams of 10 at random",
		", 2,000 events before, 2 processes: append 8×1 new streams",
	}, measured)
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	for want, args := range map[string][]string{
		"no other can open it":        {"memory:", "--processes", "2"},
		"give 1 or more":              {"memory:", "--processes", "0"},
		"give numbers of events":      {"memory:", "--prefill", "-1"},
		"no case is named like":       {"memory:", "--match", "nothing"},
		"--prefill \"ten\" is not a":  {"memory:", "--prefill", "ten"},
		"unknown scheme \"nonsense\"": {"nonsense:x", "--prefill", "10"},
		"--match: error parsing":      {"memory:", "--match", "("},
	} {
		got := call(t, "", append([]string{"bench", "-q"}, args...)...)
		require.NotZero(t, got.code)
		require.Contains(t, got.err, want)
	}
}

// The further processes of a benchmark hold its standard error open, so the end
// of that is the end of the last of them.
func TestTheProcessesOfABenchEndWithIt(t *testing.T) {
	for name, end := range map[string]func(*os.Process) error{
		"kill -9": (*os.Process).Kill,
		"Ctrl-C":  func(p *os.Process) error { return p.Signal(os.Interrupt) },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := program(t, "bench", sqliteURL(t), "--processes", "2", "--duration", "1h", "--match", "^append 8×1 new")
			read, write, err := os.Pipe()
			require.NoError(t, err)
			t.Cleanup(func() { _ = read.Close() })
			cmd.Stderr = write
			require.NoError(t, cmd.Start())
			require.NoError(t, write.Close())
			require.NoError(t, read.SetReadDeadline(time.Now().Add(time.Minute)))
			told := bufio.NewReader(read)
			text, err := told.ReadString('\n') // the other process runs already
			require.NoError(t, err)
			require.Contains(t, text, "append 8×1 new streams")

			require.NoError(t, end(cmd.Process))
			_, err = io.Copy(io.Discard, told)
			require.NoError(t, err, "a process is still there")
			require.Error(t, cmd.Wait())
		})
	}
}
