package postgres_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/backends/postgres/postgrestest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Whoever waited for the lock sees what was made before it was free, also where the role's
// transactions keep one view from their beginning.
func TestEightProcessesMayMigrateAtOnce(t *testing.T) {
	for _, level := range []string{"read committed", "repeatable read"} {
		t.Run(level, func(t *testing.T) {
			url := server.Database(t)
			mustExec(t, openPool(t, url), `do $$ begin execute format('alter database %I set default_transaction_isolation = %L', current_database(), '`+level+`'); end $$`)
			migrateAtOnce(t, url)
		})
	}
}

func migrateAtOnce(t *testing.T, url string) {
	t.Helper()
	ids := make([]uuid.UUID, 8)
	errs := make([]error, len(ids))
	var processes sync.WaitGroup
	for i := range ids {
		pool := openPool(t, url)
		processes.Go(func() {
			var backend *postgres.Backend
			if backend, errs[i] = postgres.Open(t.Context(), pool, nil); errs[i] == nil {
				ids[i] = backend.ID()
				errs[i] = backend.Close()
			}
		})
	}
	processes.Wait()
	for i := range ids {
		require.NoError(t, errs[i])
		require.Equal(t, ids[0], ids[i], "one store, one identity")
	}
	require.NotEqual(t, uuid.Nil, ids[0])
}

// Somebody who holds the migration's lock, or one on the catalogues, holds up whoever
// opens the store for a bounded time.
func TestAMigrationThatCannotHaveItsLockEndsInTime(t *testing.T) {
	url := server.Database(t)
	holder, err := openPool(t, url).Begin(t.Context())
	require.NoError(t, err)
	defer holder.Rollback(context.Background()) //nolint:errcheck // it ends with its connection
	_, err = holder.Exec(t.Context(), `select pg_advisory_xact_lock(hashtextextended('switchyard migration of switchyard', 0))`)
	require.NoError(t, err)
	_, err = postgres.Open(t.Context(), openPool(t, url+"&options=-c%20lock_timeout%3D100ms"), nil)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.NoError(t, holder.Rollback(t.Context()))
	openBackend(t, openPool(t, url), nil)
}

func TestANewerSchemaIsRefusedInWords(t *testing.T) {
	_, _, pool := openStore(t)
	_, err := pool.Exec(t.Context(), `update switchyard.store set schema_version = 99`)
	require.NoError(t, err)
	_, err = postgres.Open(t.Context(), pool, nil)
	require.ErrorContains(t, err, "version 99")
	require.ErrorContains(t, err, "update this one")
}

func TestWithoutMigrationAnAbsentSchemaIsRefused(t *testing.T) {
	pool := openPool(t, server.Database(t))
	_, err := postgres.Open(t.Context(), pool, &postgres.Options{NoMigration: true})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, `"switchyard" holds no store`)
	var schemas int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_namespace where nspname = 'switchyard'`).Scan(&schemas))
	require.Zero(t, schemas)
}

func TestOddSchemaNamesAreQuoted(t *testing.T) {
	pool := openPool(t, server.Database(t))
	for _, schema := range []string{"select", "MixedCase", "_", strings.Repeat("x", 63)} {
		store := newStore(t, openBackend(t, pool, &postgres.Options{Schema: schema}), nil)
		_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
		require.NoError(t, err)
		require.NoError(t, postgrestest.Drop(t.Context(), pool, schema))
	}
}

func TestAnIsolatedStoreTouchesNothingAndCleansUp(t *testing.T) {
	store, backend, pool := openStore(t)
	u, err := url.Parse(pool.Config().ConnString())
	require.NoError(t, err)
	isolated, err := postgrestest.Isolate(t.Context(), u)
	require.NoError(t, err)
	fresh, err := isolated.Open(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, backend.ID(), fresh.(*postgres.Backend).ID())
	other, err := eventstore.New(fresh, nil)
	require.NoError(t, err)
	_, err = other.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, isolated.Remove(t.Context()))
	version, err := store.StreamVersion(t.Context(), "order-1")
	require.NoError(t, err)
	require.Zero(t, version)
	var schemas int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_namespace where nspname like 'switchyard%'`).Scan(&schemas))
	require.Equal(t, 1, schemas)
}

