package projection_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// at is a checkpoint of the name "m".
func at(store uuid.UUID, position, epoch uint64) eventstore.Checkpoint {
	return eventstore.Checkpoint{
		Name: "m", Store: store, Epoch: epoch,
		Place: eventstore.Place{Position: eventstore.NewPosition(position, 0), Stream: "s", Version: position, ID: uuid.UUID{byte(position)}},
	}
}

func insertRow(ctx context.Context, tx transaction, _ eventstore.Position) error {
	return tx.exec(ctx, `INSERT INTO rows_of_m VALUES (1)`)
}

func (d *database) rowsOfM(t testing.TB) target {
	t.Helper()
	d.exec(t, `CREATE TABLE rows_of_m (n BIGINT)`)
	return d.open(t)
}

// take takes the lease of "m" so often that its epoch is the given one.
func take(t testing.TB, target target, epoch uint64) {
	t.Helper()
	var old eventstore.Lease
	for e := range epoch {
		next := eventstore.Lease{Name: "m", Epoch: e + 1, Owner: "o", TTL: time.Minute}
		result, err := target.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "m", Old: old, New: next})
		require.NoError(t, err)
		require.True(t, result.Swapped)
		old = next
	}
}

func TestAnUpdateChangesAllOrNothing(t *testing.T) {
	mine, other := uuid.New(), uuid.New()
	failure := errors.New("not this one")
	tests := map[string]struct {
		to    eventstore.Checkpoint // stored are position 5 of my store and epoch 3
		f     error
		calls int
		rows  int
		want  error // nil where there is none
		at    uint64
	}{
		"one that lies ahead is saved with its rows":                    {at(mine, 6, 3), nil, 1, 1, nil, 6},
		"the stored one again does nothing":                             {at(mine, 5, 3), nil, 0, 0, nil, 5},
		"one that lies behind does nothing":                             {at(mine, 4, 3), nil, 0, 0, nil, 5},
		"one of an epoch that is over changes nothing":                  {at(mine, 6, 2), nil, 0, 0, eventstore.ErrLeaseLost, 5},
		"one of an epoch that is over learns so where nothing is to do": {at(mine, 4, 2), nil, 0, 0, eventstore.ErrLeaseLost, 5},
		"one of another store is refused":                               {at(other, 6, 3), nil, 0, 0, eventstore.ErrForeignCheckpoint, 5},
		"one of another store is refused behind the stored one":         {at(other, 4, 3), nil, 0, 0, eventstore.ErrForeignCheckpoint, 5},
		"a failure undoes the rows and is returned":                     {at(mine, 6, 3), failure, 1, 0, failure, 5},
	}
	inEach(t, func(t *testing.T, d *database) {
		target := d.rowsOfM(t)
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				d.exec(t, `DELETE FROM rows_of_m; DELETE FROM switchyard_checkpoints`)
				take(t, target, 3)
				require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: at(mine, 5, 3)}))
				calls := 0
				err := target.Update(t.Context(), test.to, func(ctx context.Context, tx transaction, after eventstore.Position) error {
					calls++
					require.Equal(t, eventstore.NewPosition(5, 0), after)
					return errors.Join(insertRow(ctx, tx, after), test.f)
				})
				require.ErrorIs(t, err, test.want)
				require.Equal(t, test.calls, calls)
				require.Equal(t, test.rows, d.number(t, `SELECT count(*) FROM rows_of_m`))
				stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "m"})
				require.NoError(t, err)
				require.Equal(t, at(mine, test.at, 3), stored.Checkpoint)
			})
		}
	})
}

