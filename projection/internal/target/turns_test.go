package target

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

type idle struct{ Database[int] }

func (idle) Begin(context.Context) (Transaction[int], error) { return idleTransaction{}, nil }

type idleTransaction struct{ Transaction[int] }

func (idleTransaction) End() {}

func newIdle(d Dialect) *Target[int] {
	return &Target[int]{db: idle{}, dialect: d, turn: make(chan struct{}, 1), lent: make(map[string]*lent)}
}

func TestTransactionsTakeTurns(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		dialect Dialect
		short   bool // the second one
		waits   bool
	}{
		"where one at a time writes":             {SQLite(), false, true},
		"where one at a time writes, all do":     {SQLite(), true, true},
		"those that may last":                    {PostgreSQL(), false, true},
		"but not the renewal of a lease with it": {PostgreSQL(), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			target := newIdle(test.dialect)
			_, end, err := target.transaction(t.Context(), false)
			require.NoError(t, err)
			_, endSecond, err := target.transaction(over, test.short)
			if test.waits {
				require.ErrorIs(t, err, context.Canceled, "it waits for its turn")
			} else {
				require.NoError(t, err)
				endSecond()
			}
			end()
			_, end, err = target.transaction(t.Context(), false)
			require.NoError(t, err, "the turn is given back")
			end()
		})
	}
}

func TestALeaseThatAnotherUpdateHasLentSinceStaysLent(t *testing.T) {
	target := newIdle(SQLite())
	lease := eventstore.Lease{Name: "m", Epoch: 1, Owner: "o"}
	first := target.lend("m", lease)
	second := target.lend("m", lease)
	target.forget("m", first)
	_, ok := target.swapLent(eventstore.SwapLeaseRequest{Name: "m"})
	require.True(t, ok)
	target.forget("m", second)
	_, ok = target.swapLent(eventstore.SwapLeaseRequest{Name: "m"})
	require.False(t, ok)
}
