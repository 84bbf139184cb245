package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/dynamodb"
)

func (a *app) checkCommand() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "check URL",
		Short: "Check a DynamoDB table that was restored from a backup",
		Long: `Read a whole DynamoDB table and hold its log against the items of its streams, both
ways. A backup, also a point-in-time restore, may hold a part of the last
transactions, so a restored table is refused until it was checked. Nothing is
changed but the note that it was, unless it is to be repaired:

  --repair   make items of streams again whose events the log has, and remove from
             the end what cannot be made whole. Nobody may write meanwhile.

The exit code is 1 where something is torn and was not repaired. Other backends need
no check: verify compares two stores.`,
		Example: `  switchyard check dynamodb://eu-central-1/orders-restored`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rawURL, name, err := a.url(args[0])
			if err != nil {
				return err
			}
			return a.check(cmd.Context(), rawURL, name, repair)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "make the table whole")
	return cmd
}

func (a *app) check(ctx context.Context, rawURL, name string, repair bool) error {
	var report *dynamodb.CheckReport
	err := all.Set().Resolve(rawURL, func(scheme backends.Scheme, u *url.URL) error {
		if scheme.Names[0] != "dynamodb" {
			return usagef("check is for DynamoDB tables that were restored; %s needs none", scheme.Names[0])
		}
		api, table, opts, err := dynamodb.Client(ctx, u)
		if err == nil {
			report, err = dynamodb.Check(ctx, api, table, opts, repair)
		}
		return err
	})
	if err != nil {
		return err
	}
	torn := len(report.Problems) > 0 && !report.Repaired
	if a.json() {
		if err := a.printJSON(map[string]any{
			"logItems": report.LogItems, "streamItems": report.Chunks, "events": report.Events, "problems": append([]string{}, report.Problems...),
			"repaired": report.Repaired, "completed": report.Completed, "cutFrom": report.CutFrom, "cutEvents": report.CutEvents,
		}); err != nil {
			return err
		}
	} else if err := a.printCheck(report, name); err != nil {
		return err
	}
	if torn {
		return silent{fmt.Errorf("%s is torn", name)}
	}
	return nil
}

func (a *app) printCheck(report *dynamodb.CheckReport, name string) error {
	for _, problem := range report.Problems {
		if err := a.printf("%s\n", problem); err != nil {
			return err
		}
	}
	held := fmt.Sprintf("%s in %s", count(int(report.Events), "event"), count(int(report.LogItems), "log item"))
	switch {
	case report.Repaired:
		return a.printf("%s is whole again, with %s: %s made again, %s removed\n", name, held, count(report.Completed, "item"), count(int(report.CutEvents), "event"))
	case len(report.Problems) > 0:
		return a.printf("%s is torn; --repair makes it whole\n", name)
	}
	return a.printf("%s is whole: %s\n", name, held)
}
