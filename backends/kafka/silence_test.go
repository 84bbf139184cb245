package kafka_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/switchyard-dev/switchyard/backends/kafka"
)

// newDouble is a place on kfake, which can be made to answer what brokers do when they
// are cut off from each other.
func newDouble(t *testing.T, brokers int) (*kfake.Cluster, place) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	return fake, place{brokers: fake.ListenAddrs(), store: "shop"}
}

func requireReadable(t *testing.T, backend *kafka.Backend, events uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, _, counts := backend.Folded()
		return counts.Events == events && backend.Lost() == nil
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, backend.Halted())
}

func TestALeaderThatNobodyConfirmsIsNotBelievedForLong(t *testing.T) {
	fake, p := newDouble(t, 3)
	backend, store := p.open(t, kafka.Impatient(kafka.Options{Poll: 20 * time.Millisecond}, 200*time.Millisecond))
	appendTo(t, store, "s", 1)
	require.NoError(t, backend.Lost())
	others := fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Metadata}, Topic: p.topic(), Err: kerr.LeaderNotAvailable, Count: -1,
		When: func(req kmsg.Request) bool { // of witnesses alone: the client asks for all its topics at once
			asked, ok := req.(*kmsg.MetadataRequest)
			return ok && len(asked.Topics) == 1
		},
	})
	require.Eventually(t, func() bool { return backend.Lost() != nil }, 10*time.Second, 10*time.Millisecond)
	others.Remove()
	requireReadable(t, backend, 1)
}

func TestALeaderThatWithholdsTheEndIsNotBelievedForLong(t *testing.T) {
	fake, p := newDouble(t, 1)
	logger, told := logged()
	reader, _ := p.open(t, kafka.Impatient(kafka.Options{Poll: 20 * time.Millisecond, Logger: logger}, 200*time.Millisecond))
	_, writer := p.open(t, kafka.Options{Poll: 20 * time.Millisecond})
	appendTo(t, writer, "s", 1)
	requireReadable(t, reader, 1)
	var silent atomic.Bool
	fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		asked, ok := req.(*kmsg.FetchRequest)
		if !ok || !silent.Load() {
			return nil, nil, false
		}
		answer, ok := asked.ResponseKind().(*kmsg.FetchResponse)
		for _, topic := range asked.Topics {
			of := kmsg.NewFetchResponseTopic()
			of.Topic, of.Partitions = topic.Topic, append(of.Partitions, kmsg.NewFetchResponseTopicPartition())
			answer.Topics = append(answer.Topics, of)
		}
		return answer, nil, ok
	})
	silent.Store(true)
	appendTo(t, writer, "s", 1) // folded by its writer, who hears of its place
	require.Eventually(t, func() bool { return reader.Lost() != nil }, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, told.String(), "its leader has nothing from") // what is said next is of a look at the log's beginning
	silent.Store(false)
	requireReadable(t, reader, 2)
}
