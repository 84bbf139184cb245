//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
)

// clientOf makes a client for one test.
func clientOf(t *testing.T, k *Kafka) *kafka.Client {
	t.Helper()
	client, closeIdle := kafkaClient(k.Addresses())
	t.Cleanup(closeIdle)
	return client
}

func createTopic(t *testing.T, client *kafka.Client, name string) {
	t.Helper()
	created, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: name, NumPartitions: 1, ReplicationFactor: -1,
	}}})
	require.NoError(t, err)
	require.NoError(t, created.Errors[name])
}

func produce(ctx context.Context, client *kafka.Client, topic, value string) error {
	response, err := client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(value))}),
	})
	if err != nil {
		return err
	}
	return response.Error
}

// requireProduced produces as soon as the cluster lets it: a new leader takes its time.
func requireProduced(t *testing.T, client *kafka.Client, topic, value string) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		err = produce(t.Context(), client, topic, value)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "%v", err)
}

// fetch returns the values of a topic, as a set: a produce that was tried again
// may be there twice.
func fetch(t *testing.T, client *kafka.Client, topic string) map[string]bool {
	t.Helper()
	values := map[string]bool{}
	for offset := int64(0); ; {
		response, err := client.Fetch(t.Context(), &kafka.FetchRequest{
			Topic: topic, Offset: offset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond,
		})
		require.NoError(t, err)
		require.NoError(t, response.Error)
		for {
			record, err := response.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			value, err := kafka.ReadAll(record.Value)
			require.NoError(t, err)
			values[string(value)] = true
			offset = record.Offset + 1
		}
		if offset >= response.HighWatermark {
			return values
		}
	}
}

// leaderOf returns the number of the broker that leads a topic's one partition.
func leaderOf(t *testing.T, client *kafka.Client, topic string) int {
	t.Helper()
	metadata, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	require.NoError(t, err)
	require.Len(t, metadata.Topics, 1)
	require.NoError(t, metadata.Topics[0].Error)
	return metadata.Topics[0].Partitions[0].Leader.ID
}

// One broker for all of its life, because a start takes seconds.
func TestTheLifeOfABroker(t *testing.T) {
	dir := t.TempDir()
	k := PrivateKafka(t, KafkaOptions{Dir: dir})
	process := func() *process { return k.cluster.brokers[0].process }
	client, topic := clientOf(t, k), k.Name()
	address := k.Addresses()
	createTopic(t, client, topic)
	require.NoError(t, produce(t.Context(), client, topic, "at first"))

	t.Run("it is local", func(t *testing.T) {
		require.Len(t, address, 1)
		host, _, err := net.SplitHostPort(address[0])
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1", host)
		requireListensLocally(t, process().pid)
	})
	t.Run("brokers of yours are used and left alone", func(t *testing.T) {
		t.Setenv(brokersVariable, address[0])
		yours, err := StartKafka(t.Context(), KafkaOptions{})
		require.NoError(t, err)
		require.Equal(t, address, yours.Addresses())
		for _, refused := range []error{yours.Kill(1), yours.Stop(1), yours.Start(t.Context(), 1), yours.Pause(1), yours.Resume(1), yours.CutOff(1), yours.Rejoin(1)} {
			require.ErrorIs(t, refused, errNotOurBrokers)
		}
		require.NoError(t, yours.Close())
		require.NoError(t, produce(t.Context(), clientOf(t, yours), topic, "by yours"))
	})
	t.Run("paused it answers after resume", func(t *testing.T) {
		require.NoError(t, k.Pause(1))
		require.True(t, k.Running(1))
		answer := make(chan error, 1)
		go func() { answer <- produce(context.Background(), client, topic, "while paused") }()
		select {
		case err := <-answer:
			require.Fail(t, "a paused broker answered", "%v", err)
		case <-time.After(50 * time.Millisecond):
		}
		require.NoError(t, k.Resume(1))
		require.NoError(t, <-answer)
	})
	t.Run("killed it comes back with what it acknowledged", func(t *testing.T) {
		pid := process().pid
		require.NoError(t, k.Kill(1))
		require.True(t, gone(stateOf(pid)))
		require.False(t, k.Running(1))
		require.Error(t, k.Kill(1), "nothing to kill")
		require.Error(t, k.Pause(1), "nothing to pause")

		require.NoError(t, k.Start(t.Context(), 1))
		require.Error(t, k.Start(t.Context(), 1), "already started")
		require.Equal(t, address, k.Addresses())
		requireProduced(t, client, topic, "after the crash") // the client's old connection is broken
	})
	t.Run("stopped it comes back in order", func(t *testing.T) {
		require.NoError(t, k.Stop(1))
		require.NoError(t, k.Stop(1), "already stopped")
		require.NoError(t, k.Start(t.Context(), 1))
		requireProduced(t, client, topic, "after the stop")
		require.Equal(t, map[string]bool{
			"at first": true, "by yours": true, "while paused": true, "after the crash": true, "after the stop": true,
		}, fetch(t, client, topic))
	})
	t.Run("its log is kept for those who look for a failure", func(t *testing.T) {
		require.Contains(t, k.LogTail(), "Kafka Server started")
	})
	t.Run("closed while paused it leaves nothing behind", func(t *testing.T) {
		pid := process().pid
		require.NoError(t, k.Pause(1))
		require.NoError(t, k.Close())
		require.NoError(t, k.Close(), "twice")
		require.True(t, gone(stateOf(pid)))
		requireEmpty(t, dir)
		require.Error(t, k.Start(t.Context(), 1), "after Close")
	})
}

