package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testscale"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, harness(t))
}

func TestSQLiteAndMemoryGiveTheSameAnswers(t *testing.T) {
	for seed := range uint64(4) {
		require.NoError(t, conformance.Differential(t.Context(), memorytest.Harness(), harness(t), &conformance.DifferentialOptions{Seed: seed + 1}))
	}
}

func harness(t *testing.T) conformance.Harness {
	dir := t.TempDir()
	return conformance.Harness{
		Name:  "sqlite",
		Scale: testscale.Suite(),
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			fresh, err := os.MkdirTemp(dir, "") //nolint:usetesting // each check has a folder, and removes it
			if err != nil {
				return nil, err
			}
			return newMachine(fresh).fixture(ctx)
		},
	}
}

// fixture opens a store on the machine for the suite.
func (m *machine) fixture(ctx context.Context) (*conformance.Fixture, error) {
	open := func(opts *sqlite.Options) func(context.Context) (eventstore.Backend, error) {
		return func(ctx context.Context) (eventstore.Backend, error) { return m.open(ctx, opts) }
	}
	// Short, so that the suite's waits for polls are short.
	poll := 20 * time.Millisecond
	first, err := m.open(ctx, &sqlite.Options{Poll: poll})
	if err != nil {
		return nil, err
	}
	return &conformance.Fixture{
		Backend:     first,
		OpenAgain:   open(&sqlite.Options{Poll: poll}),
		OpenPolling: open(&sqlite.Options{Poll: poll}), // nothing is told between handles
		Restart:     m.crash,
		// They are those of the process that crashed.
		RestartEndsHandles: true,
		HoldWriter:         m.holdWriter,
		Remove:             func(context.Context) error { return os.RemoveAll(filepath.Dir(m.path)) },
	}, nil
}
