package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
	"github.com/switchyard-dev/switchyard/relay"
)

const (
	// defaultBatchBytes leaves room below Kafka's own max.message.bytes.
	defaultBatchBytes = 768 << 10

	// lanes is how many partitions are written to at once: each needs a connection.
	lanes = 8

	// patience is how long a topic that was just created may take to be known.
	patience = 2 * time.Second
)

// Options configures a [Publisher]. The zero value, like nil, means the defaults.
type Options struct {
	// Transport says how to reach the brokers: its Dial, DialTimeout, TLS, SASL,
	// Resolver and ClientID are taken over; it is not used itself. nil means
	// plaintext.
	Transport *kafka.Transport
	// Structured puts the whole event into the record's value, as JSON. The default
	// is binary mode: the value is the event's data, and attributes are headers.
	Structured bool
	// Compression of what is sent; 0 means none.
	Compression kafka.Compression
	// MaxBatchBytes is the most that is sent in one request, before compression; 0
	// means 768 KiB. A larger event goes alone. Whatever the topic finds too large
	// is halved.
	MaxBatchBytes int
}

// Publisher publishes to one topic. It is safe for concurrent use, but the order of
// a stream is kept within one call of Publish and from one to the next, not between
// two at the same time.
type Publisher struct {
	client *kafkaclient.Client
	topic  string
	opts   Options
	closed atomic.Bool
	// produce sends records to a partition and returns the client's error.
	produce func(ctx context.Context, partition int, records []record) error
}

var _ relay.Publisher = (*Publisher)(nil)

// Open connects to a cluster by some of its brokers, host:port each, and finds the
// topic, which must exist.
//
// Errors: ErrInvalid for a topic that does not exist or a name that none can have,
// and for what no waiting mends, such as a wrong password; ErrUnavailable where no
// broker answers.
func Open(ctx context.Context, brokers []string, topic string, opts *Options) (*Publisher, error) {
	p := &Publisher{topic: topic}
	if opts != nil {
		p.opts = *opts
	}
	switch {
	case len(brokers) == 0:
		return nil, &eventstore.InvalidError{Field: "Kafka brokers", Reason: "there are none; give host:port of one at least"}
	case p.opts.MaxBatchBytes < 0:
		return nil, &eventstore.InvalidError{Field: "MaxBatchBytes", Reason: "it is negative; 0 means the default"}
	case p.opts.MaxBatchBytes == 0:
		p.opts.MaxBatchBytes = defaultBatchBytes
	}
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	p.client = kafkaclient.New(brokers, []string{topic}, p.opts.Transport)
	p.produce = p.produceToBroker
	if err := p.find(ctx); err != nil {
		p.client.Close()
		return nil, fmt.Errorf("open Kafka topic %s: %w", topic, err)
	}
	return p, nil
}

func checkTopic(topic string) error {
	const longest = 249
	if len(topic) <= longest && regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(topic) && strings.Trim(topic, ".") != "" {
		return nil
	}
	return &eventstore.InvalidError{Field: "Kafka topic", Reason: fmt.Sprintf("%.64q must be 1–%d of the characters A-Z, a-z, 0-9, '.', '_' and '-'", topic, longest)}
}

// find waits for a topic that was created a moment ago.
func (p *Publisher) find(ctx context.Context) error {
	if err := p.client.Ping(ctx); err != nil {
		if remedy := kafkaclient.Remedy(err); remedy != "" {
			return fmt.Errorf("%w; %w", &eventstore.InvalidError{Field: "connection", Reason: remedy}, err)
		}
		return unavailable(ctx, err)
	}
	until := time.Now().Add(patience)
	for {
		_, err := p.partitions(ctx)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, kafka.UnknownTopicOrPartition):
			return unavailable(ctx, err)
		case time.Now().After(until):
			return &eventstore.InvalidError{Field: "Kafka topic", Reason: fmt.Sprintf("%s does not exist; create it with as many partitions and replicas as its consumers need, as with kafka-topics.sh --create --topic %s", p.topic, p.topic)}
		}
		timer := time.NewTimer(patience / 20)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// partitions returns the numbers of the topic's partitions, those without a leader
