package projection_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
	"github.com/switchyard-dev/switchyard/projection"
)

// behindProxy has targets that are opened from now on reach the server through a proxy.
func (d *database) behindProxy(t *testing.T) (proxy *tcpproxy.Proxy) {
	proxy, d.url = tcpproxy.ForURL(t, d.url)
	return proxy
}

// once has a rule cut one connection only.
func once(rule func() tcpproxy.Rule) (_ func() tcpproxy.Rule, cut *atomic.Bool) {
	cut = new(atomic.Bool)
	return func() tcpproxy.Rule {
		inner := rule()
		return func(from tcpproxy.Side, chunk []byte) tcpproxy.Verdict {
			verdict := inner(from, chunk)
			if verdict.Cut != tcpproxy.None && !cut.CompareAndSwap(false, true) {
				return tcpproxy.Pass()
			}
			return verdict
		}
	}, cut
}

func TestACommitWhoseAnswerIsLostCountsOnce(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		store, proxy := newStore(t), d.behindProxy(t)
		d.balances(t, "balances")
		target := d.open(t)
		calls := 0
		add := count("balances")
		sub := projection.New(target, "m", deposits(), func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			calls++
			if calls == 1 { // the commit that follows
				rule, _ := once(tcpproxy.OnAnswer(tcpproxy.Contains("commit\x00"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
				proxy.SetRule(rule)
			}
			return add(ctx, tx, e, at)
		})
		sub.UntilCaughtUp, sub.Retry.Attempts = true, 1
		deposit(t, store, 1, 5)
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, 1, proxy.Cuts(), "an answer was lost")
		require.Equal(t, 1, calls, "the next attempt finds the checkpoint")
		require.Equal(t, 1, d.number(t, `SELECT events FROM balances`))
	})
}

func TestAnUpdateSaysThatItsOutcomeMayBeUnknown(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		target, store := d.rowsOfM(t), uuid.New()
		_ = target
		proxy := d.behindProxy(t)
		target = d.open(t)
		rule, _ := once(tcpproxy.OnAnswer(tcpproxy.Contains("commit\x00"), tcpproxy.Verdict{Cut: tcpproxy.Reset, Forward: false}))
		proxy.SetRule(rule)
		err := target.Update(t.Context(), at(store, 1, 0), insertRow)
		require.ErrorIs(t, err, eventstore.ErrUnavailable, "it is asked again")
		require.ErrorContains(t, err, "commit")
		require.NoError(t, target.Update(t.Context(), at(store, 1, 0), insertRow))
		require.Equal(t, 1, d.number(t, `SELECT count(*) FROM rows_of_m`))
	})
}

// A database that is away is the world's failure: it is waited out and not counted, and
// nothing is parked.
func TestADatabaseThatIsAwayForTwoSecondsIsWaitedOut(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		var log bytes.Buffer
		store, err := eventstore.New(memory.New(), &eventstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		d.balances(t, "balances")
		leave := d.away(t)
		target := d.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sub := projection.New(target, "m", deposits(), count("balances"))
		sub.Retry.Attempts, sub.ParkStream = 1, "parked"
		done := make(chan error, 1)
		go func() { done <- store.Run(ctx, sub) }()
		require.NoError(t, projection.WaitFor(ctx, target, "m", deposit(t, store, 1, 1)))

		back := leave()
		var last eventstore.Position
		for range 20 {
			last = deposit(t, store, 1, 1)
		}
		began := time.Now()
		time.AfterFunc(2*time.Second, back)
		waiting, stop := context.WithTimeout(ctx, soon)
		defer stop()
		require.NoError(t, projection.WaitFor(waiting, target, "m", last), "it waits for the target too")
		require.Greater(t, time.Since(began), time.Second)
		require.Equal(t, 21, d.number(t, `SELECT events FROM balances`))
		parked, err := store.StreamVersion(t.Context(), "parked")
		require.NoError(t, err)
		require.Zero(t, parked)
		cancel()
		require.NoError(t, <-done)
		require.Contains(t, log.String(), "handler waits for what it needs", "it was met")
		require.NotContains(t, log.String(), "handler failed")
	})
}

