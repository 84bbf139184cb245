package sqlite

import (
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A page of some categories costs what its events cost, however many others lie
// between them: the index has them in order.
func TestCategoriesAreFoundByTheirIndexInOrder(t *testing.T) {
	path := filled(t, 1000)
	c, err := connect(t.Context(), mustFindFiles(t, path), reading)
	require.NoError(t, err)
	defer c.Close()
	for _, categories := range [][]string{{"a"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e", "f", "g", "h"}} {
		for _, backward := range []bool{false, true} {
			query, args, err := newSelection(eventstore.Filter{Categories: categories}).build(0, 1000, 100, backward)
			require.NoError(t, err)
			var plan strings.Builder
			require.NoError(t, c.each("EXPLAIN QUERY PLAN "+query, 4, func(row []driver.Value) error {
				detail, _ := row[3].(string)
				plan.WriteString(detail + "\n")
				return nil
			}, args...))
			require.Equal(t, len(categories), strings.Count(plan.String(), "events_by_category (category=? AND position>? AND position<?)"), plan.String())
			require.NotContains(t, plan.String(), "TEMP B-TREE")
		}
	}
}
