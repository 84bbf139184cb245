package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/switchyard-dev/switchyard/internal/sleep"
)

const (
	// fetchTimeout is how long a fetch may take beyond the time that it may wait for
	// records, and produceTimeout a produce: a leader that hangs has a successor by
	// then. The broker gets half of the latter to replicate what is produced.
	fetchTimeout   = 4 * time.Second
	produceTimeout = 5 * time.Second
)

// Record is a record of a topic.
type Record struct {
	Offset int64
	// Key and Value are nil where there is none. Both are of a control record, which
	// brokers write themselves, such as the end of a foreign producer's transaction: it
	// takes an offset, and says nothing of the store.
	Key, Value []byte
}

// FetchOptions say how much to fetch, and how long to wait for it.
type FetchOptions struct {
	// MaxBytes bounds the answer; the first batch comes whole all the same, so 1
	// fetches exactly the batch that holds the offset.
	MaxBytes int
	// Wait is how long the broker waits for MinBytes; a MinBytes of 0 means 1.
	Wait     time.Duration
	MinBytes int
}

// Fetched is what a fetch brings.
type Fetched struct {
	// Records begin at the offset asked for, or after it.
	Records []Record
	// Next is where to go on: after the last record, or within a batch of which
	// compaction has left no record.
	Next int64
	// HighWatermark is that of the broker that answered, by its own word.
	HighWatermark int64
}

// Fetch reads records from an offset on. All of them are acknowledged, or will be.
func (c *Connection) Fetch(ctx context.Context, topic string, offset int64, opts FetchOptions) (Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.Wait+fetchTimeout)
	defer cancel()
	answer, err := c.Client.Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Offset: offset, MinBytes: int64(max(opts.MinBytes, 1)), MaxBytes: int64(opts.MaxBytes), MaxWait: max(opts.Wait, time.Millisecond),
	})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return Fetched{}, fmt.Errorf("fetch offset %d of topic %s: %w", offset, topic, err)
	}
	fetched, err := read(answer.Records, offset)
	if err != nil {
		return Fetched{}, fmt.Errorf("read a record of topic %s: %w", topic, err)
	}
	fetched.HighWatermark = answer.HighWatermark
	return fetched, nil
}

func read(answer kafka.RecordReader, offset int64) (Fetched, error) {
	fetched := Fetched{Next: offset}
	for _, batch := range batches(answer) {
		if err := fetched.add(batch, offset); err != nil {
			return Fetched{}, err
		}
	}
	if n := len(fetched.Records); n > 0 {
		fetched.Next = fetched.Records[n-1].Offset + 1
	}
	return fetched, nil
}

// batches returns what an answer consists of. The client's own reader of all of it
// leaves out control batches, and their offsets would look like lost records.
func batches(records kafka.RecordReader) []protocol.RecordReader {
	if stream, ok := records.(*protocol.RecordStream); ok {
		return stream.Records
	}
	return []protocol.RecordReader{records}
}

// add takes in a batch's records from an offset on.
func (f *Fetched) add(reader protocol.RecordReader, offset int64) error {
	// Where a batch without records ends the client does not tell.
	control := false
	switch batch := reader.(type) {
	case *protocol.RecordBatch:
		f.Next = max(f.Next, batch.BaseOffset) + 1
	case *protocol.ControlBatch:
		f.Next, control = max(f.Next, batch.BaseOffset)+1, true
	}
	for {
		record, err := reader.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		key, err := content(record.Key)
		value, err2 := content(record.Value)
		if err = errors.Join(err, err2); err != nil {
			return fmt.Errorf("offset %d: %w", record.Offset, err)
		}
		if record.Offset < offset { // the first batch may begin before it
			continue
		}
		if control {
			key, value = nil, nil
		}
		f.Records = append(f.Records, Record{Offset: record.Offset, Key: key, Value: value})
	}
}

// content copies bytes out of the client's buffers; nil stays nil.
func content(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close()
	return protocol.ReadAll(b)
}

// Produce appends records as one batch, whole or not at all, and returns the first
// one's offset when it is acknowledged by all replicas in sync. The records must
// never change: the client may still read them after an error. For errors see
// [OfAppend].
func (c *Connection) Produce(ctx context.Context, topic string, records []Record) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	batch := make([]kafka.Record, len(records))
	for i, record := range records {
		if record.Key != nil {
			batch[i].Key = kafka.NewBytes(record.Key)
		}
		if record.Value != nil {
			batch[i].Value = kafka.NewBytes(record.Value)
		}
	}
	answer, err := c.Client.Produce(ctx, &kafka.ProduceRequest{Topic: topic, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(batch...)})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return 0, fmt.Errorf("produce to topic %s: %w", topic, err)
	}
	return answer.BaseOffset, nil
}

// Again repeats a call that changes nothing while another try may help at once, for
// as long as the context lasts and no longer than so much time.
func (c *Connection) Again(ctx context.Context, within time.Duration, call func() error) error {
	until := time.Now().Add(within)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := call()
		if err == nil || !OfRead(err).Again || time.Now().Add(wait).After(until) || sleep.For(ctx, wait) != nil {
			return err
		}
	}
}
