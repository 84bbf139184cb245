package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// migrations returns the schema's versions in order: the file NNN_name.sql
// brings version NNN-1 to NNN.
func migrations() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/[0-9]*.sql") // sorted
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(names))
	for i, name := range names {
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		texts[i] = string(text)
	}
	return texts, nil
}

func quote(schema string) string { return pgx.Identifier{schema}.Sanitize() }

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// opened is the store that a schema's name led to: its identity, and the OIDs of its
// events table and of that table's row type. A name can lead to another store later, when
// schemas are renamed; an OID cannot. sealEpoch is what it was at that moment.
type opened struct {
	id             uuid.UUID
	table, rowType int64
	sealEpoch      int64
}

// migrate brings the schema to this package's version and returns the store. Any number of processes may do so at once: one works, the others wait
// for its lock and find the work done. A current schema is only read.
func migrate(ctx context.Context, pool *pgxpool.Pool, schema string, refuse bool) (opened, error) {
	steps, err := migrations()
	if err != nil {
		return opened{}, err
	}
	store, version, err := schemaVersion(ctx, pool, schema)
	if err != nil {
		return store, err
	}
	if version == len(steps) {
		return store, checkFunctions(ctx, pool, schema, store)
	}
	if err := checkVersion(schema, version, len(steps)); err != nil {
		return store, err
	}
	switch {
	case refuse && version == 0:
		return store, &eventstore.InvalidError{Field: "schema", Reason: fmt.Sprintf("%q holds no store; check the name, or make one first (switchyard init) as a role that may create it", schema)}
	case refuse:
		return store, fmt.Errorf("schema %q is at version %d and version %d is needed; open the store once as a role that may create it", schema, version, len(steps))
	}
	err = pgx.BeginTxFunc(ctx, pool, pgdriver.AfterLock(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, boundWaiting); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('switchyard migration of ' || $1, 0))`, schema); err != nil {
			return err
		}
		if _, version, err = schemaVersion(ctx, tx, schema); err != nil {
			return err
		}
		if err := checkVersion(schema, version, len(steps)); err != nil {
			return err
		}
		if err := createSchema(ctx, tx, schema); err != nil {
			return fmt.Errorf("create schema %q: %w", schema, err)
		}
		for ; version < len(steps); version++ {
			if _, err := tx.Conn().PgConn().Exec(ctx, strings.ReplaceAll(steps[version], "{schema}", quote(schema))).ReadAll(); err != nil {
				return fmt.Errorf("migrate schema %q to version %d: %w", schema, version+1, err)
			}
		}
		store, version, err = schemaVersion(ctx, tx, schema)
		return err
	})
	return store, readError(ctx, err)
}

// boundWaiting bounds every wait of a migration for a lock, of another migration or of
// the server's catalogues, unless the session has a bound already. The error is
// ErrUnavailable: whoever opens the store may try again.
const boundWaiting = `select set_config('lock_timeout',
	case current_setting('lock_timeout') when '0' then '30s' else current_setting('lock_timeout') end, true)`

// createSchema creates the schema where it does not exist. "if not exists" would need
// the right to create schemas in any case, and whoever was given a schema has it not.
func createSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	var exists bool
	err := tx.QueryRow(ctx, `select exists (select from pg_namespace where nspname = $1)`, schema).Scan(&exists)
	if err == nil && !exists {
		_, err = tx.Exec(ctx, `create schema `+quote(schema))
	}
	return err
}

// checkFunctions refuses a schema whose functions are another's, as a tool leaves
// them that copied the schema and kept their text. Every append would be refused.
func checkFunctions(ctx context.Context, db querier, schema string, store opened) error {
	var foreign bool
	err := db.QueryRow(ctx, `select exists (
			select from pg_proc p, unnest(coalesce(p.proallargtypes, p.proargtypes)) as argument (type_oid)
			join pg_type t on t.oid = argument.type_oid
			where p.pronamespace = (select relnamespace from pg_class where oid = $1::bigint::oid)
			  and p.proname in ('append', 'append_one') and t.typrelid not in (0, $1::bigint::oid))`, store.table).Scan(&foreign)
	if err != nil {
		return readError(ctx, err)
	}
	if foreign {
		return fmt.Errorf("schema %q was copied from another, and its functions still write to that one: in a dump or a copy of a schema the types of their arguments must be renamed too", schema)
	}
	return nil
}

func checkVersion(schema string, version, known int) error {
	if version > known {
		return fmt.Errorf("schema %q is at version %d, and this program knows versions up to %d: a newer program has migrated it; update this one", schema, version, known)
	}
	return nil
}

// schemaVersion returns the store and its schema version; version 0 is no store.
func schemaVersion(ctx context.Context, db querier, schema string) (store opened, version int, err error) {
	// Not to_regclass: it answers from the session's cache, which need not know yet
	// what another process has just created.
	var ours, current bool
	var taken []string
	if err := db.QueryRow(ctx, `select array_agg(c.relname::text order by c.relname), coalesce(bool_or(c.relname = 'store' and c.relkind = 'r'
			and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'id' and a.atttypid = 'uuid'::regtype)
			and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'schema_version' and a.atttypid = 'int'::regtype)), false),
			coalesce(bool_or(c.relname = 'store' and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'seal_epoch')
				and exists (select from pg_proc p where p.pronamespace = c.relnamespace and p.proname = 'append_one')), false)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = any($2)`, schema, []string{"store", "events", "checkpoints", "snapshots", "event_log"}).Scan(&taken, &ours, &current); err != nil {
		return store, 0, readError(ctx, err)
	}
	if !ours && len(taken) == 0 {
		return store, 0, nil
	}
	if !ours || !slices.Contains(taken, "events") {
		return store, 0, &eventstore.InvalidError{Field: "schema", Reason: fmt.Sprintf(
			"%q holds tables or views that are no event store's, under names that one needs: %s; choose another schema", schema, strings.Join(taken, ", "))}
	}
	if !current {
		return store, 0, fmt.Errorf("schema %q holds a store whose layout is from before the first release; copy it into a new one with the program that made it (export, then import)", schema)
	}
	// The identity and the table are of one schema, even while it is renamed.
	err = db.QueryRow(ctx, `select s.id, s.schema_version, s.seal_epoch, e.oid::bigint, e.reltype::bigint from `+quote(schema)+`.store s
		join pg_class c on c.oid = s.tableoid
		join pg_class e on e.relnamespace = c.relnamespace and e.relname = 'events'`).Scan(&store.id, &version, &store.sealEpoch, &store.table, &store.rowType)
	return store, version, readError(ctx, err)
}
