package projection_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
	"github.com/switchyard-dev/switchyard/projection"
)

// goOver lets the readers of the view m go over to a table.
func goOver(table string) func(context.Context, transaction) error {
	return func(ctx context.Context, tx transaction) error {
		return errors.Join(tx.exec(ctx, `DROP VIEW IF EXISTS m`), tx.exec(ctx, `CREATE VIEW m AS SELECT sum(events) AS n FROM `+table))
	}
}

// run runs a subscription until the test ends.
func run(t *testing.T, store *eventstore.Store, sub eventstore.Subscription) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := store.Run(ctx, sub); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func TestNoReaderSeesAModelGoBackAtASwapUnderWriters(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, older, newer := newStore(t), d.open(t), d.open(t)
		d.balances(t, "v1")
		d.balances(t, "v2")
		d.exec(t, `CREATE VIEW m AS SELECT sum(events) AS n FROM v1`)
		for range 200 {
			deposit(t, store, 1, 1)
		}
		run(t, store, projection.New(older, "m-v1", deposits(), count("v1")))
		require.NoError(t, projection.WaitFor(t.Context(), older, "m-v1", deposit(t, store, 1, 1)))

		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		var working sync.WaitGroup
		for i := range 2 {
			working.Go(func() {
				for ctx.Err() == nil {
					_, err := store.Append(ctx, fmt.Sprintf("account-%d", i), eventstore.Any(), eventstore.Event{Type: "Deposited", Data: []byte(`{"cents":1}`)})
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					_ = pause(ctx)
				}
			})
		}
		for range 2 {
			db := d.openDB(t)
			working.Go(func() { watch(ctx, t, db) })
		}
		run(t, store, projection.New(newer, "m-v2", deposits(), count("v2")))
		began := time.Now()
		require.NoError(t, newer.Swap(ctx, "m-v1", "m-v2", goOver("v2")))
		require.Less(t, time.Since(began), 5*time.Second)
		t.Logf("swapped within %s", time.Since(began))

		// The old one goes on, and so does what readers see.
		last := deposit(t, store, 1, 1)
		require.NoError(t, projection.WaitFor(ctx, older, "m-v1", last))
		require.NoError(t, projection.WaitFor(ctx, newer, "m-v2", last))
		cancel()
		working.Wait()
		require.GreaterOrEqual(t, d.number(t, `SELECT n FROM m`), 202)
	})
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(4 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// watch reads the view again and again.
func watch(ctx context.Context, t *testing.T, db *sql.DB) {
	for last := 0; ctx.Err() == nil; _ = pause(ctx) {
		var n int
		err := db.QueryRowContext(ctx, `SELECT n FROM m`).Scan(&n)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			t.Errorf("read: %v", err)
			return
		case n < last:
			t.Errorf("a reader saw %d events after %d", n, last)
			return
		}
		last = n
	}
}

// Its check is made where the old model cannot move, not before.
func TestASwapIsMadeOnlyWhereBothAreLevel(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		save := func(name string, position uint64) {
			to := at(store, position, 0)
			to.Name = name
			require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: to}))
		}
		save("old", 5)
		save("new", 4)
		swaps := 0
		swap := func(context.Context, transaction) error {
			swaps++
			return nil
		}
		for patience := 300 * time.Millisecond; ; patience *= 2 { // in less a slow machine may not have asked where they are
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err := target.Swap(ctx, "old", "new", swap)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Zero(t, swaps)
			if errors.Is(err, projection.ErrBehind) {
				break
			}
			require.Less(t, patience, soon, "it does not say that the new one is behind: %v", err)
		}
		save("new", 5)
		require.NoError(t, target.Swap(t.Context(), "old", "new", swap))
		require.Equal(t, 1, swaps)
		onwards := at(store, 6, 0)
		onwards.Name = "old"
		require.NoError(t, target.Update(t.Context(), onwards, insertRow), "it is not held any more")
	})
}

