package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func (a *app) copyCommand() *cobra.Command {
	var follow bool
	var refused refusedFlag
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy every event from one store to another",
		Long: `Copy every event from one store to another, in the global order, with versions,
IDs, data and metadata, and with record times where the target keeps them.
Positions are the target's own. A stream that is archived in the source takes appends in
the target; how many were is told.

End it in any way and start it again: it goes on where it was. A target that holds
anything but the source's events is refused. 'switchyard verify' proves the copy.

` + refusedHelp,
		Example: `  switchyard copy sqlite:orders.db postgres://db.example.com/orders
  switchyard copy @orders sqlite:copy.db --follow`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(from *handle) error {
				return a.with(cmd.Context(), args[1], func(to *handle) error {
					return a.copyStore(cmd.Context(), from, to, follow, refused.remedies)
				})
			})
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with the events that come, until Ctrl-C")
	refused.add(cmd)
	return cmd
}

func (a *app) copyStore(ctx context.Context, from, to *handle, follow bool, onRefused []transfer.Remedy) error {
	a.tellLosses(to, from.Capabilities().TimePrecision)
	beside, err := apart(ctx, from)
	if err != nil {
		return err
	}
	a.tellApart(from, beside)
	var bar transfer.Estimate
	checked := a.report("found in the target and compared")
	progress := a.report("copied")
	result, err := transfer.Copy(ctx, from.Store, to.Store, &transfer.CopyOptions{
		Follow:      follow,
		OnRefused:   onRefused,
		Checkpoints: to.backend.Records().Checkpoints,
		Checking:    func(p transfer.Progress) { checked.at(p.Read) },
		Progress: func(p transfer.Progress) {
			checked.end()
			progress.total(bar.Total(p))
			progress.at(p.Read)
		},
		CaughtUp: func(r transfer.Result) {
			if follow {
				progress.end()
				fmt.Fprintf(a.err, "copied %s; following, Ctrl-C ends it\n", count(r.Stored, "event"))
			}
		},
	})
	checked.end()
	progress.end()
	if errors.Is(err, context.Canceled) {
		err = nil
		if !follow {
			err = fmt.Errorf("interrupted after %s; run it again to go on", count(result.Read, "event"))
		}
	}
	return errors.Join(err, a.printResult("copied", result, beside, progress))
}

// tellApart says what of a source is not carried, or not as it was.
func (a *app) tellApart(source *handle, beside transfer.Apart) {
	if beside.ArchivedStreams > 0 {
		fmt.Fprintf(a.err, "note: %s archived streams of %s are copied as streams that take appends\n", grouped(beside.ArchivedStreams), source.name)
	}
	if beside.LeftOutEvents > 0 {
		fmt.Fprintf(a.err, "note: %s archived events of %s are left out: their streams were started again\n", grouped(beside.LeftOutEvents), source.name)
	}
}
