package connection

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedKafka

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

func connect(t *testing.T, k *testservers.Kafka, topic string) *Connection {
	t.Helper()
	c := New(k.Addresses(), []string{topic}, nil)
	t.Cleanup(c.Close)
	return c
}

func produce(ctx context.Context, c *Connection, topic string) error {
	response, err := c.Client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("x"))}),
	})
	if err != nil {
		return err
	}
	return response.Error
}

func TestACreatedLogIsFitForAStoreAndOnlyCreatedOnce(t *testing.T) {
	k := server.Server(t)
	topic := k.Name() + ".events"
	first := connect(t, k, topic)
	_, found, err := first.Describe(t.Context(), topic)
	require.NoError(t, err)
	require.False(t, found)

	errs := make(chan error, 4)
	for range cap(errs) {
		c := connect(t, k, topic)
		go func() { errs <- c.Create(t.Context(), topic, CreateOptions{Fsync: true}) }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	described, found, err := first.Describe(t.Context(), topic)
	require.NoError(t, err)
	require.True(t, found, "by a client that knew it to be absent")
	require.NoError(t, CheckLog(described))
	require.True(t, Fsync(described))
	require.Equal(t, 4<<20, MaxMessageBytes(described))
	require.Equal(t, 1, InSync(described))
	require.Equal(t, 1, described.Replicas)
	require.NoError(t, first.Create(t.Context(), topic, CreateOptions{}), "it exists")
	again, _, err := first.Describe(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, described, again, "what exists is not changed")
}

func TestMoreCopiesThanBrokersAreRefused(t *testing.T) {
	k := server.Server(t)
	topic := k.Name() + ".events"
	err := connect(t, k, topic).Create(t.Context(), topic, CreateOptions{Replicas: 99})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "need as many brokers")
}

// The settings come from a real broker, so that their names and forms do.
func TestATopicThatIsNotFitIsRefusedAndNotChanged(t *testing.T) {
	k := server.Server(t)
	for name, c := range map[string]struct {
		partitions int
		setting    string
		value      string
		want       string
	}{
		"two partitions":         {2, "retention.ms", "-1", "partitions"},
		"compaction":             {1, "cleanup.policy", "compact", "cleanup.policy"},
		"Kafka's own retention":  {1, "cleanup.policy", "delete", "retention.ms"},
		"bounded size":           {1, "retention.bytes", "1000000", "retention."},
		"unclean elections":      {1, "unclean.leader.election.enable", "true", "unclean.leader.election.enable"},
		"small messages":         {1, "max.message.bytes", "1000", "max.message.bytes"},
		"more in sync than real": {1, "min.insync.replicas", "2", "min.insync.replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			topic := k.Name() + ".events"
			connection := connect(t, k, topic)
			entries := topicSettings(1, CreateOptions{Fsync: false})
			if name == "Kafka's own retention" {
				entries = nil
			}
			entries = append(entries, kafka.ConfigEntry{ConfigName: c.setting, ConfigValue: c.value})
			created, err := connection.Client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
				Topic: topic, NumPartitions: c.partitions, ReplicationFactor: 1, ConfigEntries: lastOfEach(entries),
			}}})
			require.NoError(t, err)
			require.NoError(t, created.Errors[topic])
			require.NoError(t, connection.Create(t.Context(), topic, CreateOptions{}))
			described, found, err := connection.Describe(t.Context(), topic)
			require.NoError(t, err)
			require.True(t, found)
			refused := CheckLog(described)
			require.ErrorIs(t, refused, eventstore.ErrInvalid)
			require.ErrorContains(t, refused, c.want)
			require.ErrorContains(t, refused, topic)
			if c.partitions == 1 {
				require.Equal(t, c.value, described.Settings[c.setting])
			}
		})
	}
}

func lastOfEach(entries []kafka.ConfigEntry) []kafka.ConfigEntry {
	var kept []kafka.ConfigEntry
	for i, entry := range entries {
		again := false
		for _, later := range entries[i+1:] {
			again = again || later.ConfigName == entry.ConfigName
		}
		if !again {
			kept = append(kept, entry)
		}
	}
	return kept
}

func TestTheHighWatermarkIsWhatWasAcknowledged(t *testing.T) {
	k := server.Server(t)
	topic := k.Name() + ".events"
	c := connect(t, k, topic)
	require.NoError(t, c.Create(t.Context(), topic, CreateOptions{}))
	for n := range int64(3) {
		offset, err := c.HighWatermark(t.Context(), topic, 1)
		require.NoError(t, err)
		require.Equal(t, n, offset)
		require.NoError(t, produce(t.Context(), c, topic))
	}
}

func TestWithoutEnoughWitnessesThereIsNoAnswer(t *testing.T) {
	k := server.Server(t)
	topic := k.Name() + ".events"
	c := connect(t, k, topic)
	require.NoError(t, c.Create(t.Context(), topic, CreateOptions{}))
	// As if the topic had two replicas, of which one need not be in sync: the one
	// broker that there is cannot vouch for itself.
	require.ErrorIs(t, outOfTime(t, c, topic, 0, errNoWitness), errNoWitness)
}

// outOfTime asks for a topic's end for longer and longer, until what is met meanwhile is
// reason: on a slow machine nothing may have been answered in a short time.
func outOfTime(t *testing.T, c *Connection, topic string, inSync int, reason error) (err error) {
	t.Helper()
	for patience := 200 * time.Millisecond; patience < time.Minute && !errors.Is(err, reason); patience *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err = c.HighWatermark(ctx, topic, inSync)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	return err
}

func TestPingTellsWhyTheClusterCannotBeUsed(t *testing.T) {
	c := New([]string{"127.0.0.1:1"}, nil, nil)
	defer c.Close()
	err := c.Ping(t.Context())
	require.ErrorContains(t, err, "refused")
	require.Equal(t, Unavailable, OfRead(err).Class)
	require.NoError(t, connect(t, server.Server(t), "absent").Ping(t.Context()))
}

func TestACallForAnAbsentTopicEndsWithItsContext(t *testing.T) {
	k := server.Server(t)
	topic := k.Name()
	c := connect(t, k, topic)
	err := outOfTime(t, c, topic, 1, kafka.UnknownTopicOrPartition)
	require.ErrorIs(t, err, kafka.UnknownTopicOrPartition)
	require.ErrorContains(t, err, topic)
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	k := server.Server(t)
	topic := k.Name() + ".events"
	c := connect(t, k, topic)
	require.NoError(t, c.Create(t.Context(), topic, CreateOptions{}))
	_, err := c.HighWatermark(t.Context(), topic, 1)
	require.NoError(t, err)
	c.Close()
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !strings.Contains(string(stacks), "kafka-go.(*conn")
	}, 10*time.Second, 10*time.Millisecond)
}
