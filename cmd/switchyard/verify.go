package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// errDiffer: verify has found a difference and printed it.
var errDiffer = errors.New("the stores differ")

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify A B",
		Short: "Prove that two stores hold the same events",
		Long: `Compare two stores stream by stream: the number of events, and a SHA-256 digest over
each event's version, ID, type, content type, data and metadata; and then the order of
all events. Positions and record times are not compared, for not every store keeps
them. Where one of the stores keeps JSON and not its bytes (caps: exactData), data is
compared as JSON.

The first difference is named, and the exit code is 1.`,
		Example: `  switchyard verify sqlite:orders.db postgres://db.example.com/orders`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(one *handle) error {
				return a.reading(cmd.Context(), args[1], func(two *handle) error {
					return a.verify(cmd.Context(), one, two)
				})
			})
		},
	}
}

func (a *app) verify(ctx context.Context, one, two *handle) error {
	progress := a.report("compared")
	report, err := transfer.Verify(ctx, one.Store, two.Store, func(p transfer.Progress) { progress.at(p.Read) })
	progress.end()
	if err != nil {
		return err
	}
	if err := a.printReport(one.name, two.name, report); err != nil {
		return err
	}
	if !report.Equal() {
		return errDiffer
	}
	return nil
}

func (a *app) printReport(one, two string, report transfer.Report) error {
	if a.json() {
		out := map[string]any{"equal": report.Equal(), "differingStreams": report.Differing}
		if report.AsJSON {
			out["comparedAs"] = "JSON"
		}
		for name, summary := range map[string]transfer.Summary{"a": report.A, "b": report.B} {
			out[name] = map[string]any{"streams": summary.Streams, "events": summary.Events, "digest": summary.Digest.String()}
		}
		if first := report.First; first != nil {
			out["first"] = map[string]any{"stream": first.Stream, "version": first.Version, "field": first.Field, "a": first.A, "b": first.B}
		}
		return a.printJSON(out)
	}
	if err := a.printSummary(one, report.A); err != nil {
		return err
	}
	if err := a.printSummary(two, report.B); err != nil {
		return err
	}
	switch {
	case report.Equal() && report.AsJSON:
		return a.printf("equal as JSON\n")
	case report.Equal():
		return a.printf("equal\n")
	}
	first := report.First
	if report.Differing == 0 {
		return a.printf("the streams are equal, and the order of their events is another one\n  A: %s\n  B: %s\n", safeText(first.A), safeText(first.B))
	}
	if err := a.printf("they differ in %s; the first difference is the %s at version %d of stream %s\n",
		count(report.Differing, "stream"), first.Field, first.Version, safe(first.Stream)); err != nil {
		return err
	}
	return a.printf("  A: %s\n  B: %s\n", safeText(first.A), safeText(first.B))
}

func (a *app) printSummary(name string, s transfer.Summary) error {
	return a.printf("%s in %s, SHA-256 %s  %s\n", count(s.Events, "event"), count(s.Streams, "stream"), s.Digest, name)
}
