package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// errNoWitness says that a leader was not confirmed.
var errNoWitness = errors.New("too few of the other replicas confirm the leader")

// patience is how long witnesses may take longer than the leader. They are asked
// at the same time; one that hangs does not answer for seconds.
const patience = 500 * time.Millisecond

// HighWatermark returns the offset below which a topic has everything that was
// acknowledged, by any broker to anybody, before the call. It tries again, on
// fresh metadata, until the context ends.
//
// A leader's word alone is not enough: one that is cut off from the others, or
// was frozen while they elected another, does not know that it is deposed, and
// would give an old answer. So the other replicas are asked, at the same time and
// each directly, who leads. What was acknowledged under a later epoch is on
// inSync replicas, which have acted on that epoch, and a broker publishes its
// metadata before it acts on them. The leader and all replicas but inSync of them
// meet that set in at least one broker, and that one names the later epoch, or
// says that it leads no more. While a partition is moved its replicas are the ones
// before and those that are added, for an acknowledged record may be on any of them:
// more are asked, and as many of them as ever need not answer.
func (c *Connection) HighWatermark(ctx context.Context, topic string, inSync int) (int64, error) {
	var last error // what was in the way, when the context ends in the middle of a try
	for {
		offset, err := c.tryHighWatermark(ctx, topic, inSync)
		if err == nil {
			return offset, nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if failure := OfRead(err); failure.Class != Unavailable {
			return 0, fmt.Errorf("ask for the end of topic %s: %w", topic, err)
		}
		c.Renew()
		if sleep.For(ctx, pollEvery) != nil {
			return 0, fmt.Errorf("ask for the end of topic %s: %w", topic, errors.Join(ctx.Err(), last))
		}
	}
}

func (c *Connection) tryHighWatermark(ctx context.Context, topic string, inSync int) (int64, error) {
	leader, partition, err := c.leader(ctx, topic)
	if err != nil {
		return 0, err
	}
	needed := len(partition.ReplicaNodes) - inSync
	witnesses := c.witnesses(partition.ReplicaNodes, leader, needed)
	replies := make(chan reply, 1+len(witnesses))
	go c.ask(ctx, leader, &offsetRequest{
		ReplicaID: -1, // a consumer
		Topics: []listoffsets.RequestTopic{{
			Topic: topic,
			Partitions: []listoffsets.RequestPartition{{
				CurrentLeaderEpoch: partition.LeaderEpoch, // or the broker refuses
				Timestamp:          kafka.LastOffset,
			}},
		}},
		broker: leader,
	}, replies)
	for _, witness := range witnesses {
		go c.ask(ctx, witness, &metadataRequest{TopicNames: []string{topic}, broker: witness}, replies)
	}
	offset, answered, late := int64(0), false, (<-chan time.Time)(nil)
	refused := fmt.Errorf("%w (broker %d, epoch %d)", errNoWitness, leader, partition.LeaderEpoch)
	for range cap(replies) {
		select {
		case r := <-replies:
			epoch, names := leaderNamed(r)
			switch {
			case r.broker == leader:
				if offset, err = endOffset(r); err != nil {
					return 0, err
				}
				answered, late = true, time.After(patience)
			case epoch > partition.LeaderEpoch:
				return 0, refused // there is a later one
			case names == leader && epoch == partition.LeaderEpoch:
				needed--
			}
			if answered && needed <= 0 {
				return offset, nil // the others need not be waited for: one may hang
			}
		case <-late:
			return 0, refused
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, refused
}

// witnesses returns the replicas to ask. One that has not answered yet is left
// out where there are enough others: a broker that hangs would collect requests.
func (c *Connection) witnesses(replicas []int32, leader int32, needed int) []int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var idle, busy []int32
	for _, replica := range replicas {
		switch {
		case replica == leader:
		case c.asked[replica] > 0:
			busy = append(busy, replica)
		default:
			idle = append(idle, replica)
		}
	}
	if len(idle) < needed {
		idle = append(idle, busy...)
	}
	return idle
}

// reply is what a broker answers, a message or an error.
type reply struct {
	broker int32
	result protocol.Message
	err    error
}

// ask sends a message to its broker. It goes on after its caller has enough:
// a call that is cancelled costs its connection.
func (c *Connection) ask(ctx context.Context, broker int32, message protocol.Message, replies chan<- reply) {
	c.count(broker, 1)
	defer c.count(broker, -1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout/4) // a leader that hangs may have a successor
	defer cancel()
	result, err := c.Client.Transport.RoundTrip(ctx, c.Client.Addr, directed{message})
	if found, ok := result.(answer); ok {
		result = found.Message
	}
	replies <- reply{broker, result, err}
}

func (c *Connection) count(broker int32, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[broker] += by
}

// leader returns who leads a topic's first partition, as far as the client knows.
func (c *Connection) leader(ctx context.Context, topic string) (int32, metadata.ResponsePartition, error) {
	cached, err := c.cached(ctx, topic)
	if err != nil {
		return 0, metadata.ResponsePartition{}, err
	}
	partition := cached.Partitions[0]
	if partition.ErrorCode != 0 {
		return 0, partition, kafka.Error(partition.ErrorCode)
	}
	if partition.LeaderID < 0 {
		return 0, partition, kafka.LeaderNotAvailable
	}
	return partition.LeaderID, partition, nil
}

// cached returns what the client knows of a topic, which has partitions.
func (c *Connection) cached(ctx context.Context, topic string) (metadata.ResponseTopic, error) {
	cached, err := c.Client.Transport.RoundTrip(ctx, c.Client.Addr, &metadata.Request{TopicNames: []string{topic}})
	if err != nil {
		return metadata.ResponseTopic{}, err
	}
	response, ok := cached.(*metadata.Response)
	if !ok {
		return metadata.ResponseTopic{}, fmt.Errorf("the client answers with %T", cached)
	}
	for _, found := range response.Topics {
		if found.Name != topic {
			continue
		}
		if found.ErrorCode != 0 {
			return metadata.ResponseTopic{}, kafka.Error(found.ErrorCode)
		}
		if len(found.Partitions) > 0 {
			return found, nil
		}
	}
	return metadata.ResponseTopic{}, kafka.UnknownTopicOrPartition
}

func endOffset(r reply) (int64, error) {
	if r.err != nil {
		return 0, r.err
	}
	response, ok := r.result.(*listoffsets.Response)
	if !ok || len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return 0, errors.New("the leader's answer does not have the end")
	}
	partition := response.Topics[0].Partitions[0]
	if partition.ErrorCode != 0 {
		return 0, kafka.Error(partition.ErrorCode)
	}
	return partition.Offset, nil
}

// leaderNamed returns the leader that a replica names, and its epoch; -1 and -1
// where it names none.
func leaderNamed(r reply) (epoch, leader int32) {
	response, ok := r.result.(*metadata.Response)
	if !ok || len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return -1, -1
	}
	partition := response.Topics[0].Partitions[0]
	return partition.LeaderEpoch, partition.LeaderID
}

