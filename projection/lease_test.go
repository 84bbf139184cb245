package projection_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/projection"
)

// The lease is in the row that an update writes, and in SQLite behind the file's only
// write lock. It is renewed all the same, or the owner would lose it each time.
func TestAFunctionMayWorkForLongerThanTheLeaseLasts(t *testing.T) {
	for name, fail := range map[string]error{"and commits": nil, "and fails at first": errors.New("not now")} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, d *database) {
				// A machine that is busy for as long as a lease lasts takes it from its owner.
				// A longer lease is then tried: that it is lost each time is no accident.
				var calls int
				for _, ttl := range []time.Duration{time.Second, 4 * time.Second, 16 * time.Second} {
					var epoch uint64
					if calls, epoch = d.worksFor(t, 2*ttl, ttl, fail); epoch == 1 {
						break
					}
					t.Logf("a lease of %s was lost", ttl)
					require.Less(t, ttl, 16*time.Second, "it always loses its lease")
				}
				want := 1
				if fail != nil {
					want = 2
				}
				require.Equal(t, want, calls)
			})
		})
	}
}

// worksFor runs a read model whose function takes a while, the first two times, and may
// fail the first time. It returns how often that was called, and the lease's last epoch.
func (d *database) worksFor(t *testing.T, while, ttl time.Duration, fail error) (calls int, epoch uint64) {
	t.Helper()
	store, target := newStore(t), d.open(t)
	name := "slow_" + ttl.String()
	d.balances(t, name)
	position := deposit(t, store, 1, 5)
	add := count(name)
	sub := projection.New(target, name, deposits(), func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
		if err := add(ctx, tx, e, at); err != nil {
			return err
		}
		if calls++; calls > 2 {
			return nil
		}
		if err := sleep.For(ctx, while); err != nil {
			return err
		}
		if calls == 1 {
			return fail
		}
		return nil
	})
	sub.LeaseTTL, sub.UntilCaughtUp, sub.Retry.Pause = ttl, true, time.Millisecond
	require.NoError(t, store.Run(t.Context(), sub))
	require.NoError(t, projection.WaitFor(t.Context(), target, name, position))
	require.Equal(t, 1, d.number(t, `SELECT events FROM `+name))
	stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
	require.NoError(t, err)
	return calls, stored.Checkpoint.Epoch
}

// An owner that is at work does not hold up who only wants to know.
func TestOthersCanAskWhoHasTheLeaseWhileAFunctionWorks(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target, other := d.rowsOfM(t), d.open(t)
		take(t, target, 1)
		err := target.Update(t.Context(), at([16]byte{1}, 1, 1), func(ctx context.Context, tx transaction, after eventstore.Position) error {
			if err := insertRow(ctx, tx, after); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, soon)
			defer cancel()
			asked, err := other.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: "m", New: eventstore.Lease{Name: "m", Epoch: 1, Owner: "other"}})
			require.Equal(t, "o", asked.Lease.Owner)
			require.False(t, asked.Swapped)
			return err
		})
		require.NoError(t, err)
	})
}

// A lease that changes hands in this process while a function works ends its update,
// wherever the lease is kept meanwhile.
func TestAnUpdateWhoseLeaseIsTakenMeanwhileChangesNothing(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		target := d.rowsOfM(t)
		take(t, target, 1)
		next := eventstore.Lease{Name: "m", Epoch: 2, Owner: "next", TTL: time.Minute}
		err := target.Update(t.Context(), at([16]byte{1}, 1, 1), func(ctx context.Context, tx transaction, after eventstore.Position) error {
			taken, err := target.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: "m", Old: eventstore.Lease{Name: "m", Epoch: 1, Owner: "o"}, New: next})
			require.True(t, taken.Swapped)
			return errors.Join(err, insertRow(ctx, tx, after))
		})
		require.ErrorIs(t, err, eventstore.ErrLeaseLost)
		require.Zero(t, d.number(t, `SELECT count(*) FROM rows_of_m`))
		stored, err := d.open(t).SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "m"})
		require.NoError(t, err)
		require.Equal(t, next, stored.Lease, "what was told is stored")
	})
}

// Two that are slow take a pool of two in turns, and leave a connection over which their
// leases are renewed.
func TestReadModelsLeaveAConnectionToTheirLeases(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		d.mostConnections = 2
		store, target := newStore(t), d.open(t)
		const ttl = time.Second
		names := []string{"first", "second"}
		for _, name := range names {
			d.balances(t, name)
			add := count(name)
			sub := projection.New(target, name, deposits(), func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
				return errors.Join(add(ctx, tx, e, at), sleep.For(ctx, 2*ttl))
			})
			sub.LeaseTTL = ttl
			run(t, store, sub)
		}
		last := deposit(t, store, 1, 1)
		for _, name := range names {
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			require.NoError(t, projection.WaitFor(ctx, target, name, last))
			cancel()
			stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
			require.NoError(t, err)
			require.EqualValues(t, 1, stored.Checkpoint.Epoch, "it never lost its lease")
		}
	})
}
