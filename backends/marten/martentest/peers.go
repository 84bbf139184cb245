package martentest

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
	"github.com/switchyard-dev/switchyard/internal/bench/pgpeers"
)

// Peers are the baselines of a benchmark on one server: what a .NET writer does at the
// least, which is one call of the store's own function an append, with an expected
// version; and a bare scan. They work on a store of their own.
type Peers struct {
	pool     *pgxpool.Pool
	isolated *conformance.Isolated
	tables   tables
}

// connections is the size of the peers' pool. More do not make them faster on a small
// server.
const connections = 16

// NewPeers makes a store as [Isolate] does and returns its peers.
func NewPeers(ctx context.Context, u *url.URL) (*Peers, error) {
	isolated, made, err := isolate(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("prepare the peers: %w", err)
	}
	config, err := marten.PoolConfig(u)
	if err != nil {
		return nil, fmt.Errorf("prepare the peers: %w", err)
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("prepare the peers: %w", err)
	}
	return &Peers{pool: pool, isolated: isolated, tables: made}, nil
}

// Close removes the peers' store.
func (p *Peers) Close(ctx context.Context) error {
	p.pool.Close()
	return p.isolated.Remove(ctx)
}

// Cases returns the baselines as cases of a benchmark.
func (p *Peers) Cases() []bench.Case {
	var cases []bench.Case
	for _, writers := range []int{1, 8, 64} {
		cases = append(cases, bench.Case{
			Name: fmt.Sprintf("Marten's function: append %d×1 new streams", writers),
			Run: func(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
				return bench.Writers(ctx, writers, 1, d, p.call)
			},
		})
	}
	return append(cases, bench.Case{Name: "bare pgx scan of mt_events", Run: p.scan})
}

// call appends an event to a new stream.
func (p *Peers) call(ctx context.Context, _ int) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	stream := uuid.NewString()
	if !p.tables.uuidKeys {
		stream = "order-" + stream
	}
	_, err = p.pool.Exec(ctx, p.tables.call("0"), stream, "order", p.tables.tenant(), []uuid.UUID{id}, []string{"OrderPlaced"}, []string{""}, []string{bench.Payload})
	return err
}

// scanned is how many events a scan reads.
const scanned = 100_000

// fill brings the store to as many events as a scan reads.
func (p *Peers) fill(ctx context.Context) error {
	name := "'scanned-' || gen_random_uuid()"
	if p.tables.uuidKeys {
		name = "gen_random_uuid()"
	}
	_, err := p.pool.Exec(ctx, `with s as (insert into `+p.tables.name("mt_streams")+` (id, tenant_id, version)
			select `+name+`, $1, 1 from generate_series(1, $2::int - (select count(*) from `+p.tables.name("mt_events")+`)) returning id)
		insert into `+p.tables.name("mt_events")+` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived)
		select nextval('`+p.tables.name("mt_events_sequence")+`'), gen_random_uuid(), s.id, 1, $3::jsonb, 'OrderPlaced', now(), $1, '', false from s`,
		p.tables.tenant(), scanned, bench.Payload)
	return err
}

// scan reads events in the order of their numbers with one query.
func (p *Peers) scan(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
	if err := p.fill(ctx); err != nil {
		return bench.Result{}, err
	}
	return pgpeers.Scan(ctx, p.pool, d, `select seq_id, version, id, timestamp, stream_id::text, type, data::text from `+
		p.tables.name("mt_events")+` order by seq_id limit $1`, scanned)
}
