package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func (a *app) importCommand() *cobra.Command {
	var refused refusedFlag
	cmd := &cobra.Command{
		Use:   "import URL [FILE]",
		Short: "Store the events of NDJSON: one CloudEvents JSON object a line",
		Long: `Store the events of a file, or of standard input: NDJSON, one CloudEvents 1.0 JSON
object a line. The order and the IDs are kept, and versions and record times
where the lines have them. 'subject' is the stream. An attribute that is not ours
becomes metadata of its name.

Run it again after a failure, or by mistake: what is stored already is passed
over. A wrong line ends the import with its number; every line before it is stored.
Where the store forgets the IDs of old events (caps: idempotencyWindow), the streams of
lines without a version are read first, and their IDs held in memory.

` + refusedHelp,
		Example: `  switchyard import sqlite:orders.db orders.ndjson
  switchyard export @orders | switchyard import sqlite:copy.db`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			input, total, err := a.input(args[1:])
			if err != nil {
				return err
			}
			defer func() { _ = input.Close() }()
			return a.with(cmd.Context(), args[0], func(store *handle) error {
				return a.importFrom(cmd.Context(), store, input, total, refused.remedies)
			})
		},
	}
	refused.add(cmd)
	return cmd
}

func (a *app) importFrom(ctx context.Context, store *handle, input io.Reader, size int64, onRefused []transfer.Remedy) error {
	a.tellLosses(store, 0)
	progress := a.report("imported")
	result, err := transfer.Import(ctx, store.Store, input, &transfer.ImportOptions{OnRefused: onRefused, Progress: func(p transfer.Progress) {
		if size > 0 && p.Bytes > 0 && p.Read > 0 {
			progress.total(int(float64(p.Read) / float64(p.Bytes) * float64(size))) // an estimate until the end
		}
		progress.at(p.Read)
	}})
	progress.end()
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted after %s; run it again to go on", count(result.Read, "event"))
	}
	return errors.Join(err, a.printResult("imported", result, transfer.Apart{}, progress))
}

// tellLosses says what a target does not keep, of a source whose record times have a
// precision.
func (a *app) tellLosses(target *handle, precision time.Duration) {
	for _, loss := range transfer.Losses(target.Capabilities(), precision) {
		fmt.Fprintf(a.err, "note: %s does not keep %s: %s\n", target.name, loss.What, loss.Why)
	}
}

// input opens the file that is named, or standard input, and tells its size
// where it has one.
func (a *app) input(name []string) (io.ReadCloser, int64, error) {
	if len(name) == 0 || name[0] == "-" {
		if isTerminal(a.in) {
			return nil, 0, usagef("give a file, or NDJSON on standard input")
		}
		return io.NopCloser(a.in), 0, nil
	}
	file, err := os.Open(name[0])
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return file, 0, nil //nolint:nilerr // the size is for the progress bar alone
	}
	return file, info.Size(), nil
}
