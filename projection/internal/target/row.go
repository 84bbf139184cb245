package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Dialect is in what the SQL of databases differs.
type Dialect struct {
	// ByBytes orders text by its bytes, as the contract has it.
	ByBytes string
	// Locking, at the end of a select, locks its row to the transaction's end.
	Locking string
	// Clock is the time of whoever keeps the data, in milliseconds.
	Clock string
	// Schema asks in which schema the table is that its name alone stands for, and
	// whether name is a key of it. Empty where there are no schemas.
	Schema string
	// OneWriter is set where one transaction at a time writes anything at all. It must
	// begin with a write, lest another one comes in between, and no lease can be
	// renewed while it works.
	OneWriter bool
}

// SQLite and PostgreSQL are the dialects.
func SQLite() Dialect {
	return Dialect{ByBytes: `COLLATE BINARY`, Clock: `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`, OneWriter: true}
}

// PostgreSQL is the dialect of version 13 and later.
func PostgreSQL() Dialect {
	return Dialect{
		ByBytes: `COLLATE "C"`,
		Locking: ` FOR UPDATE`,
		Clock:   `CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)`,
		Schema: `SELECT n.nspname::text, EXISTS (
				SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
				WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = 'name')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.oid = CAST('` + table + `' AS pg_catalog.regclass)`,
	}
}

// A row is what is kept under a read model's name: its checkpoint, where store is not
// null, its lease, and until when a swap holds it still. Numbers without a sign are
// kept with one, and only compared here.
const table = `switchyard_checkpoints`

const columns = `name, store, position, stream, version, event, epoch, owner, renewals, ttl`

type statements struct {
	make, load, lock, list, write, hold, probe, types, key, create string
}

// newStatements names the table by its schema, where one is given: the search_path of a
// transaction is the application's, and may change in it.
func newStatements(d Dialect, schema string) statements {
	table := table
	if schema != "" {
		table = `"` + strings.ReplaceAll(schema, `"`, `""`) + `".` + table
	}
	load := `SELECT ` + columns + `, held_until > ` + d.Clock + ` FROM ` + table + ` WHERE name = $1`
	return statements{
		make:  `INSERT INTO ` + table + ` (name, epoch, owner, renewals, ttl, held_until) VALUES ($1, 0, '', 0, 0, 0) ON CONFLICT (name) DO NOTHING`,
		load:  load,
		lock:  load + d.Locking,
		list:  `SELECT ` + columns + `, 1 = 0 FROM ` + table + ` WHERE name > $1 AND store IS NOT NULL ORDER BY name LIMIT $2`,
		write: `UPDATE ` + table + ` SET store = $1, position = $2, stream = $3, version = $4, event = $5, epoch = $6, owner = $7, renewals = $8, ttl = $9 WHERE name = $10`,
		hold:  `UPDATE ` + table + ` SET held_until = ` + d.Clock + ` + $1 WHERE name = $2`,
		probe: `SELECT ` + columns + `, held_until FROM ` + table + ` WHERE 1 = 0`,
		// It is planned and not run: whoever may only read opens a target too.
		types: `SELECT 1 FROM ` + table + ` WHERE 1 = 0 AND (` + ofType("name, store, position, stream, event, owner", `CAST('' AS TEXT)`) + ` OR ` + ofType("version, epoch, renewals, ttl, held_until", `CAST(0 AS BIGINT)`) + `)`,
		key:   `EXPLAIN INSERT INTO ` + table + ` (name, epoch, owner, renewals, ttl, held_until) VALUES ('', 0, '', 0, 0, 0) ON CONFLICT (name) DO NOTHING`,
		create: strings.ReplaceAll(`CREATE TABLE IF NOT EXISTS `+table+` (
	name       TEXT `+d.ByBytes+` NOT NULL PRIMARY KEY,
	store      TEXT,
	position   TEXT,
	stream     TEXT,
	version    BIGINT,
	event      TEXT,
	epoch      BIGINT NOT NULL,
	owner      TEXT   NOT NULL, -- empty while nobody has the lease
	renewals   BIGINT NOT NULL,
	ttl        BIGINT NOT NULL, -- nanoseconds
	held_until BIGINT NOT NULL  -- milliseconds since 1970 UTC
)`, "\t", " "),
	}
}

// ofType compares columns with a value of the type that they are to have.
func ofType(columns, value string) string {
	return strings.ReplaceAll(columns, ", ", " = "+value+" OR ") + " = " + value
}

// row is what is kept under a name.
type row struct {
	adapter.Progress
	exists bool
	held   bool // by a swap
}

