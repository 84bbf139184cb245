package marten_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
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

// Marten's options add columns to the table of events, which makes no statement of a reader
// fail. What they hold is seen at once, also by handles that were opened before.
func TestAColumnThatMartenAddsUnderAnOpenStoreIsRead(t *testing.T) {
	for _, mode := range []string{"cache_statement", "cache_describe", "exec"} {
		for name, creation := range map[string]marten.Creation{"text": {NoMetadata: true}, "uuid, conjoined": {UUIDKeys: true, Conjoined: true, NoMetadata: true}} {
			t.Run(mode+", "+name, func(t *testing.T) {
				url := server.Database(t)
				pool := connect(t, url)
				require.NoError(t, marten.Create(t.Context(), pool, "", creation))
				opts := &marten.Options{Append: marten.Quick}
				streams := []string{"order-1", "order-2"}
				if creation.Conjoined {
					opts.Tenant = "acme"
					streams = []string{"order-" + uuid.NewString(), "order-" + uuid.NewString()}
				}
				store := openStore(t, connect(t, url+"&default_query_exec_mode="+mode), opts)
				for range 8 { // until the server keeps its plans
					for _, stream := range streams {
						_, err := store.Append(t.Context(), stream, anyVersion, event("happened", `{}`))
						require.NoError(t, err)
					}
					_ = readAll(t, store, eventstore.ReadAllOptions{})
					_, err := store.Info(t.Context())
					require.NoError(t, err)
					for _, stream := range streams {
						_, err := store.StreamVersion(t.Context(), stream)
						require.NoError(t, err)
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				messages, end := iter.Pull2(store.Subscribe(ctx, eventstore.SubscribeOptions{}))
				defer end()
				followed := func() uint64 {
					message, err, _ := messages()
					require.NoError(t, err)
					for message.Kind != eventstore.MessageEvent {
						message, err, _ = messages()
						require.NoError(t, err)
					}
					number, _ := message.Event.Position.Words()
					return number
				}
				for n := range 16 {
					require.EqualValues(t, n+1, followed())
				}
				_, err := pool.Exec(t.Context(), `alter table mt_events add column is_skipped boolean, add column correlation_id varchar, add column headers jsonb;
					update mt_events set correlation_id = 'c', headers = '{"by": "net"}' where seq_id = 1;
					update mt_events set is_skipped = seq_id in (2, 16)`)
				require.NoError(t, err)
				all := readAll(t, store, eventstore.ReadAllOptions{})
				require.Len(t, all, 14, "two are skipped")
				require.Equal(t, map[string]string{eventstore.MetaCorrelationID: "c", "by": "net"}, all[0].Metadata)
				require.Nil(t, all[1].Metadata)
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{Backward: true, Filter: eventstore.Filter{Types: []string{"happened"}}}), 14)
				version, err := store.StreamVersion(t.Context(), streams[1])
				require.NoError(t, err)
				require.EqualValues(t, 7, version)
				info, err := store.Info(t.Context())
				require.NoError(t, err)
				number, _ := info.Head.Position.Words()
				require.EqualValues(t, 16, number, "a head does not go back")
				_, err = pool.Exec(t.Context(), `with taken as (select nextval('mt_events_sequence') as seq from generate_series(1, 2))
					insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived, is_skipped)
					select seq, gen_random_uuid(), e.stream_id, e.version + seq, '{}', e.type, now(), e.tenant_id, '', false, seq = 17 from taken, mt_events e where e.seq_id = 1`)
				require.NoError(t, err)
				require.EqualValues(t, 18, followed(), "the one before it is skipped")
			})
		}
	}
}