// An update of the old model may be under way when it is held still, and commit then.
func TestTheOldModelDoesNotMoveInTheSwap(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		target, other, store := d.rowsOfM(t), d.open(t), uuid.New()
		save := func(position uint64) {
			level := at(store, position, 0)
			level.Name = "new"
			require.NoError(t, other.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: level}))
		}
		require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: at(store, 5, 0)}))
		save(5)
		where := func(name string) eventstore.Position {
			stored, err := other.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
			require.NoError(t, err)
			return stored.Checkpoint.Place.Position
		}
		swapped, inSwap := make(chan error, 1), make(chan struct{}, 10)
		require.NoError(t, target.Update(t.Context(), at(store, 6, 0), func(ctx context.Context, tx transaction, after eventstore.Position) error {
			go func() {
				swapped <- other.Swap(t.Context(), "m", "new", func(ctx context.Context, _ transaction) error {
					inSwap <- struct{}{}
					before := where("m")
					pauseFor(ctx, 300*time.Millisecond) // and the update is at its end
					assert.Equal(t, before, where("m"), "the old model moved")
					assert.False(t, where("new").Before(before))
					return nil
				})
			}()
			<-inSwap
			return insertRow(ctx, tx, after)
		}))
		require.NoError(t, <-swapped)
		require.Equal(t, eventstore.NewPosition(6, 0), where("m"), "it went on after the swap")
	})
}

// It may move between the moment in which both were level and the swap's transaction.
func TestASwapLooksAgainInItsTransaction(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		direct, store := d.rowsOfM(t), uuid.New()
		save := func(name string, position uint64) {
			to := at(store, position, 0)
			to.Name = name
			assert.NoError(t, direct.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: to}))
		}
		where := func(name string) eventstore.Position {
			stored, err := direct.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
			assert.NoError(t, err)
			return stored.Checkpoint.Place.Position
		}
		save("m", 5)
		save("new", 5)
		proxy := d.behindProxy(t)
		through := d.open(t)
		var held, moved atomic.Bool
		proxy.SetRule(func() tcpproxy.Rule {
			return func(from tcpproxy.Side, chunk []byte) tcpproxy.Verdict {
				switch {
				case from != tcpproxy.FromClient:
				case bytes.Contains(chunk, []byte("SET held_until")):
					held.Store(true)
				case bytes.Contains(chunk, []byte("begin")) && held.Load() && moved.CompareAndSwap(false, true):
					save("m", 6) // the transaction that is about to begin finds it so
				}
				return tcpproxy.Pass()
			}
		})
		swapped := make(chan error, 1)
		go func() {
			swapped <- through.Swap(t.Context(), "m", "new", func(context.Context, transaction) error {
				assert.Equal(t, where("m"), where("new"), "both are level in the swap")
				return nil
			})
		}()
		require.Eventually(t, moved.Load, soon, time.Millisecond)
		pauseFor(t.Context(), 100*time.Millisecond) // a swap that does not look is made now
		save("new", 6)
		require.NoError(t, <-swapped)
	})
}

func pauseFor(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

func TestASwapThatFailsLeavesTheOldModelFree(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		level := at(store, 5, 0)
		level.Name = "new"
		require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: at(store, 5, 0)}))
		require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: level}))
		failure := errors.New("no such view")
		err := target.Swap(t.Context(), "m", "new", func(ctx context.Context, tx transaction) error {
			return errors.Join(insertRow(ctx, tx, eventstore.Position{}), failure)
		})
		require.ErrorIs(t, err, failure)
		require.Zero(t, d.number(t, `SELECT count(*) FROM rows_of_m`))
		require.NoError(t, target.Update(t.Context(), at(store, 6, 0), insertRow), "it is not held any more")
	})
}

// A time that swap has set itself is its own, also where it is longer than the hold.
func TestASwapFunctionThatIsOutOfItsTimeIsNotCalledAgain(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		for _, name := range []string{"m", "new"} {
			checkpoint := at(store, 5, 0)
			checkpoint.Name = name
			require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}))
		}
		calls := 0
		err := target.Swap(t.Context(), "m", "new", func(ctx context.Context, _ transaction) error {
			calls++
			ctx, cancel := context.WithTimeout(ctx, 2200*time.Millisecond)
			defer cancel()
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, calls)
	})
}

