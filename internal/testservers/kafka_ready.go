//go:build unix

package testservers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// probeTimeout bounds each request to a broker that may not answer yet.
const probeTimeout = 2 * time.Second

// kafkaClient makes a client that keeps nothing from one call to the next: what
// it knew of the cluster would be out of date while brokers come and go.
func kafkaClient(addresses []string) (client *kafka.Client, closeIdle func()) {
	transport := &kafka.Transport{MetadataTTL: 200 * time.Millisecond}
	return &kafka.Client{Addr: kafka.TCP(addresses...), Transport: transport, Timeout: probeTimeout}, transport.CloseIdleConnections
}

// pingKafka asks brokers for their metadata: an open port alone proves nothing.
func pingKafka(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, closeIdle := kafkaClient(addresses)
	defer closeIdle()
	_, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	return err
}

// probe tells why the broker does not serve yet: it must answer, be in sync in
// the partitions that it holds, and take a new topic.
func (b *kafkaBroker) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	// The client retries a refused connection for as long as it may: look first.
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.address())
	if err != nil {
		return err
	}
	_ = conn.Close()
	client, closeIdle := kafkaClient([]string{b.address()})
	defer closeIdle()
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	if err := b.inSync(metadata); err != nil {
		return err
	}
	return b.takesTopic(ctx, client)
}

func (b *kafkaBroker) inSync(metadata *kafka.MetadataResponse) error {
	isMe := func(broker kafka.Broker) bool { return broker.ID == b.node }
	if !slices.ContainsFunc(metadata.Brokers, isMe) {
		return errors.New("the broker has not joined the cluster")
	}
	for _, topic := range metadata.Topics {
		for _, partition := range topic.Partitions {
			if partition.Leader.Host == "" || !slices.ContainsFunc(partition.Replicas, isMe) {
				continue // nobody to be in sync with, or nothing to hold
			}
			if !slices.ContainsFunc(partition.Isr, isMe) {
				return fmt.Errorf("the broker is not in sync in partition %d of %s", partition.ID, topic.Name)
			}
		}
	}
	return nil
}

// takesTopic creates a topic on this broker alone, and deletes it.
func (b *kafkaBroker) takesTopic(ctx context.Context, client *kafka.Client) error {
	name := "switchyard-test-ready-" + strings.ToLower(rand.Text())
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic:              name,
		NumPartitions:      -1, // both by the assignment
		ReplicationFactor:  -1,
		ReplicaAssignments: []kafka.ReplicaAssignment{{Partition: 0, Replicas: []int{b.node}}},
		ConfigEntries:      []kafka.ConfigEntry{{ConfigName: "min.insync.replicas", ConfigValue: "1"}},
	}}})
	if err == nil {
		err = created.Errors[name]
	}
	if err != nil {
		return err
	}
	deleted, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil {
		return err
	}
	return deleted.Errors[name]
}
