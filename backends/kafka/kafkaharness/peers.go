package kafkaharness

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/bench"
)

// Peers are the baselines of benchmarks: what the same client does with the same
// records on a topic of its own, without an event store. Nothing is judged or folded.
type Peers struct {
	connection *connection.Connection
	topic      string
	remove     func(ctx context.Context) error
	grouped    *adapter.GroupCommit
	state      *fold.State // of an empty store: what records are encoded by
}

// NewPeers prepares a topic with the settings of a store's log in the URL's cluster.
func NewPeers(ctx context.Context, u *url.URL) (*Peers, error) {
	brokers, _, opts, err := kafka.ParseURL(u)
	if err != nil {
		return nil, err
	}
	store := "switchyard-test-peer-" + strings.ToLower(rand.Text())
	p := &Peers{
		topic:  store + ".events",
		remove: func(ctx context.Context) error { return Remove(ctx, brokers, store, opts.Transport) },
		state:  fold.New(),
	}
	if _, err := p.state.Fold(0, fold.Genesis(uuid.New(), uuid.New())); err != nil {
		return nil, err
	}
	p.connection = connection.New(brokers, []string{p.topic}, opts.Transport)
	if err := p.connection.Create(ctx, p.topic, connection.CreateOptions{Replicas: opts.Replication, Fsync: opts.Fsync}); err != nil {
		p.connection.Close()
		return nil, fmt.Errorf("prepare the peers: %w", err)
	}
	// As the backend groups its appends.
	p.grouped = adapter.NewGroupCommit(p.flush, adapter.GroupCommitOptions{MaxWeight: 256 << 10, Weigh: adapter.WeighEvents(256), Timeout: 15 * time.Second})
	return p, nil
}

// Close removes the topic.
func (p *Peers) Close(ctx context.Context) error {
	p.grouped.Close()
	p.connection.Close()
	return p.remove(ctx)
}

// Topic is the topic that the peers write to.
func (p *Peers) Topic() string { return p.topic }

// Frame is the record of an append of so many events, as the others write it.
func (p *Peers) Frame(events int) ([]byte, error) {
	record, err := p.record(request(events))
	return record.Value, err
}

// Cases returns the baselines as cases of a benchmark.
func (p *Peers) Cases() []bench.Case {
	var cases []bench.Case
	for _, shape := range bench.Shapes() {
		cases = append(cases,
			p.writers("bare grouped produce", shape[0], shape[1], p.append),
			p.writers("bare produce", shape[0], shape[1], p.produce))
	}
	return cases
}

func (p *Peers) writers(name string, writers, size int, write func(ctx context.Context, req eventstore.AppendRequest) error) bench.Case {
	return bench.Case{
		Name: fmt.Sprintf("%s: append %d×%d new streams", name, writers, size),
		Run: func(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
			return bench.Writers(ctx, writers, size, d, func(ctx context.Context, _ int) error { return write(ctx, request(size)) })
		},
	}
}

// request is the append that is measured of the store, too.
func request(size int) eventstore.AppendRequest {
	part := eventstore.StreamAppend{Stream: "order-" + uuid.NewString(), Expected: eventstore.NoStream()}
	for range size {
		part.Events = append(part.Events, eventstore.Event{ID: uuid.New(), Type: "OrderPlaced", ContentType: eventstore.JSONContentType, Data: []byte(bench.Payload)})
	}
	return eventstore.AppendRequest{ID: uuid.New(), Parts: []eventstore.StreamAppend{part}}
}

func (p *Peers) record(req eventstore.AppendRequest) (connection.Record, error) {
	prepared, err := fold.NewRequest(req.ID, req.Parts)
	if err != nil {
		return connection.Record{}, err
	}
	return connection.Record{Value: p.state.Check(prepared).Frame(time.Now())}, nil
}

// produce sends one record by itself.
func (p *Peers) produce(ctx context.Context, req eventstore.AppendRequest) error {
	record, err := p.record(req)
	if err == nil {
		_, err = p.connection.Produce(ctx, p.topic, []connection.Record{record})
	}
	return err
}

// append sends a record with those of the other writers.
func (p *Peers) append(ctx context.Context, req eventstore.AppendRequest) error {
	record, err := p.record(req)
	if err == nil {
		_, err = p.grouped.AppendPrepared(ctx, req, record)
	}
	return err
}

func (p *Peers) flush(ctx context.Context, group []*adapter.GroupedAppend) {
	records := make([]connection.Record, len(group))
	for i, call := range group {
		records[i], _ = call.Prepared.(connection.Record)
	}
	_, err := p.connection.Produce(ctx, p.topic, records)
	for _, call := range group {
		call.Err = err
	}
}
