package marten

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/internal/pgdriver"
	"github.com/switchyard-dev/switchyard/internal/pgrecords"
	"github.com/switchyard-dev/switchyard/internal/sqlstate"
)

//go:embed schema/001_own.sql
var ownSchema string

// own is the store's place in the schema that stands beside Marten's tables.
type own struct {
	id    uuid.UUID
	table int64  // the OID of stores; 0 where the schema is not there
	why   string // it is not there, and what would help
}

// openOwn finds the store's identity, and makes it, with the schema, where it may. Where
// there is none and none can be made the store has an identity that is made of the OIDs
// of its database and table.
func openOwn(ctx context.Context, pool *pgxpool.Pool, opts Options) (own, error) {
	found, err := findOwn(ctx, pool, opts)
	if err == nil && found.id != uuid.Nil {
		return found, nil
	}
	why := fmt.Sprintf("there is no schema %q beside the store; make it with switchyard init, as a role that may create schemas", opts.Own)
	switch {
	case isRefused(err):
		why = fmt.Sprintf("the schema %q is not open to this role: %s; grant it the rights that the README of backends/marten lists", opts.Own, refusalText(err))
	case err != nil:
		return own{}, err
	case found.table != 0:
		why = fmt.Sprintf("the schema %q does not know this store yet; run switchyard init, as a role that may write there", opts.Own)
	}
	if err == nil && !opts.NoMigration {
		switch err := makeOwn(ctx, pool, opts); {
		case isRefused(err):
			why += fmt.Sprintf(" (this role may not: %s)", refusalText(err))
		case err != nil:
			return own{}, err
		default:
			return findOwn(ctx, pool, opts)
		}
	}
	id, err := derivedID(ctx, pool, opts)
	return own{id: id, why: why}, err
}

// findOwn reads the identity; a table of 0 says that there is no schema, and no ID that it
// does not know the store.
func findOwn(ctx context.Context, db catalogQuerier, opts Options) (own, error) {
	var found own
	// Not to_regclass: it answers from the session's cache.
	err := db.QueryRow(ctx, `select coalesce((select c.oid::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = 'stores' and c.relkind = 'r'), 0)`, opts.Own).Scan(&found.table)
	if err != nil || found.table == 0 {
		return found, err
	}
	err = db.QueryRow(ctx, `select id from `+ident(opts.Own, "stores")+` where events_schema = $1 and tenant = $2`, opts.Schema, opts.Tenant).Scan(&found.id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return found, err
}

type catalogQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// makeOwn makes the schema and the store's identity. Any number of processes may do so
// at once.
func makeOwn(ctx context.Context, pool *pgxpool.Pool, opts Options) error {
	return pgx.BeginTxFunc(ctx, pool, pgdriver.AfterLock(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('lock_timeout', '30s', true), pg_advisory_xact_lock(hashtextextended('switchyard schema ' || $1, 0))`, opts.Own); err != nil {
			return err
		}
		found, err := findOwn(ctx, tx, opts)
		if err != nil {
			return err
		}
		if found.table == 0 {
			var exists bool
			if err := tx.QueryRow(ctx, `select exists (select from pg_namespace where nspname = $1)`, opts.Own).Scan(&exists); err != nil {
				return err
			}
			if !exists {
				if _, err := tx.Exec(ctx, `create schema `+ident(opts.Own)); err != nil {
					return err
				}
			}
			if _, err := tx.Conn().PgConn().Exec(ctx, strings.ReplaceAll(ownSchema, "{schema}", ident(opts.Own))).ReadAll(); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `insert into `+ident(opts.Own, "stores")+` (events_schema, tenant) values ($1, $2) on conflict do nothing`, opts.Schema, opts.Tenant)
		return err
	})
}

// derivedID names a store that has no identity of its own: by its database, table and
// tenant. It does not survive a restore.
func derivedID(ctx context.Context, pool *pgxpool.Pool, opts Options) (uuid.UUID, error) {
	var text string
	err := pool.QueryRow(ctx, `select (select oid from pg_database where datname = current_database())::text || '/' || c.oid::text
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = 'mt_events'`, opts.Schema).Scan(&text)
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("marten://"+text+"/"+opts.Tenant)), err
}

// newRecords returns the checkpoints, leases and snapshots; nil without a schema of ours.
func (b *Backend) newRecords() *pgrecords.Records {
	if b.own.table == 0 {
		return nil
	}
	return pgrecords.New(pgrecords.Config{
		Pool: b.pool, Schema: b.opts.Own, Anchor: "stores", Table: b.own.table, Scope: &b.own.id, Call: b.call,
		Moved: func() error { return fmt.Errorf("schema %q %w", b.opts.Own, errMoved) },
	})
}

func ident(names ...string) string { return pgx.Identifier(names).Sanitize() }

// isRefused tells whether the server refused a right, or that anything is written.
func isRefused(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && (server.Code == sqlstate.MissingRight || server.Code == sqlstate.ReadOnly)
}

func refusalText(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Message
	}
	return "refused"
}