// absent tells whether no broker knows a topic. Each of those that the cluster has must
// say so.
func (c *Connection) absent(ctx context.Context, topic string) (bool, error) {
	cluster, err := c.Client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return false, err
	}
	replies := make(chan reply, len(cluster.Brokers))
	for _, broker := range cluster.Brokers {
		id := int32(broker.ID)
		go c.ask(ctx, id, &metadataRequest{TopicNames: []string{topic}, broker: id}, replies)
	}
	for range cluster.Brokers {
		select {
		case r := <-replies:
			if err := unknownTo(r); err != nil {
				return false, err
			}
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return len(cluster.Brokers) > 0, nil
}

// unknownTo returns nil where a broker answers that there is no such topic.
func unknownTo(r reply) error {
	if r.err != nil {
		return fmt.Errorf("ask broker %d: %w", r.broker, r.err)
	}
	response, ok := r.result.(*metadata.Response)
	if !ok || len(response.Topics) != 1 || kafka.Error(response.Topics[0].ErrorCode) != kafka.UnknownTopicOrPartition {
		return fmt.Errorf("broker %d does not say so", r.broker)
	}
	return nil
}

// directed is a message to the broker of its choice. The client answers metadata
// requests of its own type from what it knows, and panics on any other that is
// not part of a split request: hence a split into one.
type directed struct{ protocol.Message }

// Split implements protocol.Splitter.
func (d directed) Split(protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	return []protocol.Message{d.Message}, d, nil
}

// Merge implements protocol.Merger.
func (directed) Merge(_ []protocol.Message, results []any) (protocol.Message, error) {
	switch result := results[0].(type) {
	case error:
		return nil, result
	case protocol.Message:
		return answer{result}, nil
	}
	return nil, fmt.Errorf("the client answers with %T", results[0])
}

// answer is of a type that the client does not know, and so leaves alone.
type answer struct{ protocol.Message }

// offsetRequest is a listoffsets.Request to a broker of our choice. The encoder
// takes fields by their order: those of the original come first.
type offsetRequest struct {
	ReplicaID      int32                      `kafka:"min=v1,max=v5"`
	IsolationLevel int8                       `kafka:"min=v2,max=v5"`
	Topics         []listoffsets.RequestTopic `kafka:"min=v1,max=v5"`
	broker         int32
}

// ApiKey implements protocol.Message.
func (*offsetRequest) ApiKey() protocol.ApiKey { return protocol.ListOffsets }

// Broker implements protocol.BrokerMessage.
func (r *offsetRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}

// metadataRequest is a metadata.Request to a broker of our choice, as offsetRequest is.
type metadataRequest struct {
	TopicNames                         []string `kafka:"min=v0,max=v8,nullable"`
	AllowAutoTopicCreation             bool     `kafka:"min=v4,max=v8"`
	IncludeClusterAuthorizedOperations bool     `kafka:"min=v8,max=v8"`
	IncludeTopicAuthorizedOperations   bool     `kafka:"min=v8,max=v8"`
	broker                             int32
}

// ApiKey implements protocol.Message.
func (*metadataRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Broker implements protocol.BrokerMessage.
func (r *metadataRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}
