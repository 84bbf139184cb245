package marten

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
	"github.com/switchyard-dev/switchyard/internal/pgrecords"
)

// Backend is a handle on one tenant's events in a Marten store; it implements
// [eventstore.Backend].
type Backend struct {
	pool     *pgxpool.Pool
	ownsPool bool
	opts     Options
	layout   atomic.Pointer[layout]
	names    *names
	own      own
	records  *pgrecords.Records
	caps     eventstore.Capabilities

	appends  *adapter.GroupCommit
	owed     owed
	hint     adapter.Hint
	water    *watermark
	extent   extent
	reading  pgdriver.PageBudget
	lifetime context.Context //nolint:containedctx // it ends with the handle, not with a call
	end      context.CancelFunc
	closed   atomic.Bool
}

var _ eventstore.Backend = (*Backend)(nil)

// Open returns a handle on the event store of a Marten application in one schema of the
// pool's database. The pool stays the caller's: Close leaves it open. It must reach the
// primary, and no replica when that is lost: [PoolConfig] sees to it. Appends use one of its
// connections at a time, and each read one for a page.
//
// It fails with ErrInvalid for a bad option, for a schema without an event store, and for
// a tenant that is missing or not needed; with ErrUnavailable where the server cannot be
// reached; and says so where the server is a replica or the tables are of no version that
// can be read. Where the tables can be read and not be written safely, the handle only
// reads: every append is refused with ErrUnsupported and the reason.
func Open(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*Backend, error) {
	b, err := open(ctx, pool, opts)
	if err != nil {
		return nil, fmt.Errorf("open marten store: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, pool *pgxpool.Pool, options *Options) (*Backend, error) {
	opts, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, invalid("pool", "it is nil; give an open pool")
	}
	b := &Backend{pool: pool, opts: opts}
	server, err := pgdriver.Inspect(ctx, pool)
	if err != nil {
		return nil, readError(ctx, err)
	}
	if err := server.Check(pgdriver.InText(pool)); err != nil {
		return nil, err
	}
	if err := b.inspect(ctx); err != nil {
		return nil, readError(ctx, err)
	}
	if b.names, err = newNames(opts, b.shape().uuidKeys); err != nil {
		return nil, err
	}
	if b.own, err = openOwn(ctx, pool, opts); err != nil {
		return nil, readError(ctx, err)
	}
	b.lifetime, b.end = context.WithCancel(context.Background())
	b.records = b.newRecords()
	b.caps = b.capabilities(server)
	b.water = newWatermark(b.sql(), pool, opts)
	b.water.begin(ctx)
	b.appends = adapter.NewGroupCommit(b.flush, adapter.GroupCommitOptions{Flushes: groups, Timeout: flushTimeout})
	return b, nil
}

// layout is how the store's tables are made, and what that makes of our statements. It is
// read again when a statement meets tables that Marten has migrated meanwhile.
type layout struct {
	shape shape
	sql   statements
	table int64 // the OID of mt_events, which names the lock among our writers
}

func (b *Backend) shape() *shape { return &b.layout.Load().shape }

func (b *Backend) sql() *statements { return &b.layout.Load().sql }

// inspect reads how the store's tables are made.
func (b *Backend) inspect(ctx context.Context) error {
	facts, err := catalog.Read(ctx, b.pool, b.opts.Schema)
	if err != nil {
		return err
	}
	var l layout
	if l.shape, err = newShape(facts, b.opts.Schema, b.opts.AcceptUntagged); err != nil {
		return err
	}
	if err := l.shape.checkTenant(b.opts.Tenant); err != nil {
		return err
	}
	if before := b.layout.Load(); before != nil && !before.shape.readsAlike(l.shape) {
		return errChanged
	}
	suffix := ""
	if l.shape.tenantPartitioned {
		if suffix, err = b.partition(ctx); err != nil {
			return err
		}
	}
	l.sql = newStatements(b.opts, l.shape, suffix)
	if err := b.pool.QueryRow(ctx, `select `+literal(l.sql.events)+`::regclass::oid::bigint`).Scan(&l.table); err != nil {
		return err
	}
	b.layout.Store(&l)
	return nil
}

// partition finds the suffix of the tenant's partition.
func (b *Backend) partition(ctx context.Context) (suffix string, err error) {
	err = b.pool.QueryRow(ctx, `select partition_suffix from `+ident(b.opts.Schema, "mt_tenant_partitions")+` where partition_value = $1`, b.opts.Tenant).Scan(&suffix)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", invalid("option Tenant", "%q: %v", b.opts.Tenant, errNoPartition)
	}
	return suffix, err
}

// ID returns the store's identity. It does no I/O.
func (b *Backend) ID() uuid.UUID { return b.own.id }

// Schema returns the schema of Marten's tables.
func (b *Backend) Schema() string { return b.opts.Schema }

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	if b.records == nil {
		return eventstore.Records{}
	}
	return b.records.Records()
}

// Subscribe implements [eventstore.Backend].
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		if err := b.ready(ctx); err != nil {
			yield(eventstore.Message{}, err)
			return
		}
		passed := &passage{b: b, filter: req.Filter, crossed: make(map[int64]struct{})}
		source := adapter.FollowSource{Page: passed.page, Info: b.Info, Hint: &b.hint, Poll: b.opts.Poll}
		adapter.Follow(ctx, req, source)(yield)
	}
}

// page reads the next page of a subscription, which does not wait for longer than it
// would wait to look again.
func (p *passage) page(ctx context.Context, req eventstore.ReadAllRequest) (page eventstore.Page, err error) {
	err = p.b.call(ctx, func(ctx context.Context) error {
		if err := p.b.lookForLate(ctx); err != nil {
			return err
		}
		if err := p.late(req.After.Position); err != nil {
			return err
		}
		if page, err = p.b.readAll(ctx, req, p.b.opts.Poll); err != nil {
			return err
		}
		p.note(req.After.Position, page)
		return nil
	})
	return page, err
}

// Close waits for appends under way, ends reads and subscriptions, and closes
// the pool if [OpenURL] made it.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.appends.Close()
	b.pay(context.Background())
	b.end()
	b.hint.Notify()
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

// call runs I/O other than a group's: it ends with ctx, a little later, or with the
// handle, and its error is mapped.
func (b *Backend) call(ctx context.Context, do func(ctx context.Context) error) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	within, cancel := pgdriver.Lingering(ctx, b.lifetime)
	defer cancel()
	err := do(within)
	if migrated(err) && b.inspect(within) == nil {
		err = do(within)
	}
	switch {
	case ctx.Err() != nil && err == nil:
		return ctx.Err()
	case err != nil && b.closed.Load() && ctx.Err() == nil:
		return eventstore.ErrClosed
	case migrated(err):
		err = fmt.Errorf("%w: %w", errChanged, err)
	}
	return readError(ctx, err)
}
