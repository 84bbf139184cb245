package projection_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/projection"
)

// backup takes what goBack brings back: rows of balances and checkpoints, in step.
func (d *database) backup(t *testing.T) {
	t.Helper()
	d.exec(t, `CREATE TABLE backup_c AS SELECT * FROM switchyard_checkpoints`)
	d.exec(t, `CREATE TABLE backup_b AS SELECT * FROM balances`)
}

// goBack makes the database what it was at the backup, as a restore or a failover does.
// The lease stays, so that its renewal does not tell.
func (d *database) goBack(t *testing.T) {
	t.Helper()
	tx, err := d.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for _, query := range []string{
		`UPDATE switchyard_checkpoints SET
			store = (SELECT b.store FROM backup_c b WHERE b.name = switchyard_checkpoints.name),
			position = (SELECT b.position FROM backup_c b WHERE b.name = switchyard_checkpoints.name),
			stream = (SELECT b.stream FROM backup_c b WHERE b.name = switchyard_checkpoints.name),
			version = (SELECT b.version FROM backup_c b WHERE b.name = switchyard_checkpoints.name),
			event = (SELECT b.event FROM backup_c b WHERE b.name = switchyard_checkpoints.name)`,
		`DELETE FROM balances`, `INSERT INTO balances SELECT * FROM backup_b`,
	} {
		_, err := tx.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
}

func TestADatabaseThatWentBackLosesNoEvents(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, store *eventstore.Store) (at eventstore.Position, counts int){
		"and the next event is the model's": func(t *testing.T, store *eventstore.Store) (eventstore.Position, int) {
			return deposit(t, store, 1, 1), 1
		},
		"and the next event is not its own": func(t *testing.T, store *eventstore.Store) (eventstore.Position, int) {
			result, err := store.Append(t.Context(), "other-1", eventstore.Any(), eventstore.Event{Type: "Other", Data: []byte(`{}`)})
			require.NoError(t, err)
			return result.Position, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, d *database) {
				store, target := newStore(t), d.open(t)
				d.balances(t, "balances")
				sub := projection.New(target, "m", deposits(), count("balances"))
				sub.CheckpointInterval = 10 * time.Millisecond
				run(t, store, sub)
				total := 0
				add := func(n int) {
					var last eventstore.Position
					for range n {
						last = deposit(t, store, 1, 1)
						total++
					}
					require.NoError(t, projection.WaitFor(t.Context(), target, "m", last))
				}
				add(6)
				d.backup(t)
				add(5)
				d.goBack(t)
				position, counts := next(t, store)
				total += counts
				require.NoError(t, projection.WaitFor(t.Context(), target, "m", position))
				require.Equal(t, total, d.number(t, `SELECT events FROM balances`))
				add(1)
				require.Equal(t, total, d.number(t, `SELECT events FROM balances`), "it goes on")
			})
		})
	}
}

func TestADatabaseThatWentBackBeforeTheFirstBatchLosesNoEvents(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		sub := projection.New(target, "m", deposits(), count("balances"))
		sub.UntilCaughtUp = true
		deposit(t, store, 1, 1)
		require.NoError(t, store.Run(t.Context(), sub))
		d.backup(t)
		deposit(t, store, 1, 1)
		require.NoError(t, store.Run(t.Context(), sub))
		deposit(t, store, 1, 1)
		again, handle, batches := sub, sub.HandleBatch, 0
		again.HandleBatch = func(ctx context.Context, batch eventstore.Batch) error {
			if batches++; batches == 1 {
				d.goBack(t)
			}
			return handle(ctx, batch)
		}
		require.NoError(t, store.Run(t.Context(), again))
		require.Equal(t, 3, d.number(t, `SELECT events FROM balances`))
	})
}

// A reset by hand looks alike, and is no lost commit: the next owner begins there.
func TestAReadModelThatIsResetByHandGoesOnFromThere(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		run(t, store, projection.New(target, "m", deposits(), count("balances")))
		deposit(t, store, 1, 1)
		require.NoError(t, projection.WaitFor(t.Context(), target, "m", deposit(t, store, 1, 1)))
		require.NoError(t, target.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "m"}))
		require.NoError(t, projection.WaitFor(t.Context(), target, "m", deposit(t, store, 1, 1)))
		require.Equal(t, 5, d.number(t, `SELECT events FROM balances`), "two before and three since")
	})
}

// Commits that are not awaited are usual for read models.
func TestAServerThatCrashesWithSynchronousCommitOffLosesNoEvents(t *testing.T) {
	p := testservers.PrivatePostgres(t, testservers.PostgresOptions{Settings: map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s"}})
	d := &database{kind: inPgx, driver: "pgx", url: p.Database(t)}
	d.db = d.openDB(t)
	store, target := newStore(t), d.open(t)
	d.balances(t, "balances")
	sub := projection.New(target, "m", deposits(), count("balances"))
	sub.LeaseTTL = time.Second
	run(t, store, sub)
	require.NoError(t, projection.WaitFor(t.Context(), target, "m", deposit(t, store, 1, 1)))
	d.exec(t, `CHECKPOINT`)
	for range 10 {
		require.NoError(t, projection.WaitFor(t.Context(), target, "m", deposit(t, store, 1, 1)))
	}
	require.NoError(t, p.Kill())
	require.NoError(t, p.Start(t.Context()))
	require.Eventually(t, func() bool { return d.db.PingContext(t.Context()) == nil }, soon, time.Millisecond)
	t.Logf("after the crash: %d", d.number(t, `SELECT events FROM balances`))
	last := deposit(t, store, 1, 1)
	require.Eventually(t, func() bool {
		var events sql.NullInt64
		err := d.db.QueryRowContext(t.Context(), `SELECT events FROM balances`).Scan(&events)
		return !errors.Is(err, sql.ErrConnDone) && events.Int64 == 12
	}, soon, 10*time.Millisecond)
	require.NoError(t, projection.WaitFor(t.Context(), target, "m", last))
	require.Equal(t, 12, d.number(t, `SELECT events FROM balances`))
}
