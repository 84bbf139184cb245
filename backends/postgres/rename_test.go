package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func inSchema(t *testing.T, pool *pgxpool.Pool, schema string) (*eventstore.Store, *postgres.Backend) {
	t.Helper()
	backend := openBackend(t, pool, &postgres.Options{Schema: schema})
	return newStore(t, backend, &eventstore.Options{RetryFor: -1}), backend
}

func mustExec(t *testing.T, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	}))
}

func swap(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	mustExec(t, pool, `alter schema live rename to swapping`, `alter schema staging rename to live`, `alter schema swapping rename to staging`)
}

// content is what the table itself holds, whatever functions and handles say.
func content(t *testing.T, pool *pgxpool.Pool, schema string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `select stream_id || ' ' || version || ' ' || global_position from `+schema+`.events order by global_position`)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return lines
}

// everyWay appends to a new stream of the given name in each way that there is.
func everyWay(t *testing.T, pool *pgxpool.Pool, store *eventstore.Store, backend *postgres.Backend, name string) map[string]error {
	t.Helper()
	errs := make(map[string]error)
	_, errs["one"] = store.Append(t.Context(), name+"-one", eventstore.NoStream(), event("Placed", "{}"))
	_, errs["two"] = store.Append(t.Context(), name+"-two", eventstore.NoStream(), event("Placed", "{}"), event("Placed", "{}"))
	_, errs["several"] = store.AppendStreams(t.Context(),
		eventstore.StreamAppend{Stream: name + "-a", Expected: eventstore.NoStream(), Events: []eventstore.Event{event("Placed", "{}")}},
		eventstore.StreamAppend{Stream: name + "-b", Expected: eventstore.NoStream(), Events: []eventstore.Event{event("Placed", "{}")}})
	errs["tx"] = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := backend.AppendTx(t.Context(), tx, name+"-tx", eventstore.NoStream(), event("Placed", "{}"))
		return err
	})
	return errs
}

func TestAfterASwapEachSchemaIsTheStoreOfItsName(t *testing.T) {
	pool := openPool(t, server.Database(t))
	for _, schema := range []string{"live", "staging"} {
		store, _ := inSchema(t, pool, schema)
		_, err := store.Append(t.Context(), "was-"+schema, eventstore.NoStream(), event("Placed", "{}"))
		require.NoError(t, err)
	}
	swap(t, pool)
	store, backend := inSchema(t, pool, "live")
	for way, err := range everyWay(t, pool, store, backend, "order") {
		require.NoError(t, err, way)
	}
	require.Equal(t, []string{"was-live 1 1"}, content(t, pool, "staging"), "nothing went to the other store")
	require.Len(t, content(t, pool, "live"), 1+1+2+2+1)
	_, err := store.Append(t.Context(), "order-one", eventstore.NoStream(), event("Placed", "{}"))
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	version, err := store.StreamVersion(t.Context(), "order-one")
	require.NoError(t, err)
	require.Equal(t, conflict.Actual, version)
}

// definite is an error of a store that was replaced: nothing was written, and no
// retry helps.
func definite(t *testing.T, err error, of string) {
	t.Helper()
	require.Error(t, err, of)
	for _, sentinel := range []error{eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrConflict, eventstore.ErrInvalid} {
		require.NotErrorIs(t, err, sentinel, of)
	}
}

