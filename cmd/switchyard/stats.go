package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats URL",
		Short: "Count a store's events, streams and categories",
		Long: `Read a store once and print what it holds: events, streams, positions and versions,
in all and for each category, and whether it is sealed; and how far its
subscriptions are behind, as checkpoint list does.`,
		Example: `  switchyard stats @orders`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				progress := a.report("read")
				var stats storeStats
				var err error
				stats.Stats, err = transfer.Measure(cmd.Context(), store.Store, func(p transfer.Progress) { progress.at(p.Read) })
				progress.end()
				if err == nil {
					stats.Apart, err = apart(cmd.Context(), store)
				}
				if err == nil && store.Capabilities().Checkpoints.Supported() {
					stats.Checkpoints, err = checkpoints(cmd.Context(), store, false)
				}
				switch {
				case err != nil:
					return err
				case a.json():
					return a.printJSON(stats)
				}
				return a.printStats(store.name, stats)
			})
		},
	}
}

// storeStats are a store's numbers with its subscriptions' lags.
type storeStats struct {
	transfer.Stats
	Checkpoints []checkpointReport `json:"checkpoints,omitempty"`
}

// apart asks what a store keeps beside the events that it delivers.
func apart(ctx context.Context, store *handle) (transfer.Apart, error) {
	backend, ok := store.backend.(*marten.Backend)
	if !ok {
		return transfer.Apart{}, nil
	}
	aside, err := backend.Aside(ctx)
	return transfer.Apart(aside), err
}

func (a *app) printStats(name string, s storeStats) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "store\t%s\t%s\n", s.Store, name)
	fmt.Fprintf(w, "events\t%s\t%s bytes\n", grouped(s.Events), grouped(int(s.Bytes)))
	fmt.Fprintf(w, "streams\t%s\n", grouped(s.Streams))
	if s.Events > 0 {
		fmt.Fprintf(w, "positions\t%s to %s\n", s.First, s.Head)
		fmt.Fprintf(w, "recorded\t%s to %s\n", s.FirstTime.Format(time.RFC3339), s.LastTime.Format(time.RFC3339))
		fmt.Fprintf(w, "longest stream\t%s\tversion %d\n", safe(s.Longest), s.Version)
	}
	if s.ArchivedStreams > 0 {
		fmt.Fprintf(w, "archived\t%s streams\n", grouped(s.ArchivedStreams))
	}
	if s.LeftOutEvents > 0 {
		fmt.Fprintf(w, "left out\t%s events\tarchived, of streams that were started again\n", grouped(s.LeftOutEvents))
	}
	if s.Sealed {
		fmt.Fprintf(w, "sealed\t%s\n", safe(s.SealReason))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if s.Events > 0 {
		if err := a.printCategories(s.Categories); err != nil {
			return err
		}
	}
	if len(s.Checkpoints) == 0 {
		return nil
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.printCheckpoints(s.Checkpoints)
}

func (a *app) printCategories(categories []transfer.CategoryStats) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nevents\tstreams\thighest version\t  category\n")
	for _, c := range categories {
		fmt.Fprintf(w, "%s\t%s\t%d\t  %s\n", grouped(c.Events), grouped(c.Streams), c.Version, safe(c.Category))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
