package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func (a *app) capsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "caps URL...",
		Short: "Show what backends can do and their limits, side by side",
		Args:  cobra.MinimumNArgs(1),
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

// optional are the guarantees that a backend may decline, in their order.
func optional(c eventstore.Capabilities) []struct {
	name  string
	value eventstore.Capability
} {
	return []struct {
		name  string
		value eventstore.Capability
	}{
		{"multiStreamAppend", c.MultiStreamAppend},
		{"globalOrder", c.GlobalOrder},
		{"livePush", c.LivePush},
		{"preservedRecordTime", c.PreservedRecordTime},
	}
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
	for i, capability := range optional(columns[0].caps) {
		row(capability.name, func(c column) string {
			value := optional(c.caps)[i].value
			if value.Supported() {
				return "yes"
			}
			reasons = append(reasons, fmt.Sprintf("%s, %s: %s", c.caps.Backend, capability.name, value.Reason()))
			return fmt.Sprintf("no [%d]", len(reasons))
		})
	}
	row("pollInterval", func(c column) string { return c.caps.PollInterval.String() })
	row("idempotencyWindow", func(c column) string {
		if c.caps.IdempotencyWindow == 0 {
			return "unlimited"
		}
		return fmt.Sprintf("last %d events", c.caps.IdempotencyWindow)
	})
	row("survives", func(c column) string { return c.caps.Durability.String() })
	row("timePrecision", func(c column) string { return c.caps.TimePrecision.String() })
	row("maxAppendEvents", func(c column) string { return grouped(c.caps.Limits.MaxAppendEvents) })
	row("maxAppendBytes", func(c column) string { return grouped(c.caps.Limits.MaxAppendBytes) })
	row("maxEventBytes", func(c column) string { return grouped(c.caps.Limits.MaxEventBytes) })
	row("maxStreamBytes", func(c column) string { return grouped(c.caps.Limits.MaxStreamBytes) })
	row("maxTypeBytes", func(c column) string { return grouped(c.caps.Limits.MaxTypeBytes) })
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
		out := map[string]any{
			"store": c.name, "backend": c.caps.Backend,
			"pollInterval": c.caps.PollInterval.String(), "idempotencyWindow": c.caps.IdempotencyWindow,
			"survives": c.caps.Durability.String(), "timePrecision": c.caps.TimePrecision.String(),
			"maxAppendEvents": c.caps.Limits.MaxAppendEvents, "maxAppendBytes": c.caps.Limits.MaxAppendBytes,
			"maxEventBytes": c.caps.Limits.MaxEventBytes, "maxStreamBytes": c.caps.Limits.MaxStreamBytes, "maxTypeBytes": c.caps.Limits.MaxTypeBytes,
		}
		for _, capability := range optional(c.caps) {
			out[capability.name] = map[string]any{"supported": capability.value.Supported(), "reason": capability.value.Reason()}
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
	}
	return nil
}
