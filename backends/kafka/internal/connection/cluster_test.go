package connection

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestThreeBrokersVouchForTheirLeader(t *testing.T) {
	k := testservers.PrivateKafka(t, testservers.KafkaOptions{Brokers: 3})
	topic := k.Name() + ".events"
	c := connect(t, k, topic)
	require.NoError(t, c.Create(t.Context(), topic, CreateOptions{}))
	described, _, err := c.Describe(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, 3, described.Replicas)
	require.Equal(t, 2, InSync(described))
	require.NoError(t, CheckLog(described))

	var acknowledged atomic.Int64
	appendOne := func(t *testing.T) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			err := produce(ctx, c, topic)
			cancel()
			if err == nil {
				acknowledged.Add(1)
				return
			}
			require.True(t, time.Now().Before(deadline), "%v", err)
			c.Renew()
			require.NoError(t, sleep.For(t.Context(), pollEvery))
		}
	}
	view := func(t *testing.T) (offset int64, took time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		started := time.Now()
		least := acknowledged.Load()
		offset, err := c.HighWatermark(ctx, topic, 2)
		require.NoError(t, err)
		require.GreaterOrEqual(t, offset, least, "what was acknowledged is missing")
		return offset, time.Since(started)
	}
	leader, _, err := c.leader(t.Context(), topic)
	require.NoError(t, err)
	follower := 1 + slices.IndexFunc([]int32{1, 2, 3}, func(n int32) bool { return n != leader })

	t.Run("all there", func(t *testing.T) {
		appendOne(t)
		offset, _ := view(t)
		require.Equal(t, acknowledged.Load(), offset)
	})
	t.Run("a follower that hangs holds nobody up", func(t *testing.T) {
		require.NoError(t, k.Pause(follower))
		for range 20 {
			_, took := view(t)
			require.Less(t, took, requestTimeout*9/10, "the other one vouches")
		}
		require.NoError(t, k.Resume(follower))
	})
	t.Run("a leader that was frozen while another was elected gives no old answer", func(t *testing.T) {
		var witnessed, plain readers
		for range 2 { // or until the rule is seen to be needed
			leader, _, err := c.leader(t.Context(), topic)
			require.NoError(t, err)
			// All that they know of the cluster is what the leader says.
			known := k.Addresses()[leader-1 : leader]
			witnessed.start(t, known, topic, 2, &acknowledged)
			plain.start(t, known, topic, 3, &acknowledged) // as if nobody had to be asked
			require.NoError(t, k.Pause(int(leader)))
			for range 3 {
				appendOne(t) // by the next leader
			}
			require.NoError(t, k.Resume(int(leader)))
			appendOne(t)
			require.NoError(t, sleep.For(t.Context(), 500*time.Millisecond)) // for the readers to meet the old leader
			witnessed.stop()
			plain.stop()
			view(t)
			if plain.old.Load() > 0 {
				break
			}
		}
		t.Logf("old answers: %d of %d witnessed, %d of %d of the leader alone",
			witnessed.old.Load(), witnessed.all.Load(), plain.old.Load(), plain.all.Load())
		require.Zero(t, witnessed.old.Load())
		require.NotZero(t, witnessed.all.Load())
		if plain.old.Load() == 0 { // the old leader hears of the new one within a tenth of a second
			t.Log("in this run the leader alone would have been enough: nobody asked it in time")
		}
	})
	t.Run("one broker alone cannot answer", func(t *testing.T) {
		leader, _, err := c.leader(t.Context(), topic)
		require.NoError(t, err)
		for n := range 3 {
			if int32(n+1) != leader {
				require.NoError(t, k.Kill(n+1))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.HighWatermark(ctx, topic, 2)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// readers ask for the end of a log again and again, each with a client of its own.
type readers struct {
	all, old atomic.Int64
	stop     func()
}

func (r *readers) start(t *testing.T, brokers []string, topic string, inSync int, acknowledged *atomic.Int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 12 {
		c := New(brokers, []string{topic}, nil)
		t.Cleanup(c.Close)
		require.NoError(t, c.waitFor(ctx, topic))
		running.Go(func() {
			for ctx.Err() == nil {
				least := acknowledged.Load()
				offset, err := c.tryHighWatermark(ctx, topic, inSync)
				if err != nil {
					_ = sleep.For(ctx, pollEvery/10)
					continue
				}
				r.all.Add(1)
				if offset < least {
					r.old.Add(1)
				}
			}
		})
	}
	r.stop = func() {
		cancel()
		running.Wait()
	}
}
