package marten_test

import (
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
)

// functionWithTimestamps is the statement that makes the function of a store whose mode
// of appending is QuickWithServerTimestamps.
func functionWithTimestamps() string {
	statements := catalog.New(catalog.Mode{ServerTimestamps: true}).Statements("public")
	i := slices.IndexFunc(statements, func(s string) bool { return strings.Contains(s, "mt_quick_append_events(") })
	return statements[i]
}
