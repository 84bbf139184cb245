package sqldb

import (
	"context"
	"database/sql"
	"reflect"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection/internal/target"
)

// check refuses what no read model can be kept in.
func check(ctx context.Context, db *sql.DB, dialect Dialect) (target.Dialect, error) {
	if db == nil {
		return target.Dialect{}, &eventstore.InvalidError{Field: "db", Reason: "it is nil; give an open database"}
	}
	var d target.Dialect
	var version string
	switch dialect {
	case SQLite:
		d, version = target.SQLite(), `SELECT sqlite_version()`
	case PostgreSQL:
		d, version = target.PostgreSQL(), `SELECT current_setting('server_version_num')`
		if db.Stats().MaxOpenConnections == 1 {
			return d, &eventstore.InvalidError{Field: "db", Reason: "it is limited to 1 connection, and a read model needs one to work and one to renew its lease; raise SetMaxOpenConns"}
		}
	default:
		return d, &eventstore.InvalidError{Field: "dialect", Reason: "it is none of this package's; give SQLite or PostgreSQL"}
	}
	if err := db.PingContext(ctx); err != nil {
		return d, failed(ctx, dialect, err)
	}
	var found string
	if err := db.QueryRowContext(ctx, version).Scan(&found); err != nil {
		if ctx.Err() == nil {
			err = &eventstore.InvalidError{Field: "dialect", Reason: "the database does not answer as " + dialect.String() + " does; give its own: " + err.Error()}
		}
		return d, err
	}
	return d, nil
}

// oneDatabase refuses a database in memory of which each connection of the pool would
// have one of its own.
func oneDatabase(ctx context.Context, db *sql.DB) error {
	if db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	var file string
	if err := db.QueryRowContext(ctx, `SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&file); err != nil || file != "" {
		return nil // where it cannot be told it is taken for a file
	}
	for range 2 {
		conn, err := db.Conn(ctx)
		if err != nil {
			return failed(ctx, SQLite, err)
		}
		defer conn.Close() // after both are open: they are two
		if _, err := conn.ExecContext(ctx, `SELECT 1 FROM switchyard_checkpoints WHERE 1 = 0`); err != nil && strings.Contains(err.Error(), "no such table") {
			return &eventstore.InvalidError{Field: "db", Reason: "each of its connections has a database in memory of its own; use SetMaxOpenConns(1), or file:NAME?mode=memory&cache=shared"}
		}
	}
	return nil
}

// statementer is a database or a transaction.
type statementer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// querier is a [target.Querier].
type querier struct{ statementer }

func (q querier) Exec(ctx context.Context, query string, args ...any) error {
	_, err := q.ExecContext(ctx, query, args...)
	return err
}

func (q querier) Query(ctx context.Context, query string, args []any, each func(scan func(into ...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// database is a [target.Database].
type database struct {
	querier
	db      *sql.DB
	dialect Dialect
}

func newDatabase(db *sql.DB, dialect Dialect) *database {
	return &database{querier: querier{db}, db: db, dialect: dialect}
}

func (d *database) Begin(ctx context.Context) (target.Transaction[*sql.Tx], error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	opts := &sql.TxOptions{}
	if d.dialect == PostgreSQL {
		opts.Isolation = sql.LevelReadCommitted // whatever the role's default is
	}
	// The transaction outlives ctx by its commit, which would be of unknown outcome.
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	tx, err := conn.BeginTx(within, opts)
	stop()
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, err
	}
	begun := &transaction{querier: querier{tx}, dialect: d.dialect, conn: conn, tx: tx, cancel: cancel}
	if d.dialect == SQLite {
		begun.guard = refuseCommits(conn)
	}
	return begun, nil
}

// transaction is a [target.Transaction]. It holds its connection to the end, also where
// the application's function ends the transaction against the rules: one that went back
// to the pool would be another's by then.
type transaction struct {
	querier
	dialect Dialect
	conn    *sql.Conn
	tx      *sql.Tx
	cancel  context.CancelFunc
	guard   *guard // in SQLite
}

func (t *transaction) Tx() *sql.Tx { return t.tx }

// Lost asks through the transaction: a ping of the connection that finds it gone waits,
// in database/sql, for the end of the transaction that asked.
func (t *transaction) Lost(ctx context.Context) bool {
	if t.dialect != PostgreSQL {
		return false
	}
	if open, known := t.open(); known {
		return !open
	}
	ctx, cancel := context.WithTimeout(ctx, target.EndPatience)
	defer cancel()
	err := t.Exec(ctx, `SELECT 1`)
	return err != nil && !definite(err) // it may answer that the transaction has failed
}

// open asks the driver itself, without a statement; known is false where it cannot tell.
// pgx calls a connection bad on which rows were left open, lost as it is not.
func (t *transaction) open() (open, known bool) {
	_ = t.conn.Raw(func(conn any) error {
		if found, ok := conn.(interface{ IsValid() bool }); ok {
			open, known = found.IsValid(), true
			return nil
		}
		method := reflect.ValueOf(conn).MethodByName("Conn") // of pgx's stdlib: its *pgx.Conn
		if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
			return nil
		}
		if found, ok := method.Call(nil)[0].Interface().(interface{ IsClosed() bool }); ok {
			open, known = !found.IsClosed(), true
		}
		return nil
	})
	return open, known
}

func (t *transaction) Commit(context.Context) error {
	limit := time.AfterFunc(target.CommitPatience, t.cancel)
	defer limit.Stop()
	if t.guard != nil {
		t.guard.allowed.Store(true)
	}
	return t.tx.Commit()
}

func (t *transaction) End() {
	limit := time.AfterFunc(target.EndPatience, t.cancel)
	defer limit.Stop()
	_ = t.tx.Rollback() // after a commit it does nothing; otherwise the first error counts
	t.cancel()
	if t.guard != nil {
		t.guard.lift()
	}
	_ = t.conn.Close()
}
