package connection

import (
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A topic of three replicas is moved to three other brokers: the metadata names six
// until that is done.
func TestReplicasThatAReassignmentAddsDoNotMakeATopicUnfit(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(6))
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	const topic = "shop.events"
	c := New(fake.ListenAddrs(), []string{topic}, nil)
	t.Cleanup(c.Close)
	created, err := c.Client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: 1, ReplicationFactor: 6, ConfigEntries: topicSettings(3, CreateOptions{}),
	}}})
	require.NoError(t, err)
	require.NoError(t, created.Errors[topic])

	moving := true
	fake.ControlKey(int16(kmsg.ListPartitionReassignments), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if !moving {
			return nil, nil, false
		}
		partition := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		partition.Replicas = []int32{0, 1, 2, 3, 4, 5}
		partition.RemovingReplicas, partition.AddingReplicas = []int32{0, 1, 2}, []int32{3, 4, 5}
		of := kmsg.NewListPartitionReassignmentsResponseTopic()
		of.Topic, of.Partitions = topic, append(of.Partitions, partition)
		answer, ok := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
		answer.Topics = append(answer.Topics, of)
		return answer, nil, ok
	})
	described, found, err := c.Describe(t.Context(), topic)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, 3, described.Replicas)
	require.NoError(t, CheckLog(described))

	moving = false // and all six stay
	described, _, err = c.Describe(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, 6, described.Replicas)
	refused := CheckLog(described)
	require.ErrorIs(t, refused, eventstore.ErrInvalid)
	require.ErrorContains(t, refused, "min.insync.replicas")

	// Without the right to ask nothing is concluded, and nothing halts.
	fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListPartitionReassignments}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed})
	_, _, err = c.Describe(t.Context(), topic)
	require.ErrorIs(t, err, kafka.ClusterAuthorizationFailed)
	require.NotErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, `min.insync.replicas of topic shop.events is "2"`)
	require.Contains(t, OfRead(err).Remedy, "Describe on the cluster")
}
