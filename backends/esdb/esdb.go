package esdb

import (
	"context"
	"fmt"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

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
	// Poll is how often subscriptions look for events that the server has not told
	// them of, and with NoPush of all. 0 means DefaultPoll.
	Poll time.Duration
	// NoPush makes subscriptions read and poll, for networks that cut long calls.
	NoPush bool
	// NoCreate refuses a server that holds no store, in the namespace, instead of
	// making one.
	NoCreate bool
	// Durability is what an acknowledged append survives on this server; 0 means
	// SurvivesProcessCrash. A server with its default flushing survives a loss of
	// power too, one with --mem-db nothing: the operator knows, and the protocol
	// does not say.
	Durability eventstore.Durability
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
	if out.Durability == 0 {
		out.Durability = eventstore.SurvivesProcessCrash
	}
	switch {
	case out.IdempotencyWindow < maxAppendEvents || out.IdempotencyWindow > maxWindow:
		return out, &eventstore.InvalidError{Field: "idempotency window", Reason: fmt.Sprintf("%d is not between %d, the largest append, and %d", out.IdempotencyWindow, maxAppendEvents, maxWindow)}
	case out.MaxAppendSize < DefaultMaxAppendSize:
		return out, &eventstore.InvalidError{Field: "largest append", Reason: fmt.Sprintf("%d bytes is less than %d, which every server accepts", out.MaxAppendSize, DefaultMaxAppendSize)}
	case out.Durability > eventstore.SurvivesPowerLoss:
		return out, &eventstore.InvalidError{Field: "durability", Reason: fmt.Sprintf("%d is none of the levels", out.Durability)}
	case out.Poll < 0:
		return out, &eventstore.InvalidError{Field: "poll interval", Reason: fmt.Sprintf("%s is negative", out.Poll)}
	}
	return out, nil
}

// Limits of an append. The bytes that the contract does not count, which are the
// ID, the time, the content type's key and the second byte of each of a type's characters, must
// fit between eventstore's limit and the server's.
const (
	maxAppendEvents  = 256
	maxWindow        = 1 << 16
	uncountedPerPart = 384
)

// Backend is a handle on a store in EventStoreDB; it implements [eventstore.Backend].
type Backend struct {
	options Options
	names   names
	conn    *connection
	cache   *streamCache
	extent  extent
	shared  sharedSubscription
}

var _ eventstore.Backend = (*Backend)(nil)

// Open opens the store on the server that a configuration of the official client
// names, and gives it an identity where it has none. Make the configuration with
// esdb.ParseConnectionString, or pass the one that an application's own
// *esdb.Client was made from: Open connects beside that client, which it could
// not share. The configuration is copied.
//
// A search for a cluster's leader ends after MaxDiscoverAttempts rounds with
// ErrUnavailable; the next call searches again. DefaultDeadline, 10 s where it is
// not set, bounds an append whose turn on its stream has come; a group of appends
// that travel together has twice that. The configuration's Logger is not used.
//
// Errors: ErrInvalid for an option or the configuration: no host, a user without
// TLS, a node preference other than the leader. ErrUnavailable, the context's error.
func Open(ctx context.Context, config *client.Configuration, opts *Options) (*Backend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	settings, err := newSettings(config)
	if err != nil {
		return nil, err
	}
	options, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	n, err := newNames(options.Namespace)
	if err != nil {
		return nil, err
	}
	b := &Backend{options: options, names: n, conn: newConnection(settings)}
	b.shared.b = b
	b.cache = newStreamCache(options.IdempotencyWindow, b.newCachedStream)
	if err := b.open(ctx); err != nil {
		b.conn.close()
		return nil, fmt.Errorf("esdb: open the store: %w", mapError(ctx, err))
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
		ContiguousAppends:   eventstore.Yes(),
		GlobalOrder:         eventstore.Yes(),
		WholeStreams:        eventstore.No("other clients truncate, delete and scavenge streams"),
		LivePush:            push,
		PollInterval:        b.options.Poll,
		PreservedRecordTime: eventstore.No("EventStoreDB stamps events itself, and its other readers would see another time"),
		ExactData:           eventstore.Yes(),
		BinaryData:          eventstore.Yes(),
		Metadata:            eventstore.Yes(),
		StreamScopedIDs:     eventstore.Yes(),
		Checkpoints:         eventstore.Yes(),
		Snapshots:           eventstore.Yes(),
		Seal:                eventstore.No(whyNoSeal),
		IdempotencyWindow:   uint64(b.options.IdempotencyWindow),
		Durability:          b.options.Durability,
		TimePrecision:       timePrecision,
		Limits: eventstore.Limits{
			MaxAppendEvents: maxAppendEvents,
			MaxAppendParts:  1,
			MaxAppendBytes:  b.options.MaxAppendSize - maxAppendEvents*uncountedPerPart,
			MaxEventBytes:   b.options.MaxAppendSize - maxAppendEvents*uncountedPerPart,
			MaxStreamBytes:  1024,
			MaxTypeBytes:    255,
		},
	}
}

const whyNoSeal = "other clients write to the server too, and it cannot refuse what is already on its way"

// Close ends the handle's calls and subscriptions, and its connection.
func (b *Backend) Close() error {
	b.conn.close()
	b.shared.close()
	return nil
}

func (b *Backend) ready(ctx context.Context) error {
	if b.conn.isClosed() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}