func TestAnUpdateOfAnotherNameIsItsOwn(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		take(t, target, 1)
		require.NoError(t, target.Update(t.Context(), at(store, 9, 1), insertRow))
		retried := at(store, 2, 1)
		retried.Name = "m retried"
		for range 2 {
			require.NoError(t, target.Update(t.Context(), retried, insertRow))
		}
		require.Equal(t, 2, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}

// The owner of before and the next one may be at work at once: an owner that was paused
// does not know yet.
func TestUpdatesSideBySideCountEachEventOnce(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		const events, owners = 40, 4
		store := uuid.New()
		d.rowsOfM(t)
		var working sync.WaitGroup
		for range owners {
			target := d.open(t)
			working.Go(func() {
				for i := uint64(1); i <= events; {
					err := target.Update(t.Context(), at(store, i, 0), func(ctx context.Context, tx transaction, after eventstore.Position) error {
						high, _ := after.Words()
						for n := high + 1; n <= i; n++ {
							if err := tx.exec(ctx, `INSERT INTO rows_of_m VALUES ($1)`, int64(n)); err != nil {
								return err
							}
						}
						return nil
					})
					if err == nil {
						i++
					} else if !errors.Is(err, eventstore.ErrUnavailable) {
						t.Error(err)
						return
					}
				}
			})
		}
		working.Wait()
		require.Equal(t, events, d.number(t, `SELECT count(*) FROM rows_of_m`))
		require.Equal(t, events, d.number(t, `SELECT count(DISTINCT n) FROM rows_of_m`))
	})
}

// What follows the end of a transaction would be committed by itself.
func TestAFunctionThatEndsItsTransactionIsTold(t *testing.T) {
	ends := map[string]func(ctx context.Context, tx transaction) error{
		"by a rollback":  func(ctx context.Context, tx transaction) error { return tx.rollback(ctx) },
		"by a commit":    func(ctx context.Context, tx transaction) error { return tx.commit(ctx) },
		"by a statement": func(ctx context.Context, tx transaction) error { return tx.exec(ctx, `ROLLBACK`) },
		"by a statement, to begin again": func(ctx context.Context, tx transaction) error {
			return errors.Join(tx.exec(ctx, `COMMIT`), tx.exec(ctx, `BEGIN`))
		},
		"by an error that it passed over": func(ctx context.Context, tx transaction) error {
			return ignored(tx.exec(ctx, `INSERT INTO once VALUES (1)`))
		},
	}
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		conflict := ""
		if d.kind == inSQLite {
			conflict = "ON CONFLICT ROLLBACK" // elsewhere the server ends what failed
		}
		d.exec(t, `CREATE TABLE once (n BIGINT PRIMARY KEY `+conflict+`)`)
		d.exec(t, `INSERT INTO once VALUES (1)`)
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				d.exec(t, `DELETE FROM switchyard_checkpoints`)
				err := target.Update(t.Context(), at(store, 1, 0), func(ctx context.Context, tx transaction, _ eventstore.Position) error { return end(ctx, tx) })
				require.ErrorContains(t, err, "leave commit and rollback to the target")
				require.NotErrorIs(t, err, eventstore.ErrUnavailable, "the world is not to blame")
				stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "m"})
				require.NoError(t, err)
				require.False(t, stored.Found, "no checkpoint without its rows")
				require.NoError(t, target.Update(t.Context(), at(store, 1, 0), insertRow), "the connection is whole")
			})
		}
	})
}

func ignored(error) error { return nil }

func TestDeletingWhatWasNeverThereLeavesNothing(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		require.NoError(t, d.open(t).Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "m"}))
		require.Zero(t, d.number(t, `SELECT count(*) FROM switchyard_checkpoints`))
	})
}

func TestAPanicGivesTheConnectionBack(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		for range 20 { // more than a pool has
			require.PanicsWithValue(t, "no", func() {
				_ = target.Update(t.Context(), at(store, 1, 0), func(ctx context.Context, tx transaction, after eventstore.Position) error {
					require.NoError(t, insertRow(ctx, tx, after))
					panic("no")
				})
			})
		}
		require.NoError(t, target.Update(t.Context(), at(store, 1, 0), insertRow))
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}

func TestAnUpdateEndsWithItsContext(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		ctx, cancel := context.WithCancel(t.Context())
		err := target.Update(ctx, at(store, 1, 0), func(ctx context.Context, tx transaction, after eventstore.Position) error {
			cancel()
			return insertRow(ctx, tx, after)
		})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, target.Update(ctx, at(store, 1, 0), insertRow), context.Canceled)
		require.Zero(t, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}

