package adapter_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// waiter is an append that waits while a flush is under way.
type waiter struct {
	name   string
	weight int
	left   time.Duration // until its deadline when the flush ends; 0 is none
	leaves bool          // before the flush ends
}

// groupsAfter returns the groups in which the waiters travel, after a flush that takes a
// time, which other flushes, of 10 ms each, came before.
func groupsAfter(t *testing.T, before int, flush time.Duration, waiters []waiter) (groups [][]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, adapter.GroupCommitOptions{MaxWeight: 10, Weigh: events})
		for range before {
			done := start(t.Context(), c, request("before", 1))
			<-time.After(10 * time.Millisecond)
			d.proceed <- struct{}{}
			require.NoError(t, (<-done).err)
		}
		first := start(t.Context(), c, request("first", 1))
		synctest.Wait()
		var all []<-chan answer
		for _, w := range waiters {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if w.left > 0 {
				ctx, cancel = context.WithTimeout(ctx, flush+w.left)
				defer cancel()
			}
			done := start(ctx, c, request(w.name, w.weight))
			synctest.Wait()
			if w.leaves {
				cancel()
				require.ErrorIs(t, (<-done).err, context.Canceled)
				continue
			}
			all = append(all, done)
		}
		<-time.After(flush)
		close(d.proceed)
		require.NoError(t, (<-first).err)
		for _, done := range all {
			require.NoError(t, (<-done).err)
		}
		c.Close()
		groups = d.groups[before+1:]
	})
	return groups
}

// Those whose deadlines leave no time for a flush wait behind the others where not all
// fit into one group, and only there.
func TestWhoHurriesIsPassedOverOnlyWhereNotAllFit(t *testing.T) {
	const flush = time.Second
	hurried, calm := waiter{name: "hurried", weight: 4, left: flush}, waiter{name: "calm", weight: 6}
	require.Equal(t, [][]string{{"hurried", "calm"}}, groupsAfter(t, 0, flush, []waiter{hurried, calm}), "all fit")
	calm.weight++
	require.Equal(t, [][]string{{"calm"}, {"hurried"}}, groupsAfter(t, 0, flush, []waiter{hurried, calm}))
	calm.weight--
	heavy := waiter{name: "heavy", weight: 9, leaves: true}
	require.Equal(t, [][]string{{"hurried", "calm"}}, groupsAfter(t, 0, flush, []waiter{heavy, hurried, calm}), "all fit since the heavy one left")
	require.Equal(t, [][]string{{"hurried", "calm"}}, groupsAfter(t, 0, flush, []waiter{hurried, heavy, calm}))
	require.Equal(t, [][]string{{"hurried", "calm"}}, groupsAfter(t, 0, flush, []waiter{hurried, calm, heavy}))
}

// One slow flush says little of the next one, and something.
func TestOneSlowFlushCountsAQuarter(t *testing.T) {
	calm := waiter{name: "calm", weight: 6}
	for _, test := range []struct {
		left time.Duration
		want [][]string
	}{
		// The usual flush takes 10 ms + (1 s − 10 ms) / 4, and twice that is 515 ms.
		{450 * time.Millisecond, [][]string{{"calm"}, {"other"}}},
		{600 * time.Millisecond, [][]string{{"other"}, {"calm"}}},
	} {
		other := waiter{name: "other", weight: 6, left: test.left}
		require.Equal(t, test.want, groupsAfter(t, 12, time.Second, []waiter{other, calm}), "%s left", test.left)
	}
}
