package marten_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// asRole returns a pool of a role that has no rights but those that SQL gives to app.
func asRole(t *testing.T, rawURL, grants string) *pgxpool.Pool {
	t.Helper()
	role := "app_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	pool := connect(t, rawURL)
	_, err := pool.Exec(t.Context(), fmt.Sprintf(`create role %[1]s login password 'x';
		do $$ begin execute format('revoke all on database %%I from public; grant connect on database %%1$I to %[1]s', current_database()); end $$;
		revoke all on schema public from public; revoke execute on all functions in schema public from public;`, role)+strings.ReplaceAll(grants, "to app;", "to "+role+";"))
	require.NoError(t, err)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), rawURL)
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), fmt.Sprintf(`begin read write; drop owned by %[1]s; drop role %[1]s; commit`, role))
		require.NoError(t, err)
	})
	config := pool.Config().Copy()
	config.ConnConfig.User, config.ConnConfig.Password = role, "x"
	theirs, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(theirs.Close)
	return theirs
}

// listedRights are those that the README lists for Marten's tables, and for our own.
func listedRights(t *testing.T) (theirs, ours string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "## Rights")
	require.True(t, found)
	_, sql, found := strings.Cut(section, "```sql\n")
	require.True(t, found)
	sql, _, found = strings.Cut(sql, "```")
	require.True(t, found)
	theirs, ours, found = strings.Cut(sql, "-- once, as an owner")
	require.True(t, found)
	_, ours, found = strings.Cut(ours, "\n")
	require.True(t, found)
	return strings.NewReplacer("schema events ", "schema public ", "events.", "public.").Replace(theirs), ours
}

// What the README lists is enough for everything but what it says needs more, in the
// shapes that need something else.
func TestTheRightsThatAreListedAreEnough(t *testing.T) {
	theirs, ours := listedRights(t)
	const deletes, archives = `grant delete on mt_streams to app;`, `grant execute on function mt_archive_stream to app;`
	for mode, more := range map[string]string{
		"guid-single-rich-meta":                                  "",
		"string-single-quick-uniqueid-typeindex-strict-skipping": `grant insert on mt_streams_identity to app;`,
		"string-conjoined-quick-tenantpart-meta":                 `grant select on mt_tenant_partitions to app; grant select, usage on sequence mt_events_sequence_acme to app;`,
	} {
		t.Run(mode, func(t *testing.T) {
			rawURL := server.Database(t)
			owner := connect(t, rawURL)
			facts := readFacts(t, mode)
			makeTables(t, owner, "public", facts)
			load(t, owner, mode, facts)
			tenant := tenants(mode)[0]
			openStore(t, owner, &marten.Options{Tenant: tenant, Append: marten.Quick}) // init
			stream := func() string {
				if strings.HasPrefix(mode, "guid") {
					return "order-" + uuid.NewString()
				}
				return "order-" + uuid.NewString()[:8]
			}
			reader := asRole(t, rawURL, `grant usage on schema public to app; grant select on all tables in schema public to app; grant select on all sequences in schema public to app;`)
			require.NotEmpty(t, readAll(t, openStore(t, reader, &marten.Options{Tenant: tenant, Append: marten.Quick}), eventstore.ReadAllOptions{}), "a store that is only read")
			app, all := asRole(t, rawURL, theirs+ours+more), asRole(t, rawURL, theirs+ours+more+deletes+archives)
			for _, appends := range []marten.AppendMode{marten.Quick, marten.Rich} {
				opts := &marten.Options{Tenant: tenant, Append: appends}
				if appends == marten.Rich {
					opts.Grace = 50 * time.Millisecond
				}
				store := openStore(t, app, opts)
				started, checks := stream(), func(s string) []eventstore.StreamAppend {
					return []eventstore.StreamAppend{
						{Stream: stream(), Expected: eventstore.NoStream(), Events: []eventstore.Event{event("order_noted", `{}`)}},
						{Stream: s, Expected: eventstore.Any()},
					}
				}
				for _, events := range [][]eventstore.Event{{event("order_noted", `{}`)}, {event("order_noted", `{}`)}, {event("order_noted", `{}`), event("order_noted", `{}`)}} {
					for range 2 { // and again
						_, err := store.Append(t.Context(), started, anyVersion, events...)
						require.NoError(t, err)
					}
				}
				_, err := store.Append(t.Context(), stream(), eventstore.NoStream(), event("order_noted", `{}`))
				require.NoError(t, err)
				_, err = store.AppendStreams(t.Context(), checks(started)...)
				require.NoError(t, err)
				require.NoError(t, store.Run(t.Context(), eventstore.Subscription{Name: string(appends), UntilCaughtUp: true, Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }}))
				_, err = store.AppendStreams(t.Context(), checks(stream())...)
				require.ErrorContains(t, err, "permission denied for table mt_streams (SQLSTATE 42501); grant the role of this connection the rights that the README of backends/marten lists", "an absent stream that is only checked")

				backend, err := marten.Open(t.Context(), all, opts)
				require.NoError(t, err)
				store, err = eventstore.New(backend, nil)
				require.NoError(t, err)
				_, err = store.AppendStreams(t.Context(), checks(stream())...)
				require.NoError(t, err)
				require.NoError(t, backend.ArchiveStream(t.Context(), started))
				require.NoError(t, store.Close())
			}
		})
	}
}

// Without checkpoints everything else works, and what would help is told.
func TestWithoutASchemaOfOurOwnTheRestWorks(t *testing.T) {
	theirs, _ := listedRights(t)
	for name, test := range map[string]struct{ change, says string }{
		"there is none":           {`drop schema switchyard_marten cascade;`, "make it with switchyard init"},
		"no right":                {``, "grant it the rights"},
		"no right but usage":      {`grant usage on schema switchyard_marten to app;`, "grant it the rights"},
		"the store is not in it":  {`delete from switchyard_marten.stores; grant usage on schema switchyard_marten to app; grant select on switchyard_marten.stores to app;`, "run switchyard init"},
		"it is empty":             {`drop schema switchyard_marten cascade; create schema switchyard_marten;`, "make it with switchyard init"},
		"writing is switched off": {`drop schema switchyard_marten cascade; do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$;`, "read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			rawURL := server.Database(t)
			owner := connect(t, rawURL)
			require.NoError(t, marten.Create(t.Context(), owner, "", marten.Creation{}))
			_, err := openStore(t, owner, &marten.Options{Append: marten.Quick}).Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
			require.NoError(t, err)
			role := asRole(t, rawURL, theirs+test.change)
			for _, noMigration := range []bool{false, true} {
				store := openStore(t, role, &marten.Options{Append: marten.Quick, NoMigration: noMigration})
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
				if says := "writing is switched off"; name == says {
					require.ErrorContains(t, err, "read-only")
				} else {
					require.NoError(t, err)
				}
				require.NotEmpty(t, readAll(t, store, eventstore.ReadAllOptions{}))
				_, _, err = store.LoadCheckpoint(t.Context(), "billing")
				require.ErrorIs(t, err, eventstore.ErrUnsupported)
				if !noMigration || test.says != "read-only" {
					require.ErrorContains(t, err, test.says)
				}
			}
		})
	}
}
