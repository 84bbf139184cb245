package postgres_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// newRole makes a role that ends with the test, and returns its name and the
// database's URL for it.
func newRole(t *testing.T, owner *pgxpool.Pool) (role, rawURL string) {
	t.Helper()
	role = "role_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	mustExec(t, owner, "create role "+role+" login password 'secret'")
	t.Cleanup(func() {
		_, err := owner.Exec(context.Background(), "drop owned by "+role+" cascade; drop role "+role)
		require.NoError(t, err)
	})
	u, err := url.Parse(owner.Config().ConnConfig.ConnString())
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")
	return role, u.String()
}

var execModes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

// Whatever a role's defaults are, what is read is what was written, or the store says
// at open which setting it cannot work with.
func TestDefaultsOfARoleChangeNothingOrAreRefusedByName(t *testing.T) {
	owner := openPool(t, server.Database(t))
	role, rawURL := newRole(t, owner)
	mustExec(t, owner, `create schema evil`, `grant usage on schema evil to public`,
		`create table evil.events ()`, `create table evil.store ()`)
	for _, test := range []struct {
		setting, value string
		refused        string // the modes in which it is refused at open
	}{
		{"search_path", "evil", ""},
		{"search_path", "evil, pg_catalog", "all"},
		{"search_path", "''", ""},
		{"bytea_output", "escape", "exec simple_protocol"},
		{"DateStyle", "German, DMY", "exec simple_protocol"},
		{"IntervalStyle", "iso_8601", ""},
		{"TimeZone", "'Pacific/Kiritimati'", ""},
		{"extra_float_digits", "'-15'", ""},
		{"client_encoding", "LATIN1", "simple_protocol"},
		{"standard_conforming_strings", "off", "all"},
		{"backslash_quote", "off", ""},
		{"escape_string_warning", "on", ""},
		{"array_nulls", "off", "all"},
		{"quote_all_identifiers", "on", ""},
		{"row_security", "off", ""},
		{"transform_null_equals", "on", ""},
		{"plan_cache_mode", "force_custom_plan", ""},
		{"enable_indexscan", "off", ""},
		{"lc_messages", "'C'", ""},
		{"lock_timeout", "'1h'", ""},
		{"xmloption", "document", ""},
		{"default_transaction_deferrable", "on", ""},
		{"check_function_bodies", "off", ""},
		{"client_min_messages", "debug1", ""},
		{"jit_above_cost", "0", ""},
	} {
		t.Run(test.setting+" "+test.value, func(t *testing.T) {
			mustExec(t, owner, "alter role "+role+" set "+test.setting+" = "+test.value)
			defer mustExec(t, owner, "alter role "+role+" reset all")
			for _, mode := range execModes {
				schema := "s_" + strings.ReplaceAll(uuid.NewString(), "-", "")
				mustExec(t, owner, "create schema "+schema+" authorization "+role)
				pool, err := pgxpool.New(t.Context(), rawURL+"&default_query_exec_mode="+mode)
				require.NoError(t, err)
				backend, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: schema})
				if test.refused == "all" || slices.Contains(strings.Fields(test.refused), mode) {
					definite(t, err, mode)
					require.ErrorContains(t, err, test.setting)
				} else {
					require.NoError(t, err, mode)
					roundTrip(t, mode, backend)
					require.NoError(t, backend.Close())
				}
				pool.Close()
			}
		})
	}
}

func roundTrip(t *testing.T, mode string, backend *postgres.Backend) {
	t.Helper()
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_000, time.UTC)
	first := event("Größe \\ ' \"", `{"a":"é\\\"","n":1e400}`).WithCorrelationID("\\x41 '\"")
	second := eventstore.Event{Type: "Bytes", Data: []byte{0, 255, '\\', '\'', 'x'}, ContentType: "application/octet-stream"}
	first.ID, second.ID = uuid.New(), uuid.New()
	first.ContentType = eventstore.JSONContentType
	for i := range 2 {
		results, err := backend.Append(t.Context(), eventstore.AppendRequest{Parts: []eventstore.StreamAppend{
			{Stream: "größe-\\1'", Expected: eventstore.NoStream(), Events: []eventstore.Event{first, second}, RecordedAt: new(at)},
		}})
		require.NoError(t, err, mode)
		require.Equal(t, i == 1, results[0].Duplicate, mode)
	}
	_, err = store.Append(t.Context(), "one", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err, mode)
	var got []eventstore.RecordedEvent
	for e, err := range store.ReadStream(t.Context(), "größe-\\1'", eventstore.ReadOptions{}) {
		require.NoError(t, err, mode)
		got = append(got, e)
	}
	require.Len(t, got, 2, mode)
	for i, want := range []eventstore.Event{first, second} {
		require.True(t, got[i].SameContent(want), "%s: %+v", mode, got[i])
		require.Equal(t, want.ID, got[i].ID, mode)
		require.Equal(t, at, got[i].RecordedAt, mode)
	}
	info, err := store.Info(t.Context())
	require.NoError(t, err, mode)
	require.Equal(t, eventstore.NewPosition(3, 0), info.Head.Position, mode)
	checkpoint := eventstore.Checkpoint{Name: "c", Store: info.ID, Place: info.Head}
	require.NoError(t, store.SaveCheckpoint(t.Context(), checkpoint), mode)
	saved, ok, err := store.LoadCheckpoint(t.Context(), "c")
	require.NoError(t, err, mode)
	require.True(t, ok, mode)
	require.Equal(t, checkpoint, saved, mode)
	snapshot := eventstore.Snapshot{Stream: "one", Type: "Order", Version: 1, SchemaVersion: 2, Data: []byte{0, 255, '\\'}}
	require.NoError(t, store.SaveSnapshot(t.Context(), snapshot), mode)
	loaded, ok, err := store.LoadSnapshot(t.Context(), "one", "Order")
	require.NoError(t, err, mode)
	require.True(t, ok, mode)
	require.Equal(t, snapshot, loaded, mode)
}

