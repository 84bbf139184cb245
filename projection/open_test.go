package projection_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

func TestATargetIsNotOpenedWhereItCannotWork(t *testing.T) {
	file, of := newDatabase(t, inSQLite), newDatabase(t, inSQL)
	one := of.openDB(t)
	one.SetMaxOpenConns(1)
	config, err := pgxpool.ParseConfig(of.url)
	require.NoError(t, err)
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	opened := func(_ any, err error) error { return err }
	for _, test := range []struct {
		err  error
		want string
	}{
		{opened(sqldb.Open(t.Context(), nil, sqldb.SQLite)), "invalid db: it is nil; give an open database"},
		{opened(sqldb.Open(t.Context(), file.db, 0)), "invalid dialect: it is none of this package's; give SQLite or PostgreSQL"},
		{opened(sqldb.Open(t.Context(), file.db, sqldb.PostgreSQL)), "invalid dialect: the database does not answer as PostgreSQL does; give its own"},
		{opened(sqldb.Open(t.Context(), of.db, sqldb.SQLite)), "invalid dialect: the database does not answer as SQLite does; give its own"},
		{opened(sqldb.Open(t.Context(), one, sqldb.PostgreSQL)), "invalid db: it is limited to 1 connection, and a read model needs one to work and one to renew its lease; raise SetMaxOpenConns"},
		{opened(pgxdb.Open(t.Context(), nil)), "invalid pool: it is nil; give an open pool"},
		{opened(pgxdb.Open(t.Context(), pool)), "invalid pool: it is limited to 1 connection, and a read model needs one to work and one to renew its lease; raise MaxConns"},
	} {
		require.ErrorIs(t, test.err, eventstore.ErrInvalid, test.want)
		require.ErrorContains(t, test.err, test.want)
	}
}

func TestATableOfThatNameThatIsNotOursIsAnError(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		d.exec(t, `CREATE TABLE switchyard_checkpoints (id BIGINT)`)
		_, err := d.tryOpen(t)
		require.ErrorContains(t, err, "open read models: table switchyard_checkpoints: ")
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	})
}

func TestATableOfAnotherShapeIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		kinds         []string
		key, position string
		want          string
	}{
		"without its key":           {kinds, "", "TEXT", "name is no key of it"},
		"with positions as numbers": {[]string{inSQL, inPgx}, "PRIMARY KEY", "BIGINT", "a column has another type"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, test.kinds, func(t *testing.T, d *database) {
				d.exec(t, `CREATE TABLE switchyard_checkpoints (name TEXT NOT NULL `+test.key+`, store TEXT, position `+test.position+`, stream TEXT, version BIGINT, event TEXT,
					epoch BIGINT NOT NULL, owner TEXT NOT NULL, renewals BIGINT NOT NULL, ttl BIGINT NOT NULL, held_until BIGINT NOT NULL)`)
				_, err := d.tryOpen(t)
				require.ErrorContains(t, err, "open read models: table switchyard_checkpoints: ")
				require.ErrorContains(t, err, test.want)
				require.NotErrorIs(t, err, eventstore.ErrUnavailable)
			})
		})
	}
}

// A function may set the search_path of its transaction, to a tenant's schema say.
func TestASearchPathOfTheFunctionIsNotTheTargets(t *testing.T) {
	for name, tenants := range map[string]string{
		"where there is no table of checkpoints": `CREATE SCHEMA tenant`,
		"where there is one as well":             `CREATE SCHEMA tenant; CREATE TABLE tenant.switchyard_checkpoints (LIKE switchyard_checkpoints INCLUDING ALL)`,
	} {
		t.Run(name, func(t *testing.T) {
			inPostgreSQL(t, func(t *testing.T, d *database) {
				d.exec(t, `CREATE SCHEMA "ours "" quoted"; DO $$ BEGIN EXECUTE 'ALTER DATABASE "' || current_database() || '" SET search_path = "ours "" quoted", public'; END $$`)
				d.db = d.openDB(t)
				store, target := newStore(t), d.open(t)
				d.exec(t, tenants)
				d.exec(t, `CREATE TABLE tenant.rows (n BIGINT)`)
				deposit(t, store, 1, 1)
				sub := caughtUp(target, "m", func(ctx context.Context, tx transaction, _ deposited, _ eventstore.RecordedEvent) error {
					return errors.Join(tx.exec(ctx, `SET LOCAL search_path = tenant`), tx.exec(ctx, `INSERT INTO rows VALUES (1)`))
				})
				sub.Retry.Attempts = 1
				ctx, cancel := context.WithTimeout(t.Context(), soon)
				defer cancel()
				for range 2 {
					require.NoError(t, store.Run(ctx, sub))
				}
				require.Equal(t, 1, d.number(t, `SELECT count(*) FROM tenant.rows`))
				require.Equal(t, 1, d.number(t, `SELECT count(*) FROM "ours "" quoted".switchyard_checkpoints WHERE store IS NOT NULL`))
			})
		})
	}
}

