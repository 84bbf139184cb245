package main

import (
	"context"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
)

const benchWorkerName = "bench-worker"

// benchWorkerCommand is what bench --processes starts this program as.
func (a *app) benchWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    benchWorkerName,
		Short:  "Append as a benchmark in another process orders through standard input",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Work(cmd.Context(), a.in, a.out, func(ctx context.Context, url string) (*eventstore.Store, error) {
				return benchStore(all.Set().OpenBackend(ctx, url))
			})
		},
	}
}

// benchWorker makes the command of one more process of this program.
func benchWorker(stderr io.Writer) func(context.Context) (*exec.Cmd, error) {
	return func(ctx context.Context) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, benchWorkerName) //nolint:gosec // this program itself
		cmd.Stderr = stderr
		return cmd, nil
	}
}