func TestASchemaThatIsGivenToARoleIsAllTheRightItNeeds(t *testing.T) {
	owner := openPool(t, server.Database(t))
	role, rawURL := newRole(t, owner)
	mustExec(t, owner, "create schema orders authorization "+role)
	store, _ := inSchema(t, openPool(t, rawURL), "orders")
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	_, err = postgres.Open(t.Context(), openPool(t, rawURL), &postgres.Options{Schema: "others"})
	definite(t, err, "a role that may create no schema")
	require.ErrorContains(t, err, `create schema "others"`)
}

func TestARoleThatMayOnlyReadIsToldSoAtOnce(t *testing.T) {
	_, _, owner := openStore(t)
	role, rawURL := newRole(t, owner)
	mustExec(t, owner, "grant usage on schema switchyard to "+role, "grant select on all tables in schema switchyard to "+role,
		"grant execute on function switchyard.append, switchyard.append_one to "+role, "alter role "+role+" set default_transaction_read_only = on")
	store := newStore(t, openBackend(t, openPool(t, rawURL), nil), &eventstore.Options{RetryFor: time.Minute})
	begin := time.Now()
	_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
	definite(t, err, "append")
	require.ErrorContains(t, err, "25006")
	require.Less(t, time.Since(begin), soon, "it was not tried again")
}

func TestASchemaWithOtherTablesIsRefusedInWords(t *testing.T) {
	pool := openPool(t, server.Database(t))
	for name, statements := range map[string][]string{
		"a table store":          {`create table store (id int)`},
		"a table events":         {`create table events (id int)`},
		"a view that is alike":   {`create view store as select gen_random_uuid() as id, 2 as schema_version`},
		"a store without events": {`create table store (id uuid, schema_version int)`},
	} {
		mustExec(t, pool, append(append([]string{`create schema app`, `set local search_path = app`}, statements...), `set local search_path = public`)...)
		_, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: "app"})
		require.ErrorIs(t, err, eventstore.ErrInvalid, name)
		require.ErrorContains(t, err, "choose another schema", name)
		mustExec(t, pool, `drop schema app cascade`)
	}
}

func TestErrorsOfConnectionsShowSchemeHostAndDatabaseOnly(t *testing.T) {
	owner := openPool(t, server.Database(t))
	_, rawURL := newRole(t, owner)
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	secret := url.UserPassword("somebody", "hunter2")
	absent := *u
	absent.Path = "/absent"
	closed := url.URL{Scheme: "postgres", User: secret, Host: "127.0.0.1:1,localhost:1", Path: "/shop"}
	unknown := *u
	unknown.User = secret
	for name, u := range map[string]*url.URL{"no such database": &absent, "nobody listens": &closed, "no such role": &unknown} {
		_, err := postgres.OpenURL(t.Context(), u)
		require.Error(t, err, name)
		for _, text := range []string{"somebody", "hunter2", "secret", u.User.Username(), "\n", "\t", "user="} {
			require.NotContains(t, err.Error(), text, name)
		}
		require.Contains(t, err.Error(), "postgres://", name)
	}
}

// A server that answers a connection with a no is not away, and no waiting helps.
func TestASettingThatTheServerRefusesIsNoOutage(t *testing.T) {
	database := server.Database(t)
	for _, parameter := range []string{"synchronous_commit=maybe", "statement_timeout=soon", "options=-c%20no_such_setting%3D1"} {
		u, err := url.Parse(database)
		require.NoError(t, err)
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += parameter
		_, err = postgres.OpenURL(t.Context(), u)
		require.Error(t, err, parameter)
		require.NotErrorIs(t, err, eventstore.ErrUnavailable, parameter)
	}
}
