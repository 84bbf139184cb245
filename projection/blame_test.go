package projection_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// failsFor runs a subscription and expects that it ends with the event's failure.
func failsFor(t *testing.T, store *eventstore.Store, sub eventstore.Subscription, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var failure *eventstore.HandlerError
	require.ErrorAs(t, store.Run(ctx, sub), &failure, "Run waits for what is no failure of the world")
	require.Equal(t, sub.Retry.Attempts, failure.Attempts)
	require.ErrorContains(t, failure, why)
}

// An attempt whose answer was lost is under way still; the next one inserts the same key.
func TestARowThatAnEarlierAttemptCommitsBesideIsNotTheEventsFailure(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.exec(t, `CREATE TABLE orders (id TEXT PRIMARY KEY)`)
		d.balances(t, "balances")
		deposit(t, store, 1, 1)
		insert := func(ctx context.Context, tx transaction, at eventstore.RecordedEvent) error {
			return tx.exec(ctx, `INSERT INTO orders (id) VALUES ($1)`, at.ID.String())
		}
		earlier, err := d.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		var pid int
		require.NoError(t, earlier.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid))
		committed := make(chan error, 1)
		calls := 0
		sub := caughtUp(target, "m", func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			if calls++; calls == 1 {
				if err := errors.Join(attempt(ctx, earlier, store, e, at), insert(ctx, eraseSQL(earlier), at)); err != nil {
					return err
				}
				go func() { committed <- d.commitOnceWaitedFor(t.Context(), earlier, pid) }()
			}
			return insert(ctx, tx, at)
		})
		sub.ParkStream, sub.Retry.Attempts = "parked", 1
		require.NoError(t, store.Run(t.Context(), sub))
		require.NoError(t, <-committed)
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM orders`))
		require.Empty(t, parked(t, store), "its row is there")
	})
}

// Two owners, as after a pause: the new one commits while the old one works.
func TestAnOwnerWhoseLeaseWasTakenIsToldSoAndNotOfARow(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		target, id := d.rowsOfM(t), uuid.New()
		d.exec(t, `CREATE UNIQUE INDEX ON rows_of_m (n)`)
		take(t, target, 1)
		other := d.open(t)
		err := target.Update(t.Context(), at(id, 1, 1), func(ctx context.Context, tx transaction, after eventstore.Position) error {
			result, err := other.SwapLease(ctx, eventstore.SwapLeaseRequest{
				Name: "m", Old: eventstore.Lease{Name: "m", Epoch: 1, Owner: "o", TTL: time.Minute},
				New: eventstore.Lease{Name: "m", Epoch: 2, Owner: "p", TTL: time.Minute},
			})
			if err != nil || !result.Swapped {
				return fmt.Errorf("not swapped: %w", err)
			}
			if err := other.Update(ctx, at(id, 1, 2), insertRow); err != nil {
				return err
			}
			return insertRow(ctx, tx, after)
		})
		require.ErrorIs(t, err, eventstore.ErrLeaseLost)
		require.ErrorContains(t, err, "23505", "what the function met is said too")
	})
}

func TestRowsLeftOpenAreTheEventsFailure(t *testing.T) {
	const query = `SELECT generate_series(1, 100000)`
	t.Run(inSQL, func(t *testing.T) {
		opened, err := sqldb.Open(t.Context(), newDatabase(t, inSQL).openDB(t), sqldb.PostgreSQL)
		require.NoError(t, err)
		store := newStore(t)
		deposit(t, store, 1, 1)
		sub := projection.New(opened, "m", deposits(), func(ctx context.Context, tx *sql.Tx, _ deposited, _ eventstore.RecordedEvent) error {
			rows, err := tx.QueryContext(ctx, query) //nolint:sqlclosecheck // which is the mistake
			if err == nil {
				rows.Next()
				err = rows.Err()
			}
			return err
		})
		sub.UntilCaughtUp, sub.Retry.Attempts = true, 1
		failsFor(t, store, sub, "close rows")
	})
	t.Run(inPgx, func(t *testing.T) {
		pool, err := pgxpool.New(t.Context(), newDatabase(t, inPgx).url)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		opened, err := pgxdb.Open(t.Context(), pool)
		require.NoError(t, err)
		store := newStore(t)
		deposit(t, store, 1, 1)
		sub := projection.New(opened, "m", deposits(), func(ctx context.Context, tx pgx.Tx, _ deposited, _ eventstore.RecordedEvent) error {
			rows, err := tx.Query(ctx, query)
			if err == nil {
				rows.Next()
			}
			return err
		})
		sub.UntilCaughtUp, sub.Retry.Attempts = true, 1
		failsFor(t, store, sub, "close rows")
	})
}

// noMemory is what SQLite's driver says where it has none. A limit by which SQLite itself
// would say it is that of the process, and of all tests in it.
func noMemory(t *testing.T) error {
	err := new(sqlite.Error)
	code := reflect.ValueOf(err).Elem().FieldByName("code")
	require.Equal(t, reflect.Int, code.Kind(), "the driver's error is made otherwise now")
	*(*int)(code.Addr().UnsafePointer()) = 7
	require.Equal(t, 7, err.Code())
	return err
}

func TestWhatAlwaysTakesMoreThanItHasIsTheEventsFailure(t *testing.T) {
	const slow = `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000000) INSERT INTO rows_of_m SELECT max(x) FROM c`
	timeout := func(ctx context.Context, _ *database, tx transaction) error {
		return errors.Join(tx.exec(ctx, `SET LOCAL statement_timeout = '50ms'`), tx.exec(ctx, slow))
	}
	idle := func(ctx context.Context, d *database, tx transaction) error {
		if err := tx.exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = '50ms'`); err != nil {
			return err
		}
		for left := 1; left > 0 && ctx.Err() == nil; pauseFor(ctx, 10*time.Millisecond) { // until the server has ended it
			err := d.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`).Scan(&left)
			if err != nil {
				return err
			}
		}
		return nil
	}
	deadline := func(ctx context.Context, _ *database, tx transaction) error {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		return tx.exec(ctx, slow)
	}
	for _, test := range []struct {
		name  string
		kinds []string
		apply func(context.Context, *database, transaction) error
	}{
		{"by the server's statement_timeout", []string{inSQL, inPgx}, timeout},
		{"by the server's idle_in_transaction_session_timeout, which the target meets", []string{inSQL, inPgx}, idle},
		{"by the server's idle_in_transaction_session_timeout, which a statement meets", []string{inSQL, inPgx}, func(ctx context.Context, d *database, tx transaction) error {
			return errors.Join(idle(ctx, d, tx), insertRow(ctx, tx, eventstore.Position{}))
		}},
		{"by the function's own deadline", kinds, deadline},
		{"by the server's temp_file_limit", []string{inSQL, inPgx}, func(ctx context.Context, _ *database, tx transaction) error {
			return errors.Join(tx.exec(ctx, `SET LOCAL work_mem = '64kB'`), tx.exec(ctx, `SET LOCAL temp_file_limit = '64kB'`),
				tx.exec(ctx, `SELECT n FROM generate_series(1, 100000) n ORDER BY -n`))
		}},
		{"by the server's memory", []string{inSQL, inPgx}, func(ctx context.Context, _ *database, tx transaction) error {
			return tx.exec(ctx, `DO $$ BEGIN RAISE EXCEPTION 'out of shared memory' USING errcode = '53200'; END $$`)
		}},
		{"by the memory of SQLite", []string{inSQLite}, func(context.Context, *database, transaction) error { return noMemory(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, test.kinds, func(t *testing.T, d *database) {
				store, target := newStore(t), d.rowsOfM(t)
				deposit(t, store, 1, 1)
				var calls atomic.Int32
				sub := caughtUp(target, "m", func(ctx context.Context, tx transaction, _ deposited, _ eventstore.RecordedEvent) error {
					calls.Add(1)
					return test.apply(ctx, d, tx)
				})
				sub.Retry.Attempts = 2
				failsFor(t, store, sub, "")
				require.EqualValues(t, 2, calls.Load())
			})
		})
	}
}

type refusal struct{ code int }

func (r refusal) Error() string {
	return fmt.Sprintf("refused with code %d: database is locked", r.code)
}
func (r refusal) Code() int { return r.code }

func TestAnErrorOfTheDomainWithACodeIsNoErrorOfSQLite(t *testing.T) {
	for _, code := range []int{5, 13, 522} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			d := newDatabase(t, inSQLite)
			store, target := newStore(t), d.open(t)
			deposit(t, store, 1, 1)
			sub := caughtUp(target, "m", func(context.Context, transaction, deposited, eventstore.RecordedEvent) error {
				return errors.Join(errors.New("refused"), fmt.Errorf("apply: %w", refusal{code}))
			})
			sub.Retry.Attempts = 1
			failsFor(t, store, sub, "refused with code")
		})
	}
}
