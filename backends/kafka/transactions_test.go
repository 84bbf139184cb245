package kafka_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// endTransaction has the broker write the end of a transaction of somebody else's to a
// topic, and returns when it is there.
func (p place) endTransaction(t *testing.T, topic string, committed bool) {
	t.Helper()
	c := connection.New(p.brokers, []string{topic}, nil)
	t.Cleanup(c.Close)
	before, err := c.HighWatermark(t.Context(), topic, 1)
	require.NoError(t, err)
	id := uuid.NewString()
	var producer *kafkago.ProducerSession
	require.Eventually(t, func() bool { // when the coordinator has made its own topic
		begun, err := c.Client.InitProducerID(t.Context(), &kafkago.InitProducerIDRequest{
			TransactionalID: id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil || begun.Error != nil {
			return false
		}
		producer = begun.Producer
		return true
	}, 30*time.Second, 50*time.Millisecond)
	added, err := c.Client.AddPartitionsToTxn(t.Context(), &kafkago.AddPartitionsToTxnRequest{
		TransactionalID: id, ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch,
		Topics: map[string][]kafkago.AddPartitionToTxn{topic: {{Partition: 0}}},
	})
	require.NoError(t, err)
	require.Len(t, added.Topics[topic], 1)
	require.NoError(t, added.Topics[topic][0].Error)
	ended, err := c.Client.EndTxn(t.Context(), &kafkago.EndTxnRequest{
		TransactionalID: id, ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch, Committed: committed,
	})
	require.NoError(t, err)
	require.NoError(t, ended.Error)
	require.Eventually(t, func() bool {
		end, err := c.HighWatermark(t.Context(), topic, 1)
		return err == nil && end > before
	}, 10*time.Second, 10*time.Millisecond)
}

func TestAForeignTransactionTakesAnOffsetAndNothingElse(t *testing.T) {
	p, dir := newPlace(t, broker.Server(t)), t.TempDir()
	running, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 2)
	p.endTransaction(t, p.topic(), true)
	appendTo(t, store, "s", 2)
	p.endTransaction(t, p.topic(), false)
	_, indexed := p.open(t, kafka.Options{Index: dir})
	require.NoError(t, indexed.Close(), "the marker is the last record")
	fromIndex, indexed := p.open(t, kafka.Options{Index: dir})
	require.Positive(t, fromIndex.Kept(), "the log's beginning was not read")
	appendTo(t, indexed, "s", 1)
	cold, _ := p.open(t, kafka.Options{})

	for _, store := range []*eventstore.Store{store, indexed} {
		version, err := store.StreamVersion(t.Context(), "s") // a view, so that all of it is folded
		require.NoError(t, err)
		require.EqualValues(t, 5, version)
	}
	next, hash, counts := cold.Folded()
	require.EqualValues(t, 1+5+2, next)
	require.EqualValues(t, 2, counts.Ignored)
	for _, backend := range []*kafka.Backend{running, fromIndex} {
		otherNext, otherHash, otherCounts := backend.Folded()
		require.Equal(t, next, otherNext)
		require.Equal(t, hash, otherHash)
		require.Equal(t, counts, otherCounts)
		require.NoError(t, backend.Halted())
	}
	var versions [2][]uint64
	for i, backward := range []bool{false, true} {
		for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Backward: backward}) {
			require.NoError(t, err)
			versions[i] = append(versions[i], event.Version)
		}
	}
	require.Equal(t, []uint64{1, 2, 3, 4, 5}, versions[0])
	slices.Reverse(versions[1])
	require.Equal(t, versions[0], versions[1])
}

// An answer may hold the end of a transaction and nothing else, and the topic goes on.
func TestAForeignTransactionHidesNoCheckpoint(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 2)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	save := func(backend *kafka.Backend, name string) {
		checkpoint := eventstore.Checkpoint{Name: name, Place: info.Head, Store: info.ID}
		require.NoError(t, backend.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}))
	}
	save(backend, "before")
	topic := p.store + ".checkpoints"
	p.endTransaction(t, topic, true)
	foreign := connection.New(p.brokers, []string{topic}, nil)
	defer foreign.Close()
	large := connection.Record{Key: []byte("foreign"), Value: make([]byte, 4<<20-100)} // with the marker before it more than an answer holds
	_, err = foreign.Produce(t.Context(), topic, []connection.Record{large})
	require.NoError(t, err)
	other, _ := p.open(t, kafka.Options{})
	save(other, "after")
	for _, backend := range []*kafka.Backend{backend, other} {
		for _, name := range []string{"before", "after"} {
			loaded, err := backend.Records().Checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
			require.NoError(t, err)
			require.True(t, loaded.Found, name)
			require.Equal(t, info.Head, loaded.Checkpoint.Place)
		}
	}
}
