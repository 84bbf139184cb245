package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func (a *app) exportCommand() *cobra.Command {
	var f filterFlags
	var after string
	cmd := &cobra.Command{
		Use:   "export URL [FILE]",
		Short: "Write a store's events as NDJSON: one CloudEvents JSON object a line",
		Long: `Write a store's events to a file, or to standard output, in the global order: NDJSON,
one CloudEvents 1.0 JSON object a line. Data keeps its bytes.

A file that holds an earlier export of this store, of the same events by the same flags,
is continued after its last whole line, so an export can be ended in any way and run again.
A pipe or a device is written from the beginning.`,
		Example: `  switchyard export @orders orders.ndjson
  switchyard export @orders --category order --type OrderPlaced | jq .data`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := transfer.ExportOptions{Filter: f.filter()}
			if err := parsePosition("--after", after, &opts.After); err != nil {
				return err
			}
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				return a.exportTo(cmd.Context(), store, args[1:], opts)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&after, "after", "", "start after this `position`")
	return cmd
}

func (a *app) exportTo(ctx context.Context, store *handle, name []string, opts transfer.ExportOptions) error {
	progress := a.report("exported")
	defer progress.end()
	var bar transfer.Estimate
	opts.Progress = func(p transfer.Progress) {
		progress.total(bar.Total(p))
		progress.at(p.Read)
	}
	if len(name) == 0 || name[0] == "-" || a.isOutput(name[0]) {
		n, err := transfer.Export(ctx, store.Store, a.out, &opts)
		if errors.Is(err, context.Canceled) {
			err = fmt.Errorf("interrupted after %s", count(n, "event"))
		}
		return err
	}
	n, err := exportFile(ctx, store, name[0], &opts)
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted after %s; run it again to go on", count(n, "event"))
	}
	if err != nil {
		return err
	}
	progress.end()
	if a.json() {
		return a.printJSON(map[string]int{"exported": n})
	}
	return a.printf("exported %s %s\n", count(n, "event"), progress.took(n))
}

// isOutput tells whether a name, such as /dev/stdout, is what the command prints to.
func (a *app) isOutput(name string) bool {
	output, ok := a.out.(*os.File)
	if !ok {
		return false
	}
	is, err := output.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(is, named)
}

// exportFile exports into a file, or into what is no file and has no end to go on
// from: a pipe or a device.
func exportFile(ctx context.Context, store *handle, name string, opts *transfer.ExportOptions) (n int, err error) {
	mode, export := os.O_RDWR|os.O_CREATE, transfer.ExportFile
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		mode = os.O_WRONLY
		export = func(ctx context.Context, from *eventstore.Store, file *os.File, opts *transfer.ExportOptions) (int, error) {
			return transfer.Export(ctx, from, file, opts)
		}
	}
	file, err := os.OpenFile(name, mode, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = export(ctx, store.Store, file, opts)
	return n, errors.Join(err, file.Close())
}
