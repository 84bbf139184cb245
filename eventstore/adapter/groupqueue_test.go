package adapter

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Those who give up while many wait leave at the same cost each, wherever in the
// queue they stand. Both costs are of the same run.
func TestLeavingALongQueueCostsWhatLeavingAShortOneDoes(t *testing.T) {
	cost := func(length int) time.Duration {
		c := NewGroupCommit(nil, GroupCommitOptions{})
		c.flying = 1 // a flush is under way, and everybody waits
		calls := make([]*GroupedAppend, length)
		for i := range calls {
			calls[i] = &GroupedAppend{ctx: context.Background(), done: make(chan struct{})}
			_, err := c.enqueue(calls[i])
			require.NoError(t, err)
		}
		begin := time.Now()
		for _, call := range slices.Backward(calls) {
			if !c.withdraw(call) {
				t.Fatal("it was not waiting")
			}
		}
		return time.Since(begin) / time.Duration(length)
	}
	var ratios []float64
	for range 5 {
		short, long := cost(2_000), cost(64_000)
		ratios = append(ratios, float64(long)/float64(max(short, 1)))
	}
	slices.Sort(ratios)
	// The least disturbed of them: a queue that is searched costs 32 times as much in each.
	require.Less(t, ratios[0], 8.0, "32 times as many waited")
}