// The process of a swap may die while it holds the old model.
func TestAHoldEndsByItself(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: at(store, 5, 0)}))
		clock := `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`
		if d.kind != inSQLite {
			clock = `CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)`
		}
		d.exec(t, `UPDATE switchyard_checkpoints SET held_until = `+clock+` + 3600000`)
		err := target.Update(t.Context(), at(store, 6, 0), insertRow)
		require.ErrorIs(t, err, eventstore.ErrUnavailable, "waited out, and not the event's failure")
		require.ErrorContains(t, err, `read model "m" is held still`)
		d.exec(t, `UPDATE switchyard_checkpoints SET held_until = `+clock+` + 500`)
		require.Eventually(t, func() bool { return target.Update(t.Context(), at(store, 6, 0), insertRow) == nil }, soon, 10*time.Millisecond)
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}

func TestASwapRefusesBadInputAndSaysWhatIsRight(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.open(t), uuid.New()
		foreign := at(uuid.New(), 5, 0)
		foreign.Name = "foreign"
		behind := at(foreign.Store, 3, 0)
		behind.Name = "foreign and behind"
		for _, c := range []eventstore.Checkpoint{at(store, 5, 0), foreign, behind} {
			require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: c}))
		}
		nothing := func(context.Context, transaction) error { return nil }
		for _, test := range []struct {
			from, to string
			is       error
			want     string
		}{
			{"", "m", eventstore.ErrInvalid, "invalid from: it has 0 bytes"},
			{"m", "", eventstore.ErrInvalid, "invalid to: it has 0 bytes"},
			{"m", "m", eventstore.ErrInvalid, `invalid to: it is "m", as from is; run the new version under a name of its own`},
			{"x", "m", eventstore.ErrInvalid, `invalid from: there is no checkpoint of "x", and nobody runs it; name the read model that readers use now`},
			{"m", "x", eventstore.ErrInvalid, `invalid to: there is no checkpoint of "x", and nobody runs it; run the new version first`},
			{"m", "foreign and behind", eventstore.ErrForeignCheckpoint, "belongs to store"},
			{"m", "foreign", eventstore.ErrForeignCheckpoint, "belongs to store"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			err := target.Swap(ctx, test.from, test.to, nothing)
			cancel()
			require.NotErrorIs(t, err, context.DeadlineExceeded, "it is told at once")
			require.ErrorIs(t, err, test.is)
			require.ErrorContains(t, err, test.want)
		}
	})
}

// In a store without events, as where an application starts for the first time, read
// models run and have no checkpoint yet.
func TestASwapOfReadModelsThatHaveMetNoEventIsMade(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "v1")
		d.balances(t, "v2")
		run(t, store, projection.New(target, "m-v1", deposits(), count("v1")))
		run(t, store, projection.New(target, "m-v2", deposits(), count("v2")))
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		require.NoError(t, target.Swap(ctx, "m-v1", "m-v2", goOver("v2")))
		require.NoError(t, projection.WaitFor(ctx, target, "m-v1", deposit(t, store, 1, 1)), "it is not held any more")
	})
}

// A swap that did not get through, as at a deadlock with a reader, is made again.
func TestASwapThatFailsForAReasonThatPassesIsMadeAgain(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		for _, name := range []string{"m", "new"} {
			checkpoint := at(store, 5, 0)
			checkpoint.Name = name
			require.NoError(t, target.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}))
		}
		calls := 0
		require.NoError(t, target.Swap(t.Context(), "m", "new", func(ctx context.Context, tx transaction) error {
			if calls++; calls == 1 && d.kind == inSQLite {
				return errors.Join(insertRow(ctx, tx, eventstore.Position{}), fmt.Errorf("%w: the file is busy", eventstore.ErrUnavailable))
			} else if calls == 1 {
				return errors.Join(insertRow(ctx, tx, eventstore.Position{}), tx.exec(ctx, `DO $$ BEGIN RAISE EXCEPTION 'held' USING errcode = '40P01'; END $$`))
			}
			return insertRow(ctx, tx, eventstore.Position{})
		}))
		require.Equal(t, 2, calls)
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}
