package relaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Topic is a topic and an ordinary consumer of it.
type Topic struct {
	Name   string
	client *kafka.Client
}

// CreateTopic makes a topic of so many partitions, with settings beyond the
// brokers' own.
func CreateTopic(t testing.TB, brokers []string, name string, partitions int, settings map[string]string) *Topic {
	t.Helper()
	transport := &kafka.Transport{MetadataTTL: 200 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	topic := &Topic{Name: name, client: &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport, Timeout: 10 * time.Second}}
	config := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: -1}
	for setting, value := range settings {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: setting, ConfigValue: value})
	}
	created, err := topic.client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err == nil {
		err = created.Errors[name]
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	topic.await(t, "it has no leaders", func() bool {
		_, err = topic.Records(t.Context())
		return err == nil
	})
	return topic
}

// Records returns what the topic holds, partition after partition.
func (c *Topic) Records(ctx context.Context) ([]Delivery, error) {
	metadata, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{c.Name}})
	if err != nil {
		return nil, err
	}
	if err := metadata.Topics[0].Error; err != nil {
		return nil, err
	}
	var all []Delivery
	for _, partition := range metadata.Topics[0].Partitions {
		deliveries, err := c.partition(ctx, partition.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, deliveries...)
	}
	return all, nil
}

func (c *Topic) partition(ctx context.Context, partition int) ([]Delivery, error) {
	var all []Delivery
	for offset := int64(0); ; {
		response, err := c.client.Fetch(ctx, &kafka.FetchRequest{
			Topic: c.Name, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 50 * time.Millisecond,
		})
		if err == nil {
			err = response.Error
		}
		if err != nil {
			return nil, err
		}
		for {
			record, err := response.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			if record.Offset < offset {
				continue // a fetch begins with its batch
			}
			delivery, err := read(record)
			if err != nil {
				return nil, fmt.Errorf("record %d of partition %d: %w", record.Offset, partition, err)
			}
			delivery.Lane = partition
			all = append(all, delivery)
			offset = record.Offset + 1
		}
		if offset >= response.HighWatermark {
			return all, nil
		}
	}
}

// Count returns how many records the topic holds.
func (c *Topic) Count(ctx context.Context) (int64, error) {
	metadata, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{c.Name}})
	if err != nil {
		return 0, err
	}
	var asked []kafka.OffsetRequest
	for _, partition := range metadata.Topics[0].Partitions {
		asked = append(asked, kafka.LastOffsetOf(partition.ID))
	}
	offsets, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{c.Name: asked}})
	if err != nil {
		return 0, err
	}
	var n int64
	for _, partition := range offsets.Topics[c.Name] {
		n += partition.LastOffset
		err = errors.Join(err, partition.Error)
	}
	return n, err
}

// read reads a record as the CloudEvents binding for Kafka has it.
func read(record *kafka.Record) (Delivery, error) {
	key, err := kafka.ReadAll(record.Key)
	if err != nil {
		return Delivery{}, err
	}
	d := Delivery{Attributes: make(map[string]string), Key: string(key)}
	if record.Value == nil {
		return d, errors.New("it has no value, which deletes in a compacted topic")
	}
	value, err := kafka.ReadAll(record.Value)
	if err != nil {
		return d, err
	}
	for _, header := range record.Headers {
		name, isAttribute := strings.CutPrefix(header.Key, "ce_")
		switch {
		case isAttribute:
			d.Attributes[name] = string(header.Value)
		case header.Key == "content-type" && strings.HasPrefix(strings.ToLower(string(header.Value)), "application/cloudevents"):
			structured, err := ReadJSON(value)
			structured.Key = d.Key
			return structured, err
		case header.Key == "content-type":
			d.Attributes["datacontenttype"] = string(header.Value)
		default:
			return d, fmt.Errorf("header %q is not of CloudEvents", header.Key)
		}
	}
	d.Data = value
	return d, nil
}

// Await reads the topic until a consumer that passes over repetitions has so many
// events, and returns all records.
func (c *Topic) Await(t testing.TB, events int) []Delivery {
	t.Helper()
	var got []Delivery
	c.await(t, fmt.Sprintf("it has not got %d events", events), func() bool {
		records, err := c.Records(t.Context()) // the broker may be away
		got = records
		return err == nil && len(Distinct(records)) >= events
	})
	return got
}

// await polls to a deadline.
func (c *Topic) await(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("topic %s: %s", c.Name, what)
		}
		<-ticker.C
	}
}