// The commit is not cut short, for its outcome would not be known.
func TestACommitOutlivesItsContext(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		store, proxy := uuid.New(), d.behindProxy(t)
		target := d.rowsOfM(t)
		d.exec(t, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'`)
		d.exec(t, `CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON rows_of_m DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		proxy.SetRule(func() tcpproxy.Rule {
			return func(from tcpproxy.Side, chunk []byte) tcpproxy.Verdict {
				if from == tcpproxy.FromClient && bytes.Contains(chunk, []byte("commit\x00")) {
					cancel()
				}
				return tcpproxy.Pass()
			}
		})
		require.NoError(t, target.Update(ctx, at(store, 1, 0), insertRow))
		require.Error(t, ctx.Err(), "it was over before the commit was")
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}

// What the server says at the commit is certain, and so is its no.
func TestAConstraintThatIsCheckedAtTheCommitIsTheEventsFailure(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		d.exec(t, `ALTER TABLE rows_of_m ADD CONSTRAINT once UNIQUE (n) DEFERRABLE INITIALLY DEFERRED`)
		require.NoError(t, target.Update(t.Context(), at(store, 1, 0), insertRow))
		err := target.Update(t.Context(), at(store, 2, 0), insertRow)
		require.ErrorContains(t, err, "once")
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	})
}

func TestAnUpdateRefusesBadInputAndSaysWhatIsRight(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		named := func(name string) eventstore.Checkpoint {
			to := at(store, 1, 0)
			to.Name = name
			return to
		}
		for _, test := range []struct {
			err  error
			want string
		}{
			{target.Update(t.Context(), named(""), insertRow), "invalid name: it has 0 bytes; a read model's name has 1 to 255"},
			{target.Update(t.Context(), named(strings.Repeat("x", 256)), insertRow), "invalid name: it has 256 bytes"},
			{target.Update(t.Context(), named("\xff"), insertRow), "invalid name: it is not UTF-8 text"},
			{target.Update(t.Context(), named("a\x00b"), insertRow), "invalid name: "},
		} {
			require.ErrorIs(t, test.err, eventstore.ErrInvalid, test.want)
			require.ErrorContains(t, test.err, test.want)
		}
		require.Zero(t, d.number(t, `SELECT count(*) FROM rows_of_m`), fmt.Sprint(d.kind))
	})
}

// SQLite's own waiting tries every 100 ms in the end, and can miss for seconds the
// moments in which a busy owner leaves the file.
func TestAReadModelIsNotKeptFromItsFileByABusyOne(t *testing.T) {
	for _, where := range []string{"of one target", "of another process"} {
		t.Run(where, func(t *testing.T) {
			d := newDatabase(t, inSQLite)
			busy := []target{d.rowsOfM(t), d.open(t)}
			other := busy[0]
			if where != "of one target" {
				other = d.open(t)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var working sync.WaitGroup
			for n, owner := range busy {
				working.Go(func() {
					for i := uint64(1); ctx.Err() == nil; i++ {
						to := at(uuid.UUID{1}, i, 0)
						to.Name = fmt.Sprint("busy ", n)
						err := owner.Update(ctx, to, func(ctx context.Context, tx transaction, after eventstore.Position) error {
							return errors.Join(insertRow(ctx, tx, after), sleep.For(ctx, 5*time.Millisecond))
						})
						if err != nil && ctx.Err() == nil && !errors.Is(err, eventstore.ErrUnavailable) {
							t.Error(err)
							return
						}
					}
				})
			}
			defer func() {
				cancel()
				working.Wait()
			}()
			began := time.Now()
			for i := uint64(1); i <= 20; i++ {
				require.Eventually(t, func() bool { return other.Update(t.Context(), at(uuid.UUID{1}, i, 0), insertRow) == nil }, soon, time.Millisecond)
			}
			t.Logf("20 updates beside a busy owner within %s", time.Since(began))
			require.Less(t, time.Since(began), 10*time.Second)
		})
	}
}

// SQLite ends the transaction at some errors, and would commit what follows by itself.
func TestWhatFollowsARollbackThatAFunctionPassesOverIsNotCommitted(t *testing.T) {
	const slow = `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000000) INSERT INTO rows_of_m SELECT max(x) FROM c`
	for name, ending := range map[string]func(context.Context, transaction) error{
		"a conflict that rolls back": func(ctx context.Context, tx transaction) error {
			return tx.exec(ctx, `INSERT OR ROLLBACK INTO rows_of_m VALUES (1), (1)`)
		},
		"a statement that is cut short": func(ctx context.Context, tx transaction) error {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			return tx.exec(ctx, slow)
		},
		"a rollback": func(ctx context.Context, tx transaction) error {
			return errors.Join(tx.exec(ctx, `ROLLBACK`), errors.New("rolled back"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, inSQLite)
			target, id := d.rowsOfM(t), uuid.New()
			d.exec(t, `CREATE UNIQUE INDEX once ON rows_of_m (n)`)
			update := func(f func(context.Context, transaction) error) error {
				return target.Update(t.Context(), at(id, 1, 0), func(ctx context.Context, tx transaction, _ eventstore.Position) error {
					return f(ctx, tx)
				})
			}
			for range 3 {
				require.Error(t, update(func(ctx context.Context, tx transaction) error {
					if err := ending(ctx, tx); err == nil {
						return errors.New("nothing was passed over")
					}
					return ignored(tx.exec(ctx, `INSERT INTO rows_of_m VALUES (7)`))
				}))
				require.Zero(t, d.number(t, `SELECT count(*) FROM rows_of_m`), "rows without a checkpoint")
			}
			require.NoError(t, update(func(ctx context.Context, tx transaction) error { return insertRow(ctx, tx, eventstore.Position{}) }))
			require.Equal(t, 1, d.number(t, `SELECT count(*) FROM rows_of_m`))
		})
	}
}

// Read committed sees what an earlier attempt has committed while this one worked, and
// fails at no serialisation that nobody asked for.
func TestAnUpdateIsReadCommittedWhateverTheDefaultIs(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		d.exec(t, `DO $$ BEGIN EXECUTE 'ALTER DATABASE "' || current_database() || '" SET default_transaction_isolation = ''serializable'''; END $$`)
		d.exec(t, `CREATE TABLE seen (level TEXT)`)
		target := d.rowsOfM(t)
		require.NoError(t, target.Update(t.Context(), at(uuid.New(), 1, 0), func(ctx context.Context, tx transaction, _ eventstore.Position) error {
			return tx.exec(ctx, `INSERT INTO seen VALUES (current_setting('transaction_isolation'))`)
		}))
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM seen WHERE level = 'read committed'`))
	})
}

// The application's own statements wait as long as before, on the same connections.
func TestAnUpdateLeavesTheBusyTimeoutAsItIs(t *testing.T) {
	d := newDatabase(t, inSQLite)
	leave := d.away(t)
	db := d.openDB(t)
	db.SetMaxOpenConns(1)
	target, err := sqldb.Open(t.Context(), db, sqldb.SQLite)
	require.NoError(t, err)
	timeout := func(row *sql.Row) {
		t.Helper()
		var milliseconds int
		require.NoError(t, row.Scan(&milliseconds))
		require.Equal(t, 20, milliseconds)
	}
	update := func() error {
		return target.Update(t.Context(), at(uuid.UUID{1}, 1, 0), func(ctx context.Context, tx *sql.Tx, _ eventstore.Position) error {
			timeout(tx.QueryRowContext(ctx, `PRAGMA busy_timeout`))
			return nil
		})
	}
	back := leave()
	require.ErrorIs(t, update(), eventstore.ErrUnavailable)
	timeout(db.QueryRowContext(t.Context(), `PRAGMA busy_timeout`))
	back()
	require.NoError(t, update())
	timeout(db.QueryRowContext(t.Context(), `PRAGMA busy_timeout`))
}
