package esdb

import (
	"context"
	"fmt"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Defaults of [Options].
const (
	DefaultIdempotencyWindow = 256
	DefaultMaxAppendSize     = 1 << 20
	DefaultPoll              = time.Second
)

// Options configures a handle. The zero value, like nil, means the defaults.
type Options struct {
	// Namespace is a prefix of all the store's streams that callers never see: a
	// store of its own inside the server. Up to 64 letters, digits, '_', '.' and
	// '-'. Empty is no prefix: the store is all the server's streams.
	Namespace string
	// IdempotencyWindow is how many events from a stream's end are searched for
	// the IDs of an append; 0 means DefaultIdempotencyWindow. It cannot be less
	// than the largest append, 256.
	IdempotencyWindow int
	// MaxAppendSize is the server's limit of one append in bytes, its setting of
	// this name; 0 means DefaultMaxAppendSize. It cannot be less than that.
	MaxAppendSize int
	// Poll is how often a filtered subscription that nothing matches reports its
	// progress; with NoPush, how often a subscription looks for events. 0 means
	// DefaultPoll.
	Poll time.Duration
	// NoPush makes subscriptions read and poll, for networks that cut long calls.
	NoPush bool
	// ResolveLinks makes ReadStream show the event that a link points to in the
	// link's place, as in EventStoreDB's own projections. A link whose target is
	// gone is shown as it is, with the type "$>".
	ResolveLinks bool
}

func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.IdempotencyWindow == 0 {
		out.IdempotencyWindow = DefaultIdempotencyWindow
	}
	if out.MaxAppendSize == 0 {
		out.MaxAppendSize = DefaultMaxAppendSize
	}
	if out.Poll == 0 {
		out.Poll = DefaultPoll
	}
	switch {
	case out.IdempotencyWindow < maxAppendEvents || out.IdempotencyWindow > maxWindow:
		return out, &eventstore.InvalidError{Field: "idempotency window", Reason: fmt.Sprintf("%d is not between %d, the largest append, and %d", out.IdempotencyWindow, maxAppendEvents, maxWindow)}
	case out.MaxAppendSize < DefaultMaxAppendSize:
		return out, &eventstore.InvalidError{Field: "largest append", Reason: fmt.Sprintf("%d bytes is less than %d, which every server accepts", out.MaxAppendSize, DefaultMaxAppendSize)}
	case out.Poll < 0:
		return out, &eventstore.InvalidError{Field: "poll interval", Reason: fmt.Sprintf("%s is negative", out.Poll)}
	}
	return out, nil
}

// Limits of an append. The bytes that the contract does not count, which are the
// ID, the content type and the second byte of each of a type's characters, must
// fit between eventstore's limit and the server's.
const (
	maxAppendEvents  = 256
	maxWindow        = 1 << 16
	uncountedPerPart = 352
)

// Backend is a handle on a store in EventStoreDB; it implements [eventstore.Backend].
type Backend struct {
	options  Options
	names    names
	conn     *connection
	tails    *tails
	heads    heads
	identity uuid.UUID
}

var _ eventstore.Backend = (*Backend)(nil)

// Open opens the store that the client's server holds, and gives it an identity
// where it has none. The client stays the caller's: Close leaves it open.
//
// Give the client a MaxDiscoverAttempts that it will not reach, as OpenURL does:
// after its last attempt a client never connects again. Its NodePreference must
// be the leader, or reads may be older than acknowledged appends. User and
// password need TLS, without which the client does not send them.
//
// Errors: ErrInvalid for an option, ErrUnavailable, the context's error.
func Open(ctx context.Context, c *client.Client, opts *Options) (*Backend, error) {
	if c == nil {
		return nil, &eventstore.InvalidError{Field: "client", Reason: "it is nil"}
	}
	return open(ctx, newConnection(c, nil), opts)
}

func open(ctx context.Context, conn *connection, opts *Options) (*Backend, error) {
	options, err := opts.withDefaults()
	if err != nil {
		conn.close()
		return nil, err
	}
	n, err := newNames(options.Namespace)
	if err != nil {
		conn.close()
		return nil, err
	}
	b := &Backend{options: options, names: n, conn: conn, tails: newTails(options.IdempotencyWindow)}
	if b.identity, err = b.loadIdentity(ctx); err != nil {
		conn.close()
		return nil, fmt.Errorf("esdb: read the store's identity: %w", err)
	}
	return b, nil
}

// Capabilities declares what EventStoreDB can do, and this package for it.
func (b *Backend) Capabilities() eventstore.Capabilities {
	push := eventstore.Yes()
	if b.options.NoPush {
		push = eventstore.No("push is off for this handle")
	}
	return eventstore.Capabilities{
		Backend:             "esdb",
		MultiStreamAppend:   eventstore.No("EventStoreDB writes one stream at a time; servers since 25.1 have a call for more, which this client does not"),
		GlobalOrder:         eventstore.Yes(),
		LivePush:            push,
		PollInterval:        b.options.Poll,
		PreservedRecordTime: eventstore.No("EventStoreDB stamps events itself"),
		IdempotencyWindow:   uint64(b.options.IdempotencyWindow),
		Durability:          eventstore.SurvivesPowerLoss,
		TimePrecision:       100 * time.Nanosecond,
		Limits: eventstore.Limits{
			MaxAppendEvents: maxAppendEvents,
			MaxAppendBytes:  b.options.MaxAppendSize - maxAppendEvents*uncountedPerPart,
			MaxEventBytes:   b.options.MaxAppendSize - maxAppendEvents*uncountedPerPart,
			MaxStreamBytes:  1024,
			MaxTypeBytes:    255,
		},
	}
}

// Close ends the handle's calls and subscriptions, and closes the client where
// this package opened it.
func (b *Backend) Close() error {
	b.conn.close()
	return nil
}

func (b *Backend) ready(ctx context.Context) error {
	if b.conn.lifetime.Err() != nil {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}