func TestThreeBrokersGoOnWithoutOneAndTakeItBack(t *testing.T) {
	t.Parallel()
	private := PrivateKafka(t, KafkaOptions{Brokers: 3})
	client, topic := clientOf(t, private), private.Name()
	createTopic(t, client, topic)
	want := map[string]bool{}
	append3 := func(round string) {
		for i := range 3 {
			value := fmt.Sprint(round, i)
			requireProduced(t, client, topic, value)
			want[value] = true
		}
	}
	append3("three brokers ")

	first := leaderOf(t, client, topic)
	require.NoError(t, private.Kill(first))
	append3("two brokers ")
	require.NotEqual(t, first, leaderOf(t, client, topic))

	// Back in sync with the others, so that one of those may go now.
	require.NoError(t, private.Start(t.Context(), first))
	second := leaderOf(t, client, topic)
	require.NoError(t, private.Pause(second))
	append3("the other two ")
	require.Equal(t, want, fetch(t, client, topic))
	require.NoError(t, private.Resume(second))
}

func TestBrokersAreNumberedFromOne(t *testing.T) {
	private := &Kafka{cluster: &kafkaCluster{brokers: []*kafkaBroker{{node: 1}}}}
	for _, n := range []int{-1, 0, 2} {
		require.ErrorContains(t, private.Kill(n), "numbered from 1 to 1")
		require.ErrorContains(t, private.CutOff(n), "numbered from 1 to 1")
		require.ErrorContains(t, private.Start(t.Context(), n), "numbered from 1 to 1")
		require.False(t, private.Running(n))
	}
	require.ErrorContains(t, private.CutOff(1), "not started as Separable")
	require.Empty(t, private.Listener("ANY"))
	_, err := StartKafka(t.Context(), KafkaOptions{Brokers: 2})
	require.ErrorContains(t, err, "1 or 3 brokers")
}

func TestAWrongBrokerSettingFailsWithKafkasOwnWordsAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := StartKafka(t.Context(), KafkaOptions{Dir: dir, Settings: map[string]string{"num.io.threads": "many"}})
	if errors.As(err, new(*AbsentError)) {
		skipOrFail(t, err)
	}
	require.ErrorContains(t, err, "num.io.threads")
	requireEmpty(t, dir)
}

func TestABrokerEndsWithATestProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	_, err := findKafka(t.Context())
	skipOrFail(t, err)
	pid, dir, orphan := startOrphan(t, "kafka")
	require.NoError(t, orphan.Process.Signal(syscall.SIGKILL))
	require.Error(t, orphan.Wait())
	requireEnds(t, pid, dir)
}

func TestBrokersOfYoursThatDoNotAnswerFailTheTest(t *testing.T) {
	for yours, want := range map[string]string{
		"127.0.0.1:1": "do not answer",
		"localhost":   "must be host:port",
	} {
		t.Setenv(brokersVariable, yours)
		_, err := StartKafka(t.Context(), KafkaOptions{})
		require.ErrorContains(t, err, brokersVariable)
		require.ErrorContains(t, err, want)
		absent := new(AbsentError)
		require.NotErrorAs(t, err, &absent, "somebody asked for them: no reason to skip")
	}
}

// requireListensLocally looks at the sockets of a process, where /proc shows them.
func requireListensLocally(t *testing.T, pid int) {
	t.Helper()
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	if len(descriptors) == 0 {
		return
	}
	sockets := map[string]bool{}
	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err == nil {
			sockets[target] = true
		}
	}
	listening := 0
	for _, name := range []string{"tcp", "tcp6"} {
		for _, socket := range listeningSockets(t, fmt.Sprintf("/proc/%d/net/%s", pid, name)) {
			if sockets["socket:["+socket.inode+"]"] {
				listening++
				require.Contains(t, []string{"0100007F", "0000000000000000FFFF00000100007F"}, socket.address)
			}
		}
	}
	require.Equal(t, 2, listening, "one for clients, one for controllers")
}
