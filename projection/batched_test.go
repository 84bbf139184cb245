package projection_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
)

// inBatches is caughtUp for a read model that applies the events of a batch together.
func inBatches(target target, name string, apply applyAllFunc) eventstore.Subscription {
	sub := projection.NewBatched(target, name, deposits(), apply)
	sub.UntilCaughtUp, sub.Retry.Pause = true, time.Millisecond
	return sub
}

func TestAReadModelInBatchesCountsEachEventOnceAcrossFailuresAndPanics(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		for range 25 {
			deposit(t, store, 1, 1)
		}
		failures := map[uint64]int{3: 2, 11: 2, 25: 1}
		var sizes []int
		var failed []codec.Decoded[deposited] // in the call before
		addAll := countAll("balances")
		require.NoError(t, store.Run(t.Context(), inBatches(target, "m", func(ctx context.Context, tx transaction, events []codec.Decoded[deposited]) error {
			sizes = append(sizes, len(events))
			if failed != nil {
				require.Equal(t, failed[:1], events, "after a failure one by one")
			}
			failed = nil
			err := addAll(ctx, tx, events)
			for _, e := range events {
				if failures[e.Recorded.Version]--; failures[e.Recorded.Version] >= 0 {
					failed = events
					if e.Recorded.Version == 11 {
						panic("eleven")
					}
					return errors.New("not now")
				}
			}
			return err
		})))
		require.Equal(t, 25, d.number(t, `SELECT events FROM balances`))
		require.Greater(t, slices.Max(sizes), 1, "it is given what is at hand")
	})
}

// What fails is the statement of one event, among those that were sent with it.
func TestAReadModelInBatchesParksTheFailingEventAlone(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.exec(t, `CREATE TABLE balances (account TEXT PRIMARY KEY, cents BIGINT NOT NULL CHECK (cents >= 0), events BIGINT NOT NULL)`)
		for version := range int64(12) {
			cents := int64(1)
			if version+1 == 5 {
				cents = -100
			}
			deposit(t, store, 1, cents)
		}
		sub := inBatches(target, "m", countAll("balances"))
		sub.ParkStream, sub.Retry.Attempts = "parked", 2
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, 11, d.number(t, `SELECT events FROM balances`))
		links := parked(t, store)
		require.Len(t, links, 1)
		require.Regexp(t, "^5 ", links[0])
	})
}

func TestABatchIsGivenWithoutWhatIsCommitted(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		for range 5 {
			deposit(t, store, 1, 1)
		}
		var events []eventstore.RecordedEvent
		for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(t, err)
			events = append(events, e)
		}
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		var given [][]uint64
		sub := projection.NewBatched(target, "m", deposits(), func(_ context.Context, _ transaction, events []codec.Decoded[deposited]) error {
			var versions []uint64
			for _, e := range events {
				versions = append(versions, e.Recorded.Version)
			}
			given = append(given, versions)
			return nil
		})
		handle := func(events []eventstore.RecordedEvent, upTo eventstore.RecordedEvent) {
			t.Helper()
			checkpoint := eventstore.Checkpoint{Name: "m", Store: info.ID, Place: upTo.Place()}
			require.NoError(t, sub.HandleBatch(t.Context(), eventstore.Batch{Events: events, Checkpoint: checkpoint}))
		}
		handle(events[:2], events[1])
		handle(events[:4], events[3])
		handle(events[1:4], events[4]) // up to an event that is not the model's
		require.Equal(t, [][]uint64{{1, 2}, {3, 4}}, given)
		stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "m"})
		require.NoError(t, err)
		require.Equal(t, events[4].Place(), stored.Checkpoint.Place)
	})
}

func TestACommitOfABatchWhoseAnswerIsLostCountsOnce(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		store, proxy := newStore(t), d.behindProxy(t)
		d.balances(t, "balances")
		target := d.open(t)
		var given []uint64
		addAll := countAll("balances")
		sub := inBatches(target, "m", func(ctx context.Context, tx transaction, events []codec.Decoded[deposited]) error {
			if given == nil { // the commit that follows
				rule, _ := once(tcpproxy.OnAnswer(tcpproxy.Contains("commit\x00"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
				proxy.SetRule(rule)
			}
			for _, e := range events {
				given = append(given, e.Recorded.Version)
			}
			return addAll(ctx, tx, events)
		})
		sub.Retry.Attempts = 1
		for range 7 {
			deposit(t, store, 1, 5)
		}
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, 1, proxy.Cuts(), "an answer was lost")
		require.Equal(t, []uint64{1, 2, 3, 4, 5, 6, 7}, given, "the next attempt finds the checkpoint")
		require.Equal(t, 7, d.number(t, `SELECT events FROM balances`))
	})
}

func TestTheExampleWithStatementsSentAtOnceCountsEachEventOnce(t *testing.T) {
	store, d := newStore(t), newDatabase(t, inPgx)
	d.exec(t, `CREATE TABLE paid_v1 (customer TEXT PRIMARY KEY, cents BIGINT NOT NULL)`)
	pool, err := pgxpool.New(t.Context(), d.url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	target, err := pgxdb.Open(t.Context(), pool)
	require.NoError(t, err)
	sub := payments(target)
	sub.UntilCaughtUp = true
	for range 3 {
		for range 4 {
			_, err := store.Append(t.Context(), "customer-ann", eventstore.Any(), eventstore.Event{Type: "Paid", Data: []byte(`{"cents":100}`)})
			require.NoError(t, err)
		}
		require.NoError(t, store.Run(t.Context(), sub))
	}
	require.Equal(t, 1200, d.number(t, `SELECT cents FROM paid_v1`))
}
