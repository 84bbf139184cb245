package postgres

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
	"github.com/switchyard-dev/switchyard/internal/pgrecords"
)

// Options configures a handle. The zero value, like nil, means the defaults.
type Options struct {
	// Schema is the PostgreSQL schema that holds the store; empty means
	// "switchyard". It is 1 to 63 ASCII letters, digits and underscores, does not
	// begin with a digit or "pg_", and is taken as it is written.
	Schema string
	// Poll is the longest time a live subscription waits before it looks for
	// events on its own; 0 means 1 s.
	Poll time.Duration
	// NoListen keeps this handle from LISTEN, which transaction poolers cannot
	// carry: its subscriptions then hear of other processes' events by polling.
	NoListen bool
	// NoMigration refuses a schema that is absent or old instead of bringing it
	// up to date. A schema that is current needs no right to change it either way.
	NoMigration bool
}

const (
	defaultSchema = "switchyard"
	defaultPoll   = time.Second
	// groups is how many groups of appends may be under way: while one commits
	// the next has been sent and waits at the lock. Among other writers one is
	// enough; see [groupLimit].
	groups = 2
	// flushTimeout bounds a group. It is longer than the lock's own timeout in
	// the schema, whose error says for certain that nothing was written.
	flushTimeout = 30 * time.Second
)

// Backend is a handle on a store in PostgreSQL; it implements [eventstore.Backend].
type Backend struct {
	pool     *pgxpool.Pool
	ownsPool bool
	schema   string // as the caller wrote it
	sql      statements
	records  *pgrecords.Records
	opened
	caps eventstore.Capabilities
	poll time.Duration

	appends    *adapter.GroupCommit
	epochs     sealEpochs
	groupLimit groupLimit
	conflicts  conflictPacer
	wake       *wake
	fanOut     fanOut
	reading    pgdriver.PageBudget
	lifetime   context.Context //nolint:containedctx // it ends with the handle, not with a call
	end        context.CancelFunc
	closed     atomic.Bool
}

var _ eventstore.Backend = (*Backend)(nil)

// Open returns a handle on the store in one schema of the pool's database, and
// creates or migrates the schema where needed. The pool stays the caller's: Close
// leaves it open. Appends use up to two of its connections at once, each read one
// for a page at a time, and listening one that is taken out of the pool.
//
// It fails with ErrInvalid for a bad option, ErrUnavailable where the server
// cannot be reached, and says so where the server is a replica, where its
// encoding is not UTF-8, or where the schema is newer than this package.
func Open(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*Backend, error) {
	b, err := open(ctx, pool, opts)
	if err != nil {
		return nil, fmt.Errorf("open postgres store: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*Backend, error) {
	if opts == nil {
		opts = &Options{}
	}
	if pool == nil {
		return nil, &eventstore.InvalidError{Field: "pool", Reason: "it is nil; give an open pool"}
	}
	schema := opts.Schema
	if schema == "" {
		schema = defaultSchema
	}
	if err := pgdriver.CheckSchema(schema); err != nil {
		return nil, err
	}
	if opts.Poll < 0 {
		return nil, &eventstore.InvalidError{Field: "option Poll", Reason: fmt.Sprintf("%s is negative", opts.Poll)}
	}
	server, err := pgdriver.Inspect(ctx, pool)
	if err != nil {
		return nil, readError(ctx, err)
	}
	if err := server.Check(pgdriver.InText(pool)); err != nil {
		return nil, err
	}
	store, err := migrate(ctx, pool, schema, opts.NoMigration)
	if err != nil {
		return nil, err
	}
	b := &Backend{pool: pool, schema: schema, sql: newStatements(schema), opened: store, poll: opts.Poll}
	if b.poll == 0 {
		b.poll = defaultPoll
	}
	b.epochs.learn(store.sealEpoch)
	b.lifetime, b.end = context.WithCancel(context.Background())
	b.records = b.newRecords()
	b.fanOut.read = b.ReadAll
	b.wake = newWake(b.lifetime, pool, store.id, b.fanOut.advance, !opts.NoListen)
	b.caps = capabilities(server, b.poll, opts, pool)
	b.appends = adapter.NewGroupCommit(b.flush, adapter.GroupCommitOptions{Flushes: groups, Timeout: flushTimeout})
	return b, nil
}

// ID returns the store's identity. It does no I/O.
func (b *Backend) ID() uuid.UUID { return b.id }

// Subscribe implements [eventstore.Backend].
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		if err := b.ready(ctx); err != nil {
			yield(eventstore.Message{}, err)
			return
		}
		defer b.wake.subscribe()()
		page, leave := b.fanOut.follow()
		defer leave()
		source := adapter.FollowSource{Page: page, Info: b.Info, Hint: b.wake.hint, Poll: b.poll}
		adapter.Follow(ctx, req, source)(yield)
	}
}

// Close waits for appends under way, ends reads and subscriptions, and closes
// the pool if [OpenURL] made it.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.appends.Close()
	b.end()
	b.wake.close()
	if b.ownsPool {
		b.pool.Close()
	}
	return nil
}

// ready refuses a call on a closed handle or with a done context, before any I/O.
func (b *Backend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// call runs I/O other than a group's: it ends with ctx or with the handle, and
// its error is mapped.
func (b *Backend) call(ctx context.Context, do func(ctx context.Context) error) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.lifetime, cancel)()
	return b.readFailure(ctx, do(within))
}

// acquire waits for a connection until ctx or the handle ends: nothing is lost with that.
func (b *Backend) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.lifetime, cancel)()
	return b.pool.Acquire(within)
}

// readFailure maps the error of a call that may have ended with the handle.
func (b *Backend) readFailure(ctx context.Context, err error) error {
	if err != nil && b.closed.Load() && ctx.Err() == nil {
		return eventstore.ErrClosed
	}
	return readError(ctx, err)
}
