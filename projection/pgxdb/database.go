package pgxdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/internal/pgdriver"
	"github.com/switchyard-dev/switchyard/internal/sqlstate"
	"github.com/switchyard-dev/switchyard/projection/internal/target"
)

// statementer is a pool or a transaction.
type statementer interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

// querier is a [target.Querier].
type querier struct{ db statementer }

func (q querier) Exec(ctx context.Context, query string, args ...any) error {
	_, err := q.db.Exec(ctx, query, args...)
	return err
}

func (q querier) Query(ctx context.Context, query string, args []any, each func(scan func(into ...any) error) error) error {
	rows, err := q.db.Query(ctx, query, args...)
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
	pool *pgxpool.Pool
}

func (d *database) Begin(ctx context.Context) (target.Transaction[pgx.Tx], error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}) // whatever the role's default is
	if err != nil {
		conn.Release()
		return nil, err
	}
	return &transaction{querier: querier{tx}, conn: conn, tx: tx}, nil
}

func (d *database) Mapped(err error) error {
	if err.Error() == "closed pool" { // by the application: to wait for it would be to wait for ever
		return fmt.Errorf("pgxdb: %w", err)
	}
	return pgdriver.Mapped("pgxdb", pgdriver.Classify(err, false, readOnly), err)
}

func (d *database) OverLimit(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && sqlstate.OverLimit(server.Code)
}

func readOnly(e *pgconn.PgError) bool { return e.Code == sqlstate.ReadOnly }

func (d *database) Transient(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && (pgdriver.IsTransient(server) || readOnly(server))
}

// transaction is a [target.Transaction]. It holds its connection to the end, also where
// the application's function ends the transaction against the rules: one that went back
// to the pool would be another's by then.
type transaction struct {
	querier
	conn *pgxpool.Conn
	tx   pgx.Tx
}

func (t *transaction) Tx() pgx.Tx { return t.tx }

func (t *transaction) Lost(context.Context) bool { return t.conn.Conn().IsClosed() }

func (t *transaction) Commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), target.CommitPatience)
	defer cancel()
	return t.tx.Commit(ctx)
}

func (t *transaction) End() {
	ctx, cancel := context.WithTimeout(context.Background(), target.EndPatience)
	defer cancel()
	_ = t.tx.Rollback(ctx) // after a commit it does nothing; otherwise the first error counts
	t.conn.Release()
}