// among them: another set would send streams to other partitions.
func (p *Publisher) partitions(ctx context.Context) ([]int, error) {
	metadata, err := p.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{p.topic}})
	if err != nil {
		return nil, err
	}
	if len(metadata.Topics) != 1 {
		return nil, errors.New("the answer does not have the topic")
	}
	topic := metadata.Topics[0]
	if topic.Error != nil {
		return nil, topic.Error
	}
	ids := make([]int, 0, len(topic.Partitions))
	for _, partition := range topic.Partitions {
		ids = append(ids, partition.ID)
	}
	slices.Sort(ids)
	for i, id := range ids {
		if i != id {
			return nil, fmt.Errorf("the answer does not have partition %d", i)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("the answer has no partition")
	}
	return ids, nil
}

// Close ends the connections. A Publish that is under way ends with an error.
func (p *Publisher) Close() error {
	if !p.closed.Swap(true) {
		p.client.Close()
	}
	return nil
}

// Publish implements [relay.Publisher]: it returns nil when all replicas in sync
// have every event. The events of one partition are sent one request after the
// other, and none after one that failed; those of different partitions at once.
//
// Errors: ErrUnavailable while brokers are away, slow or without enough replicas, and
// for missing rights; any other means that the topic refuses an event, as one that is
// too large.
func (p *Publisher) Publish(ctx context.Context, events []relay.CloudEvent) error {
	if p.closed.Load() {
		return fmt.Errorf("publish to Kafka topic %s: %w", p.topic, eventstore.ErrClosed)
	}
	partitions, err := p.partitions(ctx)
	if err != nil {
		return fmt.Errorf("publish to Kafka topic %s: %w", p.topic, unavailable(ctx, err))
	}
	byPartition := make(map[int][]record)
	for _, event := range events {
		r := newRecord(event, p.opts.Structured)
		partition := partitionOf(r.key, partitions)
		byPartition[partition] = append(byPartition[partition], r)
	}
	var mu sync.Mutex
	var failures []error
	var sending sync.WaitGroup
	free := make(chan struct{}, lanes)
	for partition, records := range byPartition {
		free <- struct{}{}
		sending.Go(func() {
			defer func() { <-free }()
			if err := p.send(ctx, partition, records); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
		})
	}
	sending.Wait()
	return p.failed(ctx, failures)
}

// partitionOf chooses a partition from a key, as Kafka's own clients do.
func partitionOf(key []byte, partitions []int) int {
	return kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: key}, partitions...)
}

// send sends the records of one partition in their order. Each request is confirmed
// before the next one, so that nothing overtakes what has to be sent again.
func (p *Publisher) send(ctx context.Context, partition int, records []record) error {
	for len(records) > 0 {
		n, size := 1, records[0].size
		for n < len(records) && size+records[n].size <= p.opts.MaxBatchBytes {
			size += records[n].size
			n++
		}
		if err := p.sendBatch(ctx, partition, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// sendBatch sends records in one request, or in halves where the topic finds them
// too large together.
func (p *Publisher) sendBatch(ctx context.Context, partition int, records []record) error {
	err := p.produce(ctx, partition, records)
	if err == nil || !tooLarge(err) || len(records) == 1 {
		return err
	}
	half := len(records) / 2
	if err := p.sendBatch(ctx, partition, records[:half]); err != nil {
		return err
	}
	return p.sendBatch(ctx, partition, records[half:])
}

func (p *Publisher) produceToBroker(ctx context.Context, partition int, records []record) error {
	now := time.Now()
	sent := make([]kafka.Record, len(records))
	for i, r := range records {
		sent[i] = kafka.Record{Time: now, Key: kafka.NewBytes(r.key), Value: kafka.NewBytes(r.value), Headers: r.headers}
	}
	response, err := p.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: p.topic, Partition: partition, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(sent...), Compression: p.opts.Compression,
	})
	if err != nil {
		return err
	}
	return response.Error
}
