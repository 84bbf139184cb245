package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func (a *app) capsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "caps URL...",
		Short: "Show what backends can do and their limits, side by side",
		Long: `Show what the backend of each store declares, side by side: what it can do, with the
reason where it cannot, what an acknowledged append survives, and its limits. A store
that is not there yet is not made.`,
		Example: `  switchyard caps sqlite:orders.db postgres://db.example.com/orders`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var columns []column
			for _, arg := range args {
				err := a.reading(cmd.Context(), arg, func(store *handle) error {
					columns = append(columns, column{store.name, store.Capabilities()})
					return nil
				})
				if err != nil {
					return err
				}
			}
			if a.json() {
				return a.printCapsJSON(columns)
			}
			return a.printCaps(columns)
		},
	}
}

// column is one store in the table.
type column struct {
	name string
	caps eventstore.Capabilities
}

// guarantee is one that a backend may decline.
type guarantee struct {
	name  string
	value eventstore.Capability
}

func guarantees(c eventstore.Capabilities) []guarantee {
	return []guarantee{
		{"multiStreamAppend", c.MultiStreamAppend},
		{"contiguousAppends", c.ContiguousAppends},
		{"globalOrder", c.GlobalOrder},
		{"wholeStreams", c.WholeStreams},
		{"livePush", c.LivePush},
		{"preservedRecordTime", c.PreservedRecordTime},
		{"exactData", c.ExactData},
		{"binaryData", c.BinaryData},
		{"metadata", c.Metadata},
		{"streamScopedIDs", c.StreamScopedIDs},
		{"checkpoints", c.Checkpoints},
		{"snapshots", c.Snapshots},
		{"seal", c.Seal},
	}
}

// fact is what a backend declares beside its guarantees: as text for people, and
// as it stands in JSON.
type fact struct {
	name string
	text string
	json any
}

func facts(c eventstore.Capabilities) []fact {
	l := c.Limits
	return []fact{
		{"pollInterval", c.PollInterval.String(), c.PollInterval.String()},
		{"idempotencyWindow", unless(c.IdempotencyWindow == 0, "unlimited", fmt.Sprintf("last %d events", c.IdempotencyWindow)), c.IdempotencyWindow},
		duration("idempotencyTime", c.IdempotencyTime, "unlimited"),
		duration("writerGrace", c.WriterGrace, "none needed"),
		{"survives", c.Durability.String(), c.Durability.String()},
		{"timePrecision", c.TimePrecision.String(), c.TimePrecision.String()},
		moment("earliest", c.Earliest),
		moment("latest", c.Latest),
		number("maxAppendEvents", l.MaxAppendEvents),
		number("maxAppendBytes", l.MaxAppendBytes),
		number("maxAppendParts", l.MaxAppendParts),
		number("maxEventBytes", l.MaxEventBytes),
		number("maxStreamBytes", l.MaxStreamBytes),
		number("maxTypeBytes", l.MaxTypeBytes),
		{"streamPattern", unless(l.StreamPattern == "", "any", safe(l.StreamPattern)), l.StreamPattern},
		{"typePattern", unless(l.TypePattern == "", "any", safe(l.TypePattern)), l.TypePattern},
	}
}

func unless(plain bool, short, text string) string {
	if plain {
		return short
	}
	return text
}

func number(name string, n int) fact { return fact{name, grouped(n), n} }

func duration(name string, d time.Duration, none string) fact {
	return fact{name, unless(d == 0, none, d.String()), d.String()}
}

func moment(name string, at *time.Time) fact {
	if at == nil {
		return fact{name, "unlimited", nil}
	}
	text := at.Format(time.RFC3339Nano) // also of years that encoding/json refuses
	return fact{name, text, text}
}

func (a *app) printCaps(columns []column) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', 0)
	var reasons []string
	row := func(name string, cell func(c column) string) {
		cells := []string{name}
		for _, c := range columns {
			cells = append(cells, cell(c))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row("", func(c column) string { return c.caps.Backend })
	for i, capability := range guarantees(columns[0].caps) {
		row(capability.name, func(c column) string {
			value := guarantees(c.caps)[i].value
			if value.Supported() {
				return "yes"
			}
			reasons = append(reasons, fmt.Sprintf("%s, %s: %s", c.caps.Backend, capability.name, value.Reason()))
			return fmt.Sprintf("no [%d]", len(reasons))
		})
	}
	for i, declared := range facts(columns[0].caps) {
		row(declared.name, func(c column) string { return facts(c.caps)[i].text })
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	var err error
	for i, reason := range reasons {
		err = errors.Join(err, a.printf("[%d] %s\n", i+1, safeText(reason)))
	}
	return err
}

func (a *app) printCapsJSON(columns []column) error {
	for _, c := range columns {
		out := map[string]any{"store": c.name, "backend": c.caps.Backend}
		for _, capability := range guarantees(c.caps) {
			out[capability.name] = map[string]any{"supported": capability.value.Supported(), "reason": capability.value.Reason()}
		}
		for _, declared := range facts(c.caps) {
			out[declared.name] = declared.json
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
	}
	return nil
}
