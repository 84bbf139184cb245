package connection

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

	acknowledged := int64(0)
	appendOne := func(t *testing.T) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			err := produce(ctx, c, topic)
			cancel()
			if err == nil {
				acknowledged++
				return
			}
			require.True(t, time.Now().Before(deadline), "%v", err)
			c.Renew()
			require.True(t, pause(t.Context(), pollEvery))
		}
	}
	view := func(t *testing.T) (offset int64, took time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		started := time.Now()
		offset, err := c.HighWatermark(ctx, topic, 2)
		require.NoError(t, err)
		require.GreaterOrEqual(t, offset, acknowledged, "what was acknowledged is missing")
		return offset, time.Since(started)
	}
	leader, _, err := c.leader(t.Context(), topic)
	require.NoError(t, err)
	follower := 1 + slices.IndexFunc([]int32{1, 2, 3}, func(n int32) bool { return n != leader })

	t.Run("all there", func(t *testing.T) {
		appendOne(t)
		offset, _ := view(t)
		require.Equal(t, acknowledged, offset)
	})
	t.Run("a follower that hangs holds nobody up", func(t *testing.T) {
		require.NoError(t, k.Pause(follower))
		for range 20 {
			_, took := view(t)
			require.Less(t, took, requestTimeout/4, "the other one vouches")
		}
		require.NoError(t, k.Resume(follower))
	})
	t.Run("a leader that was frozen while another was elected gives no old answer", func(t *testing.T) {
		appendOne(t)
		require.NoError(t, k.Pause(int(leader)))
		for range 3 {
			appendOne(t) // by the next leader
		}
		view(t)
		require.NoError(t, k.Resume(int(leader)))
		for range 20 {
			view(t)
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
