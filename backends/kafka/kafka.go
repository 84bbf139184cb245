package kafka

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Options configures a handle. The zero value, like nil, means the defaults.
type Options struct {
	// Transport is a template that says how to reach the brokers: Dial,
	// DialTimeout, TLS, SASL, Resolver and ClientID are taken over. It is not used
	// itself, and stays the caller's. nil means plaintext without a password.
	Transport *kafkago.Transport
	// Replication is the number of copies that a new store's topics have; 0 means
	// 3, or one for each broker where there are fewer. Existing topics stay as they
	// are.
	Replication int
	// Fsync makes the brokers write each record of a new store to disk before they
	// acknowledge it, so that a power loss of all of them loses nothing. It costs
	// most of the throughput of few writers. Without it a record is in the memory of
	// a majority of the copies.
	Fsync bool
	// Index is a folder for this store's index file, so that the next Open folds the
	// log's end alone. Empty means none. The folder must exist; the file is checked
	// against the log, and made anew where it does not fit. Two processes must not
	// share a folder.
	Index string
	// Poll is the longest time that the broker keeps a request for new records open;
	// 0 means 1 s. With NoPush it is how often this handle looks. Every 2 s it asks
	// anew in any case, so that it notices a broker that does not answer.
	Poll time.Duration
	// NoPush keeps the broker from answering as soon as there is a record: this
	// handle hears of other processes' events by polling.
	NoPush bool
	// NoCreate refuses a store that does not exist instead of making it.
	NoCreate bool
	// Logger hears of foreign records in the log, lost connections and index files
	// that do not fit; nil means slog.Default().
	Logger *slog.Logger

	silence time.Duration // shorter in tests
}

const (
	defaultPoll = time.Second
	// flushTimeout bounds a group of appends: a produce, which has a bound of its
	// own, its repetitions where nothing was sent, and the fold of its records.
	flushTimeout = 15 * time.Second
	// groupWeight and leastWeight make groups of at most 1,024 events and 256 KiB:
	// larger batches cost readers more than they save writers.
	groupWeight = 256 << 10
	leastWeight = 256
)

// Backend is a handle on a store in Kafka; it implements [eventstore.Backend].
type Backend struct {
	opts   Options
	store  string // as the caller named it
	topic  string // of the log
	conn   *connection.Connection
	inSync int // replicas that an acknowledged record of the log is on
	most   int // bytes of a record
	caps   eventstore.Capabilities
	id     uuid.UUID

	log         *folded
	views       views
	appends     *adapter.GroupCommit
	checkpoints *subscriptions
	snapshots   *snapshots
	index       *indexFile
	failed      atomic.Int64 // produces, to renew the connections now and then

	lifetime   context.Context //nolint:containedctx // it ends with the handle, not with a call
	end        context.CancelFunc
	background sync.WaitGroup
	closing    sync.Once
	closed     atomic.Bool
}

var _ eventstore.Backend = (*Backend)(nil)

// Open returns a handle on the store of this name in the cluster of these brokers,
// each a host:port, and makes the store where there is none. It folds the store's
// log, which takes as long as the README says.
//
// It fails with ErrInvalid for a bad option and for a topic that would lose events
// or their order, naming the setting and the remedy; existing topics are never
// altered. It fails with ErrUnavailable where the brokers do not answer. A refused
// right, password or certificate, and a log that is no store or that a newer version
// has written, match no sentinel.
func Open(ctx context.Context, brokers []string, store string, opts *Options) (*Backend, error) {
	b, err := open(ctx, brokers, store, opts)
	if err != nil {
		return nil, fmt.Errorf("open kafka store: %w", err)
	}
	return b, nil
}

// ID returns the store's identity. It does no I/O.
func (b *Backend) ID() uuid.UUID { return b.id }

// Info implements [eventstore.Backend].
func (b *Backend) Info(ctx context.Context) (eventstore.Info, error) {
	if err := b.view(ctx); err != nil {
		return eventstore.Info{}, err
	}
	return b.info()
}

// info is what is known of the store now.
func (b *Backend) info() (eventstore.Info, error) {
	b.log.mu.RLock()
	defer b.log.mu.RUnlock()
	if b.log.halted != nil {
		return eventstore.Info{}, b.log.halted
	}
	info := eventstore.Info{ID: b.id}
	if place, stream, version, ok := b.log.state.Head(); ok {
		info.Head = eventstore.Place{Position: place.Position(), Stream: stream, Version: version, ID: place.ID}
	}
	if seal, ok := b.log.state.Seal(); ok {
		info.Sealed, info.SealReason = true, seal.Reason
	}
	return info, nil
}

// Subscribe implements [eventstore.Backend]. It reads what this process has folded,
// which the broker's answers extend as soon as there are records.
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	page := func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		return b.readAll(ctx, req, true)
	}
	// A page of what is folded costs nothing, and says when nothing more can be.
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: page, Info: b.Info, Hint: &b.log.changed, Poll: min(b.opts.Poll, defaultPoll)})
}

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: b.checkpoints, Snapshots: b.snapshots}
}

// Close waits for appends under way, ends everything else, and writes the index
// file where the handle has one.
func (b *Backend) Close() error {
	b.closing.Do(func() {
		b.closed.Store(true)
		b.appends.Close()
		b.stop()
		b.index.save(b.log)
	})
	return nil
}

// stop ends all goroutines and connections.
func (b *Backend) stop() {
	b.end()
	b.log.changed.Notify() // so that this handle's subscriptions notice
	b.background.Wait()
	b.conn.Close()
}

// ready refuses a call on a closed handle or with a done context, before any I/O.
func (b *Backend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// within returns a context that ends with ctx or with the handle.
func (b *Backend) within(ctx context.Context) (context.Context, context.CancelFunc) {
	within, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.lifetime, cancel)
	return within, func() {
		stop()
		cancel()
	}
}

func (o *Options) complete() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	switch {
	case opts.Poll < 0:
		return opts, &eventstore.InvalidError{Field: "option Poll", Reason: fmt.Sprintf("%s is negative", opts.Poll)}
	case opts.Replication < 0:
		return opts, &eventstore.InvalidError{Field: "option Replication", Reason: fmt.Sprintf("%d is negative", opts.Replication)}
	}
	opts.Poll = cmp.Or(opts.Poll, defaultPoll)
	opts.silence = cmp.Or(opts.silence, silence)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	return opts, nil
}