// away returns a function that takes the database away, and gives it back.
func (d *database) away(t *testing.T) (leave func() (back func())) {
	if d.kind == inSQLite {
		d.url = d.url[:len(d.url)-len("?_pragma=busy_timeout(5000)")] + "?_pragma=busy_timeout(20)"
		locker := d.openDB(t)
		locker.SetMaxOpenConns(1)
		exec := func(query string) {
			if _, err := locker.ExecContext(context.Background(), query); err != nil {
				t.Error(err)
			}
		}
		return func() func() {
			require.Eventually(t, func() bool {
				_, err := locker.ExecContext(t.Context(), `BEGIN EXCLUSIVE`) // nobody reads or writes
				return err == nil
			}, soon, time.Millisecond)
			return func() { exec(`ROLLBACK`) }
		}
	}
	proxy := d.behindProxy(t)
	return func() func() {
		proxy.Down()
		return proxy.Up
	}
}

// What the database says of a lock or a lost connection in the application's own
// statements is not the event's failure either.
func TestATransientErrorInAFunctionIsNotTheEventsFailure(t *testing.T) {
	for name, code := range map[string]string{"a lock": "55P03", "a deadlock": "40P01", "a serialisation": "40001"} {
		t.Run(name, func(t *testing.T) {
			inPostgreSQL(t, func(t *testing.T, d *database) {
				target, store := d.rowsOfM(t), uuid.New()
				err := target.Update(t.Context(), at(store, 1, 0), func(ctx context.Context, tx transaction, _ eventstore.Position) error {
					return tx.exec(ctx, `DO $$ BEGIN RAISE EXCEPTION 'held' USING errcode = '`+code+`'; END $$`)
				})
				require.ErrorIs(t, err, eventstore.ErrUnavailable)
				require.ErrorContains(t, err, "held")
			})
		})
	}
	t.Run("a lost connection", func(t *testing.T) {
		inPostgreSQL(t, func(t *testing.T, d *database) {
			d.rowsOfM(t)
			proxy := d.behindProxy(t)
			target := d.open(t)
			lost := errors.New("the driver's own words")
			err := target.Update(t.Context(), at(uuid.New(), 1, 0), func(ctx context.Context, tx transaction, after eventstore.Position) error {
				proxy.CutAll(tcpproxy.Reset)
				require.Error(t, insertRow(ctx, tx, after))
				return lost
			})
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
			require.ErrorIs(t, err, lost)
		})
	})
	t.Run("an error of the event's own", func(t *testing.T) {
		inEach(t, func(t *testing.T, d *database) {
			target := d.rowsOfM(t)
			for name, f := range map[string]func(context.Context, transaction) error{
				"of the function":  func(context.Context, transaction) error { return errors.New("no such account") },
				"of the statement": func(ctx context.Context, tx transaction) error { return tx.exec(ctx, `INSERT INTO nowhere VALUES (1)`) },
			} {
				err := target.Update(t.Context(), at(uuid.New(), 1, 0), func(ctx context.Context, tx transaction, _ eventstore.Position) error { return f(ctx, tx) })
				require.Error(t, err, name)
				require.NotErrorIs(t, err, eventstore.ErrUnavailable, name)
			}
		})
	})
}

// An update that meets another writer of the file waits outside, or is told that the
// file is busy. It is never undone halfway.
func TestABusyFileIsUnavailableBeforeAnythingIsDone(t *testing.T) {
	d := newDatabase(t, inSQLite)
	d.rowsOfM(t)
	leave := d.away(t)
	target := d.open(t)
	back := leave()
	called := false
	err := target.Update(t.Context(), at(uuid.New(), 1, 0), func(context.Context, transaction, eventstore.Position) error {
		called = true
		return nil
	})
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.False(t, called)
	back()
	require.NoError(t, target.Update(t.Context(), at(uuid.New(), 1, 0), insertRow))
}