// load reads the row of a name.
func (t *Target[Tx]) load(ctx context.Context, from Querier, query, name string) (row, error) {
	var found row
	err := from.Query(ctx, query, []any{name}, func(scan func(...any) error) (err error) {
		_, found, err = scanRow(scan)
		return err
	})
	return found, err
}

// locked reads the row of a name, and makes it first where there is none; nobody else
// changes it before the transaction's end.
func (t *Target[Tx]) locked(ctx context.Context, tx Querier, name string) (row, error) {
	found, err := row{}, error(nil)
	if t.dialect.OneWriter {
		err = t.lockFile(ctx, tx, name)
	} else if found, err = t.load(ctx, tx, t.sql.lock, name); err == nil && !found.exists {
		err = tx.Exec(ctx, t.sql.make, name)
	}
	if err != nil || found.exists {
		return found, err
	}
	if found, err = t.load(ctx, tx, t.sql.lock, name); err == nil && !found.exists {
		err = fmt.Errorf("the row of %q in %s cannot be made; look for a trigger or rule on the table", name, table)
	}
	return found, err
}

const lockPause = time.Millisecond

// lockFile takes SQLite's write lock by a write of the row. SQLite itself, where it
// waits, tries less and less often, every 100 ms in the end, and may never meet the
// moments in which another read model's owner leaves the file. So it is tried every
// millisecond, for as long as the connection's busy timeout says.
func (t *Target[Tx]) lockFile(ctx context.Context, tx Querier, name string) error {
	var patience int64
	err := tx.Query(ctx, `PRAGMA busy_timeout`, nil, func(scan func(...any) error) error { return scan(&patience) })
	if err != nil {
		return err
	}
	// The connection is the application's: what is set is set back, however ctx ends. A driver
	// may say of a statement that its ctx was over, which took effect all the same.
	always := context.WithoutCancel(ctx)
	if err = tx.Exec(always, `PRAGMA busy_timeout = 0`); err == nil {
		err = t.tryLock(ctx, tx, name, time.Now().Add(time.Duration(patience)*time.Millisecond))
	}
	return errors.Join(err, tx.Exec(always, fmt.Sprintf(`PRAGMA busy_timeout = %d`, patience)))
}

func (t *Target[Tx]) tryLock(ctx context.Context, tx Querier, name string, until time.Time) error {
	for {
		err := tx.Exec(ctx, t.sql.make, name)
		if err == nil || !t.db.Transient(err) || !time.Now().Before(until) || sleep.For(ctx, lockPause) != nil {
			return err
		}
	}
}

func scanRow(scan func(...any) error) (name string, r row, err error) {
	var store, position, stream, event *string
	var version *int64
	var epoch, renewals, ttl int64
	var owner string
	if err := scan(&name, &store, &position, &stream, &version, &event, &epoch, &owner, &renewals, &ttl, &r.held); err != nil {
		return name, r, err
	}
	r.exists = true
	if epoch != 0 {
		r.Lease = eventstore.Lease{Name: name, Epoch: uint64(epoch), Owner: owner, Renewals: uint64(renewals), TTL: time.Duration(ttl)}
	}
	if store == nil {
		return name, r, nil
	}
	if position == nil || stream == nil || version == nil || event == nil {
		return name, r, fmt.Errorf("the row of %q in %s is no checkpoint; delete it", name, table)
	}
	r.Found = true
	place := &r.Checkpoint.Place
	place.Stream, place.Version = *stream, uint64(*version)
	var errs [3]error
	r.Checkpoint.Store, errs[0] = uuid.Parse(*store)
	place.ID, errs[1] = uuid.Parse(*event)
	place.Position, errs[2] = eventstore.ParsePosition(*position)
	if err := errors.Join(errs[:]...); err != nil {
		return name, r, fmt.Errorf("the row of %q in %s is no checkpoint; delete it: %w", name, table, err)
	}
	return name, r, nil
}

// write stores what is kept under a name.
func (t *Target[Tx]) write(ctx context.Context, tx Querier, name string, p adapter.Progress) error {
	args := []any{
		nil, nil, nil, nil, nil,
		int64(p.Lease.Epoch), p.Lease.Owner, int64(p.Lease.Renewals), int64(p.Lease.TTL), name,
	}
	if place := p.Checkpoint.Place; p.Found {
		copy(args, []any{p.Checkpoint.Store.String(), place.Position.String(), place.Stream, int64(place.Version), place.ID.String()})
	}
	return tx.Exec(ctx, t.sql.write, args...)
}
