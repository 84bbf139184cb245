package projection_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
)

// takesWrites has the server take writes or refuse them, as a standby does before it is
// promoted, and cuts its connections off.
func (d *database) takesWrites(t *testing.T, writes bool) {
	t.Helper()
	setting := "on"
	if writes {
		setting = "off"
	}
	d.exec(t, `DO $$ BEGIN SET TRANSACTION READ WRITE; EXECUTE 'ALTER DATABASE "' || current_database() || '" SET default_transaction_read_only = `+setting+`'; END $$`)
	d.exec(t, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

func TestAServerThatTakesNoWritesIsWaitedOutAndNoEventIsBlamed(t *testing.T) {
	for name, before := range map[string]bool{"from the start": true, "in the middle": false} {
		t.Run(name, func(t *testing.T) {
			inPostgreSQL(t, func(t *testing.T, d *database) {
				store, target := newStore(t), d.open(t)
				d.balances(t, "balances")
				if before {
					d.takesWrites(t, false)
				}
				refused := make(chan struct{}, 1)
				sub := projection.New(target, "m", deposits(), count("balances"))
				sub.ParkStream, sub.Retry.Attempts = "parked", 1
				noted := noting{target, refused}
				sub.Checkpoints = noted
				apply := sub.HandleBatch
				sub.HandleBatch = func(ctx context.Context, batch eventstore.Batch) error { return noted.note(apply(ctx, batch)) }
				run(t, store, sub)
				if !before {
					require.NoError(t, projection.WaitFor(t.Context(), target, "m", deposit(t, store, 1, 1)))
					d.takesWrites(t, false)
				}
				deposit(t, store, 1, 1)
				last := deposit(t, store, 1, 1)
				for range 5 {
					select {
					case <-refused:
					case <-time.After(soon):
						t.Fatal("Run does not try again")
					}
				}
				d.takesWrites(t, true)
				require.NoError(t, projection.WaitFor(t.Context(), target, "m", last))
				require.Empty(t, parked(t, store))
			})
		})
	}
}

// noting tells of the errors that Run is given.
type noting struct {
	eventstore.Checkpoints
	refused chan struct{}
}

func (n noting) note(err error) error {
	if err != nil {
		select {
		case n.refused <- struct{}{}:
		default:
		}
	}
	return err
}

func (n noting) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	result, err := n.Checkpoints.SwapLease(ctx, req)
	return result, n.note(err)
}

// What was parked before a crash, and not passed by a checkpoint, is the next Run's to
// pass over and its retry's to apply.
func TestAnEventThatWasParkedBeforeACrashCountsOnceWhenRetried(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		sub := caughtUp(target, "m", count("balances"))
		sub.ParkStream, sub.Retry.Attempts = "parked", 1
		deposit(t, store, 1, 1)
		require.NoError(t, store.Run(t.Context(), sub))
		d.backup(t)
		deposit(t, store, 1, 1)
		d.exec(t, `ALTER TABLE balances RENAME TO away`)
		require.NoError(t, store.Run(t.Context(), sub))
		require.Len(t, parked(t, store), 1)
		d.exec(t, `ALTER TABLE away RENAME TO balances`)
		d.goBack(t)
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, 1, d.number(t, `SELECT events FROM balances`), "it is parked")
		events, err := store.ParkedEvents(t.Context(), "parked")
		require.NoError(t, err)
		require.NoError(t, store.RetryParked(t.Context(), "parked", events...))
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, 2, d.number(t, `SELECT events FROM balances`))
	})
}
