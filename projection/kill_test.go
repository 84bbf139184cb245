package projection_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/internal/testscale"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// Owners of one read model are killed in the middle of their updates, again and again,
// while events are appended. What they leave adds up to the log. One in two applies the
// events of a batch together.
func TestKilledOwnersLeaveSumsThatEqualTheLog(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		path := filepath.Join(t.TempDir(), "events.db")
		backend, err := sqlite.Open(t.Context(), path, nil)
		require.NoError(t, err)
		store, err := eventstore.New(backend, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		d.balances(t, "balances")
		lines := make(chan ownertest.Line, 1<<16)
		owners, batched := make(map[*ownertest.Process]bool), false
		start := func() {
			argument := strings.Join([]string{d.kind, d.url, path, strconv.FormatBool(batched)}, "|")
			owners[ownertest.Start(t, "project", argument, lines)] = true
			batched = !batched
		}
		start()
		start()
		const seed = 7
		chance := rand.New(rand.NewPCG(seed, 0))
		sums, events := make(map[string]int64), 0
		kills := testscale.Of(t, "kills", 12, 4)
		for range kills {
			for range 30 + chance.IntN(60) {
				account, cents := chance.IntN(5), chance.Int64N(1000)
				deposit(t, store, account, cents)
				sums[fmt.Sprintf("account-%d", account)] += cents
				events++
			}
			owner := working(t, lines, owners)
			require.NoError(t, sleep.For(t.Context(), time.Duration(chance.IntN(20_000))*time.Microsecond))
			require.NoError(t, owner.Process.Kill())
			delete(owners, owner)
			start()
		}
		require.Eventually(t, func() bool {
			var n sql.NullInt64
			err := d.db.QueryRowContext(t.Context(), `SELECT sum(events) FROM balances`).Scan(&n)
			return err == nil && n.Int64 >= int64(events)
		}, 2*soon, 20*time.Millisecond, "the last owner does not arrive")
		require.Equal(t, events, d.number(t, `SELECT sum(events) FROM balances`))
		for account, sum := range sums {
			require.EqualValues(t, sum, d.number(t, `SELECT cents FROM balances WHERE account = '`+account+`'`), account)
		}
		t.Logf("%d kills, %d events, none lost and none twice", kills, events)
	})
}

// working waits until one of the owners handles an event.
func working(t *testing.T, lines <-chan ownertest.Line, owners map[*ownertest.Process]bool) *ownertest.Process {
	t.Helper()
	deadline := time.After(2 * soon)
	for {
		select {
		case line := <-lines:
			if owners[line.By] && line.Word == "handling" {
				return line.By
			}
		case <-deadline:
			require.FailNow(t, "nobody takes over")
		}
	}
}

// play is the part of an owner, in a process of its own.
func play(argument string) int {
	if err := own(context.Background(), strings.Split(argument, "|")); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

func own(ctx context.Context, arguments []string) error {
	kind, url, path, batched := arguments[0], arguments[1], arguments[2], arguments[3] == "true"
	backend, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	store, err := eventstore.New(backend, nil)
	if err != nil {
		return err
	}
	if kind == inPgx {
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return err
		}
		target, err := pgxdb.Open(ctx, pool)
		if err != nil {
			return err
		}
		return runSlowly(ctx, store, erased[pgx.Tx]{target, erasePgx}, batched)
	}
	name, dialect := "sqlite", sqldb.SQLite
	if kind == inSQL {
		name, dialect = "pgx", sqldb.PostgreSQL
	}
	db, err := sql.Open(name, url)
	if err != nil {
		return err
	}
	target, err := sqldb.Open(ctx, db, dialect)
	if err != nil {
		return err
	}
	return runSlowly(ctx, store, erased[*sql.Tx]{target, eraseSQL}, batched)
}

func runSlowly(ctx context.Context, store *eventstore.Store, target target, batched bool) error {
	slowly := func(ctx context.Context, at eventstore.RecordedEvent, add func() error) error {
		if _, err := fmt.Println("handling", at.Position); err != nil {
			return err
		}
		if err := add(); err != nil {
			return err
		}
		return sleep.For(ctx, time.Millisecond)
	}
	add, addAll := count("balances"), countAll("balances")
	sub := projection.New(target, "balances-v1", deposits(), func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
		return slowly(ctx, at, func() error { return add(ctx, tx, e, at) })
	})
	if batched {
		sub = projection.NewBatched(target, "balances-v1", deposits(), func(ctx context.Context, tx transaction, events []codec.Decoded[deposited]) error {
			return slowly(ctx, events[0].Recorded, func() error { return addAll(ctx, tx, events) })
		})
	}
	sub.LeaseTTL = 300 * time.Millisecond
	_, err := fmt.Fprintln(os.Stdout, "ready")
	if err != nil {
		return err
	}
	return store.Run(ctx, sub)
}