// The rights are those of the README, as it is.
func TestAWriterWithTheDocumentedRightsCannotChangeEvents(t *testing.T) {
	_, _, owner := openStore(t)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(readme), "## Rights")
	_, text, _ = strings.Cut(text, "```sql\n")
	grants, _, ok := strings.Cut(text, "```")
	require.True(t, ok)
	role := "writer_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = owner.Exec(t.Context(), "create role "+role+" login password 'secret'")
	require.NoError(t, err)
	conn := owner.Config().ConnConfig
	_, err = owner.Exec(t.Context(), strings.ReplaceAll(grants, "app_writer", role))
	require.NoError(t, err)

	u, err := url.Parse(conn.ConnString())
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")
	pool := openPool(t, u.String())
	backend := openBackend(t, pool, nil)
	store := newStore(t, backend, nil)
	placed := event("Placed", "{}")
	placed.ID = uuid.New()
	for range 2 { // written, then found again
		_, err = store.Append(t.Context(), "order-1", eventstore.NoStream(), placed)
		require.NoError(t, err)
	}
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.Exactly(1), event("Paid", "{}"))
		return err
	}))
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	require.NoError(t, store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "c", Store: info.ID, Place: info.Head}))
	require.NoError(t, store.SaveSnapshot(t.Context(), eventstore.Snapshot{Stream: "order-1", Type: "Order", Version: 1}))

	code := func(pool *pgxpool.Pool, sql string) string {
		_, err := pool.Exec(t.Context(), sql)
		var refusal *pgconn.PgError
		require.ErrorAs(t, err, &refusal, sql)
		return refusal.Code
	}
	for _, sql := range []string{
		`update switchyard.events set event_data = ''`,
		`delete from switchyard.events`,
		`truncate switchyard.events`,
		`insert into switchyard.events select * from switchyard.events`,
		`update switchyard.store set id = gen_random_uuid()`,
		`alter table switchyard.events disable trigger all`,
		`drop schema switchyard cascade`,
	} {
		require.Equal(t, "42501", code(pool, sql), "insufficient_privilege: %s", sql)
	}
	for _, sql := range []string{`update switchyard.events set event_data = ''`, `delete from switchyard.events`, `truncate switchyard.events`} {
		require.Equal(t, "23001", code(owner, sql), "the owner's trigger: %s", sql)
	}
	pool.Close()
	_, err = owner.Exec(t.Context(), "drop owned by "+role+"; drop role "+role)
	require.NoError(t, err)
}

func TestTheViewShowsJSONAndNeverFails(t *testing.T) {
	store, _, pool := openStore(t)
	for _, e := range []eventstore.Event{
		event("Placed", `{"b":1,"a":2,"b":3}`),
		event("Odd", `{"text":"\u0000"}`),
		{Type: "Binary", Data: []byte{0xff, 0}, ContentType: "application/octet-stream"},
	} {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), e.WithCorrelationID("c"))
		require.NoError(t, err)
	}
	rows, err := pool.Query(t.Context(), `select category || ' ' || event_type || ' ' || content_type || ' ' || coalesce(event_data::text, 'null') from switchyard.event_log order by global_position`)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{
		`order Placed application/json {"a": 2, "b": 3}`,
		`order Odd application/json null`,
		`order Binary application/octet-stream null`,
	}, lines)
}

func TestDurabilityIsReadFromTheServer(t *testing.T) {
	database := server.Database(t)
	for _, test := range []struct {
		commit string
		want   eventstore.Durability
	}{{"on", eventstore.SurvivesPowerLoss}, {"local", eventstore.SurvivesPowerLoss}, {"off", eventstore.SurvivesNothing}} {
		backend := openBackend(t, openPool(t, database+"&synchronous_commit="+test.commit), nil)
		require.Equal(t, test.want, backend.Capabilities().Durability, "synchronous_commit=%s", test.commit)
	}
}

func TestAppendsNeedReadCommitted(t *testing.T) {
	store, backend, pool := openStore(t)
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
			_, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.NoStream(), event("Placed", "{}"))
			return err
		})
		require.ErrorContains(t, err, "read committed")
	}
	version, err := store.StreamVersion(t.Context(), "order-1")
	require.NoError(t, err)
	require.Zero(t, version)
}

func TestAnyExecModeOfTheDriverWorks(t *testing.T) {
	database := server.Database(t)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			store := newStore(t, openBackend(t, openPool(t, database+"&default_query_exec_mode="+mode), nil), nil)
			first := event("Placed", `{"a":"é"}`).WithCorrelationID("c")
			first.ID = uuid.New()
			second := eventstore.Event{ID: uuid.New(), Type: "Bytes", Data: []byte{0, 255, '\\'}, ContentType: "application/octet-stream"}
			for range 2 {
				_, err := store.Append(t.Context(), mode+"-1", eventstore.NoStream(), first, second)
				require.NoError(t, err)
			}
			var got []eventstore.RecordedEvent
			for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: eventstore.Filter{StreamPrefixes: []string{mode + "-"}}}) {
				require.NoError(t, err)
				got = append(got, e)
			}
			require.Len(t, got, 2)
			require.Equal(t, first.Data, got[0].Data)
			require.Equal(t, first.Metadata, got[0].Metadata)
			require.Equal(t, second.Data, got[1].Data)
			require.Equal(t, second.ID, got[1].ID)
		})
	}
}
