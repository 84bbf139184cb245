package projection_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
)

// deposited is the event of these tests.
type deposited struct {
	Cents int64 `json:"cents"`
}

func deposits() *codec.Codec[deposited] {
	return codec.Must(codec.New[deposited](nil, codec.Of[deposited]("Deposited")))
}

func newStore(t testing.TB) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(memory.New(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// deposit appends an event and returns where it is.
func deposit(t testing.TB, store *eventstore.Store, account int, cents int64) eventstore.Position {
	t.Helper()
	result, err := store.Append(t.Context(), fmt.Sprintf("account-%d", account), eventstore.Any(), eventstore.Event{
		Type: "Deposited", Data: fmt.Appendf(nil, `{"cents":%d}`, cents),
	})
	require.NoError(t, err)
	return result.Position
}

// balances makes the tables of a read model.
func (d *database) balances(t testing.TB, table string) {
	t.Helper()
	d.exec(t, `CREATE TABLE `+table+` (account TEXT PRIMARY KEY, cents BIGINT NOT NULL, events BIGINT NOT NULL)`)
}

func adding(table string) string {
	return `INSERT INTO ` + table + ` (account, cents, events) VALUES ($1, $2, 1)
		ON CONFLICT (account) DO UPDATE SET cents = ` + table + `.cents + excluded.cents, events = ` + table + `.events + 1`
}

// count adds an event to a table of balances. An event that counts twice shows.
func count(table string) applyFunc {
	return func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
		return tx.exec(ctx, adding(table), at.Stream, e.Cents)
	}
}

// countAll is count for the events of a batch: by statements that are sent together, or
// by one that adds up.
func countAll(table string) applyAllFunc {
	return func(ctx context.Context, tx transaction, events []codec.Decoded[deposited]) error {
		if tx.execEach != nil {
			args := make([][]any, 0, len(events))
			for _, e := range events {
				args = append(args, []any{e.Recorded.Stream, e.Value.Cents})
			}
			return tx.execEach(ctx, adding(table), args)
		}
		sums, counts := make(map[string]int64), make(map[string]int)
		for _, e := range events {
			sums[e.Recorded.Stream] += e.Value.Cents
			counts[e.Recorded.Stream]++
		}
		var rows []string
		var args []any
		for account, sum := range sums {
			rows = append(rows, fmt.Sprintf("($%d, $%d, $%d)", len(args)+1, len(args)+2, len(args)+3))
			args = append(args, account, sum, counts[account])
		}
		return tx.exec(ctx, `INSERT INTO `+table+` (account, cents, events) VALUES `+strings.Join(rows, ", ")+`
			ON CONFLICT (account) DO UPDATE SET cents = `+table+`.cents + excluded.cents, events = `+table+`.events + excluded.events`, args...)
	}
}

func TestAReadModelCountsEachEventOnce(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		sub := projection.New(target, "balances-v1", deposits(), count("balances"))
		sub.UntilCaughtUp = true
		sum := int64(0)
		for i := range int64(100) {
			deposit(t, store, int(i%7), i)
			sum += i
		}
		require.NoError(t, store.Run(t.Context(), sub))
		last := deposit(t, store, 1, 1000)
		require.NoError(t, store.Run(t.Context(), sub))
		require.EqualValues(t, sum+1000, d.number(t, `SELECT sum(cents) FROM balances`))
		require.Equal(t, 101, d.number(t, `SELECT sum(events) FROM balances`))
		require.NoError(t, projection.WaitFor(t.Context(), target, "balances-v1", last))
	})
}
