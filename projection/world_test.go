package projection_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

const soon = 20 * time.Second

var server testservers.SharedPostgres

func TestMain(m *testing.M) {
	if ownertest.Part() != "" {
		os.Exit(play(os.Args[1]))
	}
	os.Exit(server.Main(m))
}

// transaction is that of any target, for tests that are the same for all of them.
type transaction struct {
	exec             func(ctx context.Context, query string, args ...any) error
	execEach         func(ctx context.Context, query string, args [][]any) error // together; nil but for pgx
	commit, rollback func(ctx context.Context) error
}

// target is any of the targets.
type target interface {
	projection.Target[transaction]
	projection.Notifier
	projection.Reacher
	Swap(ctx context.Context, from, to string, swap func(ctx context.Context, tx transaction) error) error
}

// concrete is a target as its package has it.
type concrete[Tx any] interface {
	projection.Target[Tx]
	projection.Notifier
	projection.Reacher
	Swap(ctx context.Context, from, to string, swap func(ctx context.Context, tx Tx) error) error
}

type erased[Tx any] struct {
	concrete[Tx]
	erase func(Tx) transaction
}

func (e erased[Tx]) Update(ctx context.Context, to eventstore.Checkpoint, f func(ctx context.Context, tx transaction, after eventstore.Position) error) error {
	return e.concrete.Update(ctx, to, func(ctx context.Context, tx Tx, after eventstore.Position) error { return f(ctx, e.erase(tx), after) })
}

func (e erased[Tx]) Swap(ctx context.Context, from, to string, swap func(ctx context.Context, tx transaction) error) error {
	return e.concrete.Swap(ctx, from, to, func(ctx context.Context, tx Tx) error { return swap(ctx, e.erase(tx)) })
}

func eraseSQL(t *sql.Tx) transaction {
	return transaction{
		exec: func(ctx context.Context, query string, args ...any) error {
			_, err := t.ExecContext(ctx, query, args...)
			return err
		},
		commit:   func(context.Context) error { return t.Commit() },
		rollback: func(context.Context) error { return t.Rollback() },
	}
}

func erasePgx(t pgx.Tx) transaction {
	return transaction{
		exec: func(ctx context.Context, query string, args ...any) error {
			_, err := t.Exec(ctx, query, args...)
			return err
		},
		execEach: func(ctx context.Context, query string, args [][]any) error {
			var batch pgx.Batch
			for _, args := range args {
				batch.Queue(query, args...)
			}
			return t.SendBatch(ctx, &batch).Close()
		},
		commit:   t.Commit,
		rollback: t.Rollback,
	}
}

// database is a fresh one for read models, of one kind.
type database struct {
	kind   string
	driver string // of database/sql
	url    string
	db     *sql.DB // for the test's own statements

	mostConnections int // of the targets that are opened from now on; 0 is the default
}

const (
	inSQLite = "SQLite"
	inWAL    = "SQLite, WAL"
	inSQL    = "PostgreSQL by database/sql"
	inPgx    = "PostgreSQL by pgx"
)

var kinds = []string{inSQLite, inSQL, inPgx}

func newDatabase(t testing.TB, kind string) *database {
	t.Helper()
	d := &database{kind: kind, driver: "pgx"}
	switch kind {
	case inSQLite, inWAL:
		d.driver, d.url = "sqlite", "file:"+filepath.Join(t.TempDir(), "model.db")+"?_pragma=busy_timeout(5000)"
		if kind == inWAL {
			d.url += "&_pragma=journal_mode(wal)"
		}
	default:
		d.url = server.Database(t)
	}
	d.db = d.openDB(t)
	return d
}

func (d *database) openDB(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// open opens a target as another process would, on connections of its own.
func (d *database) open(t testing.TB) target {
	t.Helper()
	opened, err := d.tryOpen(t)
	require.NoError(t, err)
	return opened
}

func (d *database) tryOpen(t testing.TB) (target, error) {
	switch d.kind {
	case inPgx:
		config, err := pgxpool.ParseConfig(d.url)
		if err != nil {
			return nil, err
		}
		if d.mostConnections > 0 {
			config.MaxConns = int32(d.mostConnections)
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			return nil, err
		}
		t.Cleanup(pool.Close)
		opened, err := pgxdb.Open(t.Context(), pool)
		return erased[pgx.Tx]{opened, erasePgx}, err
	default:
		db, err := sql.Open(d.driver, d.url)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = db.Close() })
		db.SetMaxOpenConns(d.mostConnections)
		dialect := sqldb.SQLite
		if d.driver == "pgx" {
			dialect = sqldb.PostgreSQL
		}
		opened, err := sqldb.Open(t.Context(), db, dialect)
		return erased[*sql.Tx]{opened, eraseSQL}, err
	}
}

func (d *database) exec(t testing.TB, query string) {
	t.Helper()
	_, err := d.db.ExecContext(t.Context(), query)
	require.NoError(t, err)
}

// number asks for one.
func (d *database) number(t testing.TB, query string) (n int) {
	t.Helper()
	require.NoError(t, d.db.QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

// inEach runs a test once for each kind of database.
func inEach(t *testing.T, test func(t *testing.T, d *database)) {
	t.Helper()
	in(t, kinds, test)
}

// inPostgreSQL is inEach for what SQLite has not.
func inPostgreSQL(t *testing.T, test func(t *testing.T, d *database)) {
	t.Helper()
	in(t, []string{inSQL, inPgx}, test)
}

func in(t *testing.T, kinds []string, test func(t *testing.T, d *database)) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, kind))
		})
	}
}
