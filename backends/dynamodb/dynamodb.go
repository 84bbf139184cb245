package dynamodb

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Defaults of [Options].
const (
	DefaultIdempotencyWindow = 128
	DefaultPoll              = time.Second
)

// Options configures a handle. The zero value, like nil, means the defaults.
type Options struct {
	// Namespace is the store's part of the table, so that several stores share one:
	// up to 64 lower-case letters, digits and '-'. All its partition keys begin with
	// it and a slash.
	Namespace string
	// CreateTable creates a table that does not exist, on demand and without
	// deletion protection. It is for tests: make others from the texts of [Table].
	CreateTable bool
	// NoCreate refuses a table that holds no store, in the namespace, instead of
	// writing an identity into it.
	NoCreate bool
	// Poll is the longest time between two looks of this handle's subscriptions for
	// other processes' events; 0 means DefaultPoll. While events come from others it
	// looks every 100 ms. Events of this handle are delivered at once.
	Poll time.Duration
	// IdempotencyWindow is how many events from a stream's end are searched for the
	// IDs of an append; 0 means DefaultIdempotencyWindow, which is the least too. A
	// first append to a stream that is not known reads so many events.
	IdempotencyWindow int
	// Durability is what an acknowledged append survives; 0 means
	// SurvivesPowerLoss, which holds for the service. An emulator's is its own.
	Durability eventstore.Durability
	// OneRegion accepts a global table with eventual consistency, whose replicas in
	// other regions nobody writes to. Transactions hold in one region only, and
	// writes of two lose events without a trace.
	OneRegion bool
	// OnUsage, where not nil, is told what each request consumed. It is called
	// concurrently, and must not block.
	OnUsage func(Usage)
}

const mostWindow = 10_000

func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Poll == 0 {
		out.Poll = DefaultPoll
	}
	if out.IdempotencyWindow == 0 {
		out.IdempotencyWindow = DefaultIdempotencyWindow
	}
	if out.Durability == 0 {
		out.Durability = eventstore.SurvivesPowerLoss
	}
	switch {
	case !regexp.MustCompile(`^[a-z0-9-]{0,64}$`).MatchString(out.Namespace):
		return out, &eventstore.InvalidError{Field: "namespace", Reason: fmt.Sprintf("%.80q is not up to 64 lower-case letters, digits and '-'", out.Namespace)}
	case out.Poll < 0:
		return out, &eventstore.InvalidError{Field: "poll interval", Reason: fmt.Sprintf("%s is negative", out.Poll)}
	case out.IdempotencyWindow < DefaultIdempotencyWindow || out.IdempotencyWindow > mostWindow:
		return out, &eventstore.InvalidError{Field: "idempotency window", Reason: fmt.Sprintf("%d is not between %d and %d", out.IdempotencyWindow, DefaultIdempotencyWindow, mostWindow)}
	case out.Durability > eventstore.SurvivesPowerLoss:
		return out, &eventstore.InvalidError{Field: "durability", Reason: fmt.Sprintf("%d is none of the levels", out.Durability)}
	case out.CreateTable && out.NoCreate:
		return out, &eventstore.InvalidError{Field: "option NoCreate", Reason: "it excludes CreateTable"}
	}
	return out, nil
}

// Backend is a handle on a store in a table; it implements [eventstore.Backend].
type Backend struct {
	opts     Options
	client   client
	keys     keys
	id       uuid.UUID
	hashName func(name string) uint64

	committer *adapter.GroupCommit
	writer    chan *writer // holds the one writer while nobody appends
	deflater  deflater
	seen      *seen
	offers    offers
	hint      adapter.Hint
	watch     watch
	tail      logTail
	surplus   surplus
	owned     *ownClient // closed with the backend; nil where the client is the caller's

	logDensity, chunkDensity density

	mu     sync.Mutex
	as     asOf
	closed atomic.Bool

	patience patience
}

var _ eventstore.Backend = (*Backend)(nil)

// Open opens the store in a table, and gives it an identity where it has none. The
// client is the caller's, with its region, endpoint, credentials and retries;
// conditional transactions are sent once all the same, because a repetition by the
// SDK hides what became of the first one. Closing the backend leaves the client.
//
// Errors: ErrInvalid for an option; ErrUnavailable where the service cannot be
// reached, is throttled, or the table is being made; the context's error; otherwise
// the table is missing (the error says how to make it), is not this package's, or
// needs a check first (a restored one).
func Open(ctx context.Context, api *sdk.Client, table string, opts *Options) (*Backend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	options, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkTableName(table); err != nil {
		return nil, err
	}
	b := newBackend(api, table, options)
	if err := b.open(ctx); err != nil {
		return nil, fmt.Errorf("open dynamodb store: %w", err)
	}
	return b, nil
}

// flushTimeout bounds the writing of a group of appends, with all its repetitions.
const flushTimeout = 15 * time.Second

// Bounds of a group of appends.
const (
	groupBytes  = 3 << 20
	groupEvents = 1024
)

func newBackend(api *sdk.Client, table string, options Options) *Backend {
	b := &Backend{
		opts:     options,
		client:   client{api: api, table: table, count: options.OnUsage},
		keys:     keys{options.Namespace},
		hashName: hashName,
		seen:     newSeen(),
		writer:   make(chan *writer, 1),
		patience: usualPatience(),
	}
	b.watch.b, b.tail.b = b, b
	handle := uuid.New()
	b.writer <- &writer{b: b, handle: [8]byte(handle[:8]), tails: newGenerations[*tail](knownStreams)}
	b.committer = adapter.NewGroupCommit(b.flush, adapter.GroupCommitOptions{
		MaxWeight: groupBytes, Weigh: adapter.WeighEvents(groupBytes / groupEvents), Timeout: flushTimeout,
	})
	return b
}

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

// Close waits for the appends under way and ends the subscriptions. The client is
// its maker's.
func (b *Backend) Close() error {
	b.closed.Store(true)
	b.hint.Notify() // so that this handle's subscriptions notice
	b.committer.Close()
	if b.owned != nil {
		b.owned.close()
	}
	return nil
}

func (b *Backend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// moment is the writer's, as it was last published.
func (b *Backend) moment() asOf {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.as
}
