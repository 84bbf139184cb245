package marten_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// functionWithTimestamps is the statement that makes the function of a store whose mode
// of appending is QuickWithServerTimestamps.
func functionWithTimestamps() string {
	statements := catalog.New(catalog.Mode{ServerTimestamps: true}).Statements("public")
	i := slices.IndexFunc(statements, func(s string) bool { return strings.Contains(s, "mt_quick_append_events(") })
	return statements[i]
}

// What would make a store read-only when it is opened does so too where a statement meets
// it under an open one: from that append on, with the reason, and no number is taken for
// any after it.
func TestAMigrationThatForbidsWritingIsNoticed(t *testing.T) {
	const neededColumn = `alter table mt_events add column new_in_10 text not null default ''; alter table mt_events alter new_in_10 drop default`
	for name, test := range map[string]struct {
		mode           marten.AppendMode
		change, reason string
	}{
		"the function is dropped":        {marten.Quick, `drop function mt_quick_append_events`, "missing"},
		"it needs an argument":           {marten.Quick, withArgument(""), "newthings"},
		"a column is needed":             {marten.Quick, neededColumn, "new_in_10"},
		"a column is needed, Rich":       {marten.Rich, neededColumn, "new_in_10"},
		"a column of streams, not known": {marten.Rich, strings.ReplaceAll(neededColumn, "mt_events", "mt_streams"), "new_in_10"},
	} {
		for way, appends := range map[string]func(store *eventstore.Store) error{
			"one": func(store *eventstore.Store) error {
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
				return err
			},
			"several": func(store *eventstore.Store) error {
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`), event("happened", `{}`))
				return err
			},
			"a new stream": func(store *eventstore.Store) error {
				_, err := store.Append(t.Context(), "order-2", eventstore.NoStream(), event("happened", `{}`))
				return err
			},
		} {
			if strings.Contains(name, "of streams") && way != "a new stream" || strings.Contains(name, "function") && way == "several" || strings.Contains(name, "argument") && way == "several" {
				continue // no statement of it meets what was changed
			}
			t.Run(name+", "+way, func(t *testing.T) {
				pool := newTables(t, marten.Creation{})
				opts := &marten.Options{Append: test.mode}
				if test.mode == marten.Rich {
					opts.Grace = 50 * time.Millisecond
				}
				store := openStore(t, pool, opts)
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
				require.NoError(t, err)
				_, err = pool.Exec(t.Context(), test.change)
				require.NoError(t, err)
				for range 3 {
					err := appends(store)
					require.ErrorIs(t, err, eventstore.ErrUnsupported)
					require.ErrorContains(t, err, test.reason)
				}
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
				var last int
				require.NoError(t, pool.QueryRow(t.Context(), `select last_value from mt_events_sequence`).Scan(&last))
				require.LessOrEqual(t, last, 1+2*2, "the first append tried twice, and no other")
			})
		}
	}
}
