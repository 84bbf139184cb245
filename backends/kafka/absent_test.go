package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// unknown makes brokers answer that they know no such topic, so many times.
func unknown(topic string, times int, keys ...kmsg.Key) kfake.Fault {
	return kfake.Fault{Keys: keys, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: times}
}

func TestOneBrokersWordDoesNotMakeATopicAbsent(t *testing.T) {
	fake, p := newDouble(t, 3)
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 1)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	save := eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: "n", Place: info.Head, Store: info.ID}}
	require.NoError(t, backend.Records().Checkpoints.Save(t.Context(), save))
	load := eventstore.LoadCheckpointRequest{Name: "n"}
	other, _ := p.open(t, kafka.Options{})

	t.Run("of the checkpoints", func(t *testing.T) {
		stale := unknown("", 3, kmsg.DescribeConfigs)
		stale.Resource = p.store + ".checkpoints"
		hits := fake.Fault(stale)
		loaded, err := other.Records().Checkpoints.Load(t.Context(), load)
		require.NoError(t, err)
		require.True(t, loaded.Found)
		require.Equal(t, 3, hits.Hits())
	})
	t.Run("of the log", func(t *testing.T) {
		stale := unknown("", 3, kmsg.DescribeConfigs)
		stale.Resource = p.topic()
		hits := fake.Fault(stale)
		again, _ := p.open(t, kafka.Options{NoCreate: true})
		require.Equal(t, backend.ID(), again.ID())
		require.Equal(t, 3, hits.Hits())
	})
	t.Run("nor does that of those that answer, while another is silent", func(t *testing.T) {
		fresh, _ := p.open(t, kafka.Options{})
		stale := unknown("", -1, kmsg.DescribeConfigs)
		stale.Resource = p.store + ".checkpoints"
		hidden := unknown(p.store+".checkpoints", -1, kmsg.Metadata)
		hidden.Nodes = []int32{0, 1}
		hits := fake.Fault(stale)
		defer hits.Remove()
		hides := fake.Fault(hidden)
		defer hides.Remove()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		loaded, err := fresh.Records().Checkpoints.Load(ctx, load)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, loaded.Found)
	})
}

// Whatever all brokers say later, a handle that has read checkpoints does not take them
// for none.
func TestATopicThatAHandleHasSeenIsNeverReadAsAbsent(t *testing.T) {
	fake, p := newDouble(t, 1)
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 1)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	save := eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: "n", Place: info.Head, Store: info.ID}}
	checkpoints := backend.Records().Checkpoints
	require.NoError(t, checkpoints.Save(t.Context(), save))
	require.NoError(t, fake.DeleteTopic(p.store+".checkpoints"))
	load := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		loaded, err := checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: "n"})
		require.False(t, loaded.Found)
		return err
	}
	require.Error(t, load(), "the topic's end is not to be had")
	require.ErrorIs(t, load(), eventstore.ErrUnavailable)
	require.ErrorIs(t, checkpoints.Save(t.Context(), save), eventstore.ErrUnavailable, "nor is it made anew")
	fresh, _ := p.open(t, kafka.Options{})
	loaded, err := fresh.Records().Checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "n"})
	require.NoError(t, err)
	require.False(t, loaded.Found, "a handle that has not seen it begins without it")
}