func TestAHandleUnderWhichSchemasAreSwappedRefusesEveryCall(t *testing.T) {
	pool := openPool(t, server.Database(t))
	stagingStore, _ := inSchema(t, pool, "staging")
	_, err := stagingStore.Append(t.Context(), "was-staging", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	store, backend := inSchema(t, pool, "live")
	repeated := event("Placed", "{}")
	repeated.ID = uuid.New()
	_, err = store.Append(t.Context(), "was-live", eventstore.NoStream(), repeated)
	require.NoError(t, err)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	checkpoint := eventstore.Checkpoint{Name: "c", Store: info.ID, Place: info.Head}
	snapshot := eventstore.Snapshot{Stream: "was-live", Type: "Order", Version: 1}
	require.NoError(t, store.SaveCheckpoint(t.Context(), checkpoint))
	require.NoError(t, store.SaveSnapshot(t.Context(), snapshot))
	for way, err := range everyWay(t, pool, store, backend, "before") { // every statement is prepared
		require.NoError(t, err, way)
	}
	staging, live := content(t, pool, "staging"), content(t, pool, "live")
	swap(t, pool)

	for way, err := range everyWay(t, pool, store, backend, "order") {
		definite(t, err, way)
		require.ErrorContains(t, err, "open it again", way)
	}
	for of, call := range map[string]func(ctx context.Context) error{
		"repetition": func(ctx context.Context) error {
			_, err := store.Append(ctx, "was-live", eventstore.NoStream(), repeated)
			return err
		},
		"conflict": func(ctx context.Context) error {
			_, err := store.Append(ctx, "was-live", eventstore.Exactly(7), event("Placed", "{}"))
			return err
		},
		"read of a stream": func(ctx context.Context) error {
			for _, err := range store.ReadStream(ctx, "was-staging", eventstore.ReadOptions{}) {
				return err
			}
			return nil
		},
		"read of a stream that the other store does not have": func(ctx context.Context) (err error) {
			require.Eventually(t, func() bool {
				_, err = store.StreamVersion(ctx, "was-live")
				return err != nil
			}, soon, now)
			return err
		},
		"read of all": func(ctx context.Context) error {
			for _, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
				return err
			}
			return nil
		},
		"read of all, backward": func(ctx context.Context) error {
			for _, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Backward: true}) {
				return err
			}
			return nil
		},
		"filtered read": func(ctx context.Context) error {
			for _, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: eventstore.Filter{Categories: []string{"was"}}}) {
				return err
			}
			return nil
		},
		"info":              func(ctx context.Context) error { _, err := store.Info(ctx); return err },
		"saved checkpoint":  func(ctx context.Context) error { return store.SaveCheckpoint(ctx, checkpoint) },
		"loaded checkpoint": func(ctx context.Context) error { _, _, err := store.LoadCheckpoint(ctx, "c"); return err },
		"deleted checkpoint": func(ctx context.Context) error {
			return store.DeleteCheckpoint(ctx, "c")
		},
		"saved snapshot": func(ctx context.Context) error { return store.SaveSnapshot(ctx, snapshot) },
		"loaded snapshot": func(ctx context.Context) error {
			_, _, err := store.LoadSnapshot(ctx, "was-live", "Order")
			return err
		},
		"deleted snapshot": func(ctx context.Context) error { return store.DeleteSnapshot(ctx, "was-live", "Order") },
	} {
		definite(t, call(t.Context()), of)
	}
	require.Equal(t, live, content(t, pool, "staging"))
	require.Equal(t, staging, content(t, pool, "live"))
	for schema, want := range map[string]int{"live": 0, "staging": 1} {
		for _, table := range []string{"checkpoints", "snapshots"} {
			var rows int
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from `+schema+`.`+table).Scan(&rows))
			require.Equal(t, want, rows, "%s of %s", table, schema)
		}
	}
	swap(t, pool)
	_, err = store.Append(t.Context(), "back", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err, "the store is back under its name")
}

// The swap comes while an append waits at the lock: its function and its plans are
// those of before.
func TestASwapWhileAnAppendWaitsWritesToNeitherOrTheRightStore(t *testing.T) {
	pool := openPool(t, server.Database(t))
	inSchema(t, pool, "staging")
	store, backend := inSchema(t, pool, "live")
	for way, err := range everyWay(t, pool, store, backend, "before") {
		require.NoError(t, err, way)
	}
	staging, live := content(t, pool, "staging"), content(t, pool, "live")
	holder, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = backend.AppendTx(t.Context(), holder, "held", eventstore.Any(), event("Placed", "{}"))
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := store.Append(context.WithoutCancel(t.Context()), "order-1", eventstore.NoStream(), event("Placed", "{}"))
		waiting <- err
	}()
	awaitWaiter(t, pool)
	swap(t, pool)
	require.NoError(t, holder.Rollback(t.Context()))
	err = <-waiting
	require.Equal(t, staging, content(t, pool, "live"), "the other store is as it was")
	if err == nil {
		live = append(live, fmt.Sprintf("order-1 1 %d", len(live)+1))
	} else {
		definite(t, err, "append")
	}
	require.Equal(t, live, content(t, pool, "staging"))
}

// awaitWaiter waits until a session waits for the lock that orders appends.
func awaitWaiter(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := pool.QueryRow(t.Context(), `select count(*) from pg_locks where locktype = 'advisory' and not granted
			and database = (select oid from pg_database where datname = current_database())`).Scan(&n)
		return err == nil && n > 0
	}, soon, now, "nobody waits at the lock")
}

func TestARenamedStoreLivesOnAndItsOldNameIsAnother(t *testing.T) {
	pool := openPool(t, server.Database(t))
	old, oldBackend := inSchema(t, pool, "live")
	_, err := old.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	mustExec(t, pool, `alter schema live rename to archive`)
	for way, err := range everyWay(t, pool, old, oldBackend, "gone") {
		definite(t, err, way)
	}
	archive, backend := inSchema(t, pool, "archive")
	require.Equal(t, oldBackend.ID(), backend.ID())
	for way, err := range everyWay(t, pool, archive, backend, "archived") {
		require.NoError(t, err, way)
	}
	stored := content(t, pool, "archive")
	require.Len(t, stored, 1+1+2+2+1)

	anew, anewBackend := inSchema(t, pool, "live")
	require.NotEqual(t, oldBackend.ID(), anewBackend.ID())
	for way, err := range everyWay(t, pool, anew, anewBackend, "new") {
		require.NoError(t, err, way)
	}
	for way, err := range everyWay(t, pool, old, oldBackend, "gone") {
		definite(t, err, way)
	}
	require.Len(t, content(t, pool, "live"), 1+2+2+1)
	require.Equal(t, stored, content(t, pool, "archive"))
}

// cloneSchema copies a schema as tools do: its tables with their rows, and its
// functions as the server shows their text, in which only the function's own name
// is changed.
func cloneSchema(t *testing.T, pool *pgxpool.Pool, from, to string) {
	t.Helper()
	mustExec(t, pool, `create schema `+to)
	for _, table := range []string{"store", "events", "checkpoints", "snapshots"} {
		mustExec(t, pool,
			fmt.Sprintf(`create table %s.%s (like %s.%[2]s including all)`, to, table, from),
			fmt.Sprintf(`insert into %s.%s select * from %s.%[2]s`, to, table, from))
	}
	rows, err := pool.Query(t.Context(), `select pg_get_functiondef(oid) from pg_proc where pronamespace = $1::text::regnamespace`, from)
	require.NoError(t, err)
	functions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotEmpty(t, functions)
	for _, function := range functions {
		mustExec(t, pool, strings.Replace(function, "FUNCTION "+from+".", "FUNCTION "+to+".", 1))
	}
}

func TestACopyOfASchemaWhoseFunctionsAreTheOriginalsIsRefused(t *testing.T) {
	pool := openPool(t, server.Database(t))
	store, _ := inSchema(t, pool, "live")
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	cloneSchema(t, pool, "live", "copied")
	_, err = postgres.Open(t.Context(), pool, &postgres.Options{Schema: "copied"})
	definite(t, err, "open")
	require.ErrorContains(t, err, "copied from another")

	// A handle that was open before its functions were put there writes nothing either.
	opened, backend := inSchema(t, pool, "other")
	mustExec(t, pool, `drop function other.append, other.append_one`)
	cloneFunctions(t, pool, "live", "other")
	for way, err := range everyWay(t, pool, opened, backend, "crossed") {
		definite(t, err, way)
		var refusal *pgconn.PgError
		require.ErrorAs(t, err, &refusal, way)
		require.Equal(t, "SY001", refusal.Code, way)
	}
	require.Equal(t, []string{"order-1 1 1"}, content(t, pool, "live"))
	require.Empty(t, content(t, pool, "other"))
}

func TestACopyOfASchemaWhoseTextWasRenamedIsAStoreOfItsOwn(t *testing.T) {
	pool := openPool(t, server.Database(t))
	store, _ := inSchema(t, pool, "live")
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	cloneSchema(t, pool, "live", "copied")
	mustExec(t, pool, `drop function copied.append, copied.append_one`)
	rows, err := pool.Query(t.Context(), `select pg_get_functiondef(oid) from pg_proc where pronamespace = 'live'::regnamespace and proname in ('append', 'append_one')`)
	require.NoError(t, err)
	functions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, function := range functions {
		mustExec(t, pool, strings.ReplaceAll(function, "live.", "copied."))
	}
	copied, backend := inSchema(t, pool, "copied")
	for way, err := range everyWay(t, pool, copied, backend, "order") {
		require.NoError(t, err, way)
	}
	require.Len(t, content(t, pool, "copied"), 1+1+2+2+1)
	require.Len(t, content(t, pool, "live"), 1)
}

func cloneFunctions(t *testing.T, pool *pgxpool.Pool, from, to string) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `select pg_get_functiondef(oid) from pg_proc where pronamespace = $1::text::regnamespace and proname in ('append', 'append_one')`, from)
	require.NoError(t, err)
	functions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, function := range functions {
		mustExec(t, pool, strings.Replace(function, "FUNCTION "+from+".", "FUNCTION "+to+".", 1))
	}
}

// What an unreleased version left behind is neither read nor changed.
func TestAStoreOfAnEarlierLayoutIsRefusedInWords(t *testing.T) {
	for _, missing := range []string{`alter table live.store drop column seal_epoch`, `drop function live.append_one`} {
		t.Run(missing, func(t *testing.T) {
			pool := openPool(t, server.Database(t))
			_, _ = inSchema(t, pool, "live")
			mustExec(t, pool, missing)
			for _, opts := range []postgres.Options{{Schema: "live"}, {Schema: "live", NoMigration: true}} {
				_, err := postgres.Open(t.Context(), pool, &opts)
				definite(t, err, "open")
				require.ErrorContains(t, err, "before the first release")
			}
			require.Empty(t, content(t, pool, "live"))
		})
	}
}
