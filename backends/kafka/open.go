package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

const (
	// openTimeout bounds each step of opening that waits for brokers; the fold of the
	// log has no bound but the caller's.
	openTimeout = 30 * time.Second
	foldBytes   = 4 << 20
)

func open(ctx context.Context, brokers []string, store string, options *Options) (_ *Backend, err error) {
	opts, err := options.complete()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkBrokers(brokers), connection.CheckName(store)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := &Backend{opts: opts, store: store, topic: store + ".events", log: newFolded()}
	checkpoints, snaps := store+".checkpoints", store+".snapshots"
	b.conn = connection.New(brokers, []string{b.topic, checkpoints, snaps}, opts.Transport)
	b.lifetime, b.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			b.stop()
			err = b.readError(ctx, err)
		}
	}()
	topic, err := b.findLog(ctx)
	if err != nil {
		return nil, err
	}
	b.inSync, b.most = connection.InSync(topic), connection.MaxMessageBytes(topic)-batchOverhead
	b.caps = capabilities(topic, opts)
	end, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	if b.index, err = openIndex(opts, store); err != nil {
		return nil, err
	}
	if err := b.startFrom(ctx, end); err != nil {
		return nil, err
	}
	b.id = b.log.state.Store()
	b.views.read = func(ctx context.Context) (int64, error) { return b.conn.HighWatermark(ctx, b.topic, b.inSync) }
	b.checkpoints = newSubscriptions(b, checkpoints)
	b.snapshots = newSnapshots(b, snaps)
	b.appends = adapter.NewGroupCommit(b.flush, adapter.GroupCommitOptions{
		MaxWeight: groupWeight, Weigh: weigh, Timeout: flushTimeout,
	})
	b.background.Go(func() { b.tail(b.lifetime) })
	return b, nil
}

// weigh tells how large the record of an append is, about: its events, and of each part
// the stream's name and what comes with it, for a part may have no events.
func weigh(req eventstore.AppendRequest) int {
	const partOverhead = 32
	weight := adapter.WeighEvents(leastWeight)(req)
	for _, part := range req.Parts {
		weight += len(part.Stream) + partOverhead
	}
	return weight
}

func checkBrokers(brokers []string) error {
	if len(brokers) == 0 {
		return &eventstore.InvalidError{Field: "brokers", Reason: "there are none; give host:port of one or more"}
	}
	for i, broker := range brokers {
		if strings.ContainsAny(broker, "@/") { // it may hold a password, so it is not shown
			return &eventstore.InvalidError{Field: "brokers", Reason: fmt.Sprintf("number %d is more than host:port; a user and password go into Transport.SASL", i+1)}
		}
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" {
			return &eventstore.InvalidError{Field: "brokers", Reason: fmt.Sprintf("%q is not host:port", broker)}
		}
	}
	return nil
}

// findLog returns the log's topic, and makes it where there is none.
func (b *Backend) findLog(ctx context.Context) (topic connection.Topic, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	// First of all: other calls do not tell why brokers cannot be used.
	if err := b.conn.Ping(ctx); err != nil {
		return topic, err
	}
	topic, exists, err := b.conn.Describe(ctx, b.topic)
	if err == nil && !exists {
		if b.opts.NoCreate {
			return topic, &eventstore.InvalidError{Field: "store", Reason: fmt.Sprintf("there is no store %q; check the name, or make one first (switchyard init)", b.store)}
		}
		topic, err = b.createTopic(ctx, b.topic, false)
	}
	if err != nil {
		return topic, err
	}
	return topic, connection.CheckLog(topic)
}

// createTopic makes a topic of the store, unless another process is faster.
func (b *Backend) createTopic(ctx context.Context, name string, compacted bool) (connection.Topic, error) {
	opts := connection.CreateOptions{Replicas: b.opts.Replication, Fsync: b.opts.Fsync, Compacted: compacted}
	for {
		if err := b.conn.Create(ctx, name, opts); err != nil {
			return connection.Topic{}, err
		}
		topic, exists, err := b.conn.Describe(ctx, name)
		if err != nil || exists {
			return topic, err
		}
		// The broker that was asked does not know the topic yet.
		if sleep.For(ctx, 50*time.Millisecond) != nil {
			return topic, ctx.Err()
		}
	}
}

// begin writes the first record of an empty log and returns the log's end. Several
// processes may do so; the one at offset 0 counts.
func (b *Backend) begin(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	id, store := uuid.New(), uuid.New()
	for {
		end, err := b.conn.HighWatermark(ctx, b.topic, b.inSync)
		if err != nil || end > 0 {
			return end, err
		}
		if b.opts.NoCreate {
			return 0, &eventstore.InvalidError{Field: "store", Reason: fmt.Sprintf("the log of %q is empty; check the name, or make a store first (switchyard init)", b.store)}
		}
		// Its outcome is seen in the log.
		if _, err := b.conn.Produce(ctx, b.topic, []connection.Record{{Value: fold.Genesis(id, store)}}); err != nil {
			if failure := connection.OfAppend(err); failure.Class == connection.Refused || sleep.For(ctx, 100*time.Millisecond) != nil {
				return 0, err
			}
		}
	}
}

// startFrom folds the log up to its end: from the index file where it fits, else
// from the beginning.
func (b *Backend) startFrom(ctx context.Context, end int64) error {
	state, err := b.index.load(ctx, b)
	if err != nil {
		return err
	}
	if state != nil {
		b.log.restore(state.State, state.last)
	}
	if err := b.foldTo(ctx, end); err != nil {
		return err
	}
	b.index.note(b.log, &b.background)
	return nil
}

// foldTo folds the log up to an offset, the next records fetched while those before
// them are folded.
func (b *Backend) foldTo(ctx context.Context, end int64) error {
	type answer struct {
		records []connection.Record
		err     error
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, 1)
	done := make(chan struct{})
	defer func() {
		cancel()
		<-done
	}()
	go func() {
		defer close(done)
		for next := b.log.next(); next < end; {
			records, err := b.fetch(ctx, next, foldBytes)
			if err == nil {
				next = records[len(records)-1].Offset + 1
			}
			select {
			case answers <- answer{records, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for b.log.next() < end {
		select {
		case a := <-answers:
			if a.err != nil {
				return a.err
			}
			if err := b.log.take(a.records); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
