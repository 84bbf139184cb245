package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

const (
	defaultReplicas = 3
	pollEvery       = 50 * time.Millisecond
)

// CreateOptions say how a topic is created. An existing one is never changed.
type CreateOptions struct {
	// Replicas is the number of copies; 0 means 3, or one for each broker where
	// there are fewer.
	Replicas int
	// Fsync makes brokers write each record to disk before they acknowledge it.
	Fsync bool
	// Compacted makes a topic that keeps the last record of each key, instead of a log.
	Compacted bool
}

// Create makes a store's topic unless it exists, which is no error: another process
// may have been faster. It returns when the client knows the topic.
func (c *Connection) Create(ctx context.Context, topic string, opts CreateOptions) error {
	metadata, err := c.Client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return fmt.Errorf("ask the brokers for the cluster: %w", err)
	}
	brokers := len(metadata.Brokers)
	replicas := opts.Replicas
	if replicas == 0 {
		replicas = min(defaultReplicas, brokers)
	}
	if replicas > brokers {
		return &eventstore.InvalidError{Field: "replication", Reason: fmt.Sprintf("%d copies need as many brokers, and there are %d", replicas, brokers)}
	}
	// Bounded, for the client waits until it sees the topic.
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	created, err := c.Client.CreateTopics(request, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: 1, ReplicationFactor: replicas, ConfigEntries: topicSettings(replicas, opts),
	}}})
	if err == nil {
		err = created.Errors[topic]
	}
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return c.waitFor(ctx, topic)
}

// waitFor waits until the client knows a topic and its leader: one that another
// process has created a moment ago is not in its metadata yet.
func (c *Connection) waitFor(ctx context.Context, topic string) error {
	err := again(ctx, func() error {
		_, _, err := c.leader(ctx, topic)
		return err
	})
	if err != nil {
		return fmt.Errorf("find topic %s: %w", topic, err)
	}
	return nil
}

// again repeats a read while another try may help at once, until the context ends.
func again(ctx context.Context, read func() error) error {
	for {
		err := read()
		if err == nil || !OfRead(err).Again {
			return err
		}
		if sleep.For(ctx, pollEvery) != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// Describe returns what there is of a topic; false where it does not exist, as all
// brokers say: one that has just started, or is cut off from the controllers, does not
// know what the others do.
func (c *Connection) Describe(ctx context.Context, topic string) (Topic, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var settings []kafka.DescribeConfigResponseConfigEntry
	absent := false
	err := again(ctx, func() (err error) {
		settings, err = c.settings(ctx, topic)
		if !errors.Is(err, kafka.UnknownTopicOrPartition) {
			return err
		}
		var asked error
		if absent, asked = c.absent(ctx, topic); absent {
			return nil
		}
		c.Renew() // so that another broker is asked
		return errors.Join(err, asked)
	})
	switch {
	case err != nil:
		return Topic{}, false, fmt.Errorf("ask for the settings of topic %s: %w", topic, err)
	case absent:
		return Topic{}, false, nil
	}
	t := Topic{Name: topic, Settings: map[string]string{}}
	for _, entry := range settings {
		t.Settings[entry.ConfigName] = entry.ConfigValue
	}
	if err := c.waitFor(ctx, topic); err != nil { // a broker has it, and the client may not know yet
		return Topic{}, false, err
	}
	metadata, err := c.cached(ctx, topic)
	if err != nil {
		return Topic{}, false, err
	}
	t.Partitions, t.Replicas = len(metadata.Partitions), len(metadata.Partitions[0].ReplicaNodes)
	if InSync(t) < majority(t.Replicas) { // of all of them, some of which may be on their way
		adding, err := c.adding(ctx, topic)
		if err != nil {
			return Topic{}, false, fmt.Errorf("min.insync.replicas of topic %s is %q, no majority of %d replicas; ask whether some of them are only being added: %w",
				topic, t.Settings["min.insync.replicas"], t.Replicas, err)
		}
		t.Replicas -= adding
	}
	// A broker that has just become the leader may not know it yet.
	err = again(ctx, func() error {
		t.LogStart, err = c.logStart(ctx, topic)
		return err
	})
	if err != nil {
		return Topic{}, false, fmt.Errorf("ask for the first offset of topic %s: %w", topic, err)
	}
	return t, true, nil
}

// settings returns those that are in effect, as one broker knows them.
func (c *Connection) settings(ctx context.Context, topic string) ([]kafka.DescribeConfigResponseConfigEntry, error) {
	configs, err := c.Client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}},
	})
	if err != nil {
		return nil, err
	}
	if len(configs.Resources) != 1 {
		return nil, errors.New("the answer does not have it")
	}
	return configs.Resources[0].ConfigEntries, configs.Resources[0].Error
}

// adding returns how many replicas a reassignment of a topic's first partition is about
// to add. The metadata has them among the replicas from its beginning, and those that
// it is to remove until its end.
func (c *Connection) adding(ctx context.Context, topic string) (int, error) {
	answer, err := c.Client.ListPartitionReassignments(ctx, &kafka.ListPartitionReassignmentsRequest{
		Topics:  map[string]kafka.ListPartitionReassignmentsRequestTopic{topic: {PartitionIndexes: []int{0}}},
		Timeout: requestTimeout / 2,
	})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return 0, err
	}
	for _, partition := range answer.Topics[topic].Partitions {
		if partition.PartitionIndex == 0 {
			return len(partition.AddingReplicas), nil
		}
	}
	return 0, nil
}

func (c *Connection) logStart(ctx context.Context, topic string) (int64, error) {
	offsets, err := c.Client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(0)}},
	})
	if err != nil {
		return 0, err
	}
	if len(offsets.Topics[topic]) != 1 {
		return 0, errors.New("the answer does not have it")
	}
	partition := offsets.Topics[topic][0]
	return partition.FirstOffset, partition.Error
}