func TestATargetIsOpenedByManyAtOnce(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		var opening sync.WaitGroup
		for range 8 {
			opening.Go(func() {
				if _, err := d.tryOpen(t); err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
	})
}

func TestARoleThatMayNotCreateTablesUsesTheOneThatIsThere(t *testing.T) {
	d := newDatabase(t, inSQL)
	d.open(t)
	d.exec(t, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	limited := d.openDB(t)
	limited.SetMaxIdleConns(1)
	role := d.limitedRole(t)
	_, err := limited.ExecContext(t.Context(), `SET ROLE `+role) // on the one connection that Open uses
	require.NoError(t, err)
	_, err = limited.ExecContext(t.Context(), `CREATE TABLE refused (id BIGINT)`)
	require.ErrorContains(t, err, "permission denied")
	_, err = sqldb.Open(t.Context(), limited, sqldb.PostgreSQL)
	require.NoError(t, err)
}

// limitedRole may use the tables and create none. It ends with the test.
func (d *database) limitedRole(t *testing.T) string {
	t.Helper()
	role := "limited_" + uuid.NewString()[:8]
	d.exec(t, `CREATE ROLE `+role)
	d.exec(t, `GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO `+role)
	t.Cleanup(func() {
		_, err := d.db.ExecContext(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role)
		require.NoError(t, err)
	})
	return role
}

// To wait for a database that was closed would be to wait for ever.
func TestAClosedDatabaseIsNotWaitedFor(t *testing.T) {
	d := newDatabase(t, inPgx)
	db, err := sql.Open(d.driver, d.url)
	require.NoError(t, err)
	pool, err := pgxpool.New(t.Context(), d.url)
	require.NoError(t, err)
	bySQL, err := sqldb.Open(t.Context(), db, sqldb.PostgreSQL)
	require.NoError(t, err)
	byPgx, err := pgxdb.Open(t.Context(), pool)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	pool.Close()
	for name, target := range map[string]eventstore.Checkpoints{"database/sql": bySQL, "pgx": byPgx} {
		_, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "m"})
		require.ErrorContains(t, err, "closed", name)
		require.NotErrorIs(t, err, eventstore.ErrUnavailable, name)
	}
}

func TestADatabaseInMemoryIsOneForAllConnections(t *testing.T) {
	for name, test := range map[string]struct {
		url      string
		most     int
		accepted bool
	}{
		"with a pool":         {":memory:", 0, false},
		"of one connection":   {":memory:", 1, true},
		"with a shared cache": {"file:shared?mode=memory&cache=shared", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := sql.Open("sqlite", test.url)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			db.SetMaxOpenConns(test.most)
			opened, err := sqldb.Open(t.Context(), db, sqldb.SQLite)
			if !test.accepted {
				require.ErrorIs(t, err, eventstore.ErrInvalid)
				require.ErrorContains(t, err, "SetMaxOpenConns(1)")
				return
			}
			require.NoError(t, err)
			store := newStore(t)
			position := deposit(t, store, 1, 1)
			sub := projection.New(opened, "m", deposits(), func(context.Context, *sql.Tx, deposited, eventstore.RecordedEvent) error { return nil })
			sub.UntilCaughtUp = true
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			require.NoError(t, store.Run(ctx, sub))
			require.NoError(t, projection.WaitFor(ctx, opened, "m", position))
		})
	}
}

func TestANameThatIsNoTextIsInvalid(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target := d.open(t)
		for _, name := range []string{"", "a\x00b", "\xff"} {
			require.ErrorIs(t, projection.WaitFor(t.Context(), target, name, eventstore.NewPosition(1, 0)), eventstore.ErrInvalid)
		}
	})
}
