// Package pgpeers measures what others do on the same PostgreSQL server, as the
// baselines of a benchmark: the table and the transaction that everyone starts
// from, COPY and a bare scan as the limits, and Message DB where it is installed.
package pgpeers

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// schema is the template: the table of most tutorials on event stores, in a
// schema of its own.
const schema = `
create schema switchyard_peers;
create table switchyard_peers.events (
	id uuid not null unique,
	stream_id text not null,
	stream_type text not null,
	event_type text not null,
	event_data jsonb not null,
	metadata jsonb,
	version bigint not null,
	global_position bigserial primary key,
	created_at timestamptz not null default now(),
	constraint stream_version unique (stream_id, version)
);
create index on switchyard_peers.events (event_type);
create index on switchyard_peers.events (created_at);
-- Where COPY writes: the columns and indexes of Switchyard's own events.
create table switchyard_peers.copied (
	global_position bigint primary key,
	version bigint not null,
	id uuid not null,
	created_at timestamptz not null,
	stream_id text collate "C" not null,
	event_type text collate "C" not null,
	event_data bytea not null,
	unique (stream_id, version),
	unique (id, stream_id)
);
create index on switchyard_peers.copied (split_part(stream_id, '-', 1), global_position);
create index on switchyard_peers.copied (event_type, global_position);
create index on switchyard_peers.copied using brin (created_at);
`

// Peers are the baselines on one server.
type Peers struct {
	pool      *pgxpool.Pool
	messageDB bool
	position  atomic.Int64
}

// connections is the size of the peers' pool. More do not make them faster on a
// small server.
const connections = 16

// Open prepares the peers' tables on a server. config is changed.
func Open(ctx context.Context, config *pgxpool.Config) (*Peers, error) {
	config.MaxConns = connections
	config.ConnConfig.RuntimeParams["search_path"] = "message_store, public" // Message DB's functions rely on it
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("prepare the peers: %w", err)
	}
	p := &Peers{pool: pool}
	_, err = pool.Exec(ctx, "drop schema if exists switchyard_peers cascade;"+schema)
	if err == nil {
		err = pool.QueryRow(ctx, `select exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
			where n.nspname = 'message_store' and p.proname = 'write_message')`).Scan(&p.messageDB)
	}
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("prepare the peers: %w", pgdriver.Mapped("postgres", nil, err))
	}
	return p, nil
}

// Close drops the peers' tables. What was written to Message DB stays.
func (p *Peers) Close(ctx context.Context) error {
	defer p.pool.Close()
	if _, err := p.pool.Exec(ctx, "drop schema if exists switchyard_peers cascade"); err != nil {
		return fmt.Errorf("drop the peers' tables: %w", err)
	}
	return nil
}

// Cases returns the baselines as cases of a benchmark.
func (p *Peers) Cases() []bench.Case {
	var cases []bench.Case
	for _, shape := range [][2]int{{1, 1}, {8, 1}, {64, 1}, {8, 10}, {64, 10}} {
		cases = append(cases, p.writers("template", shape[0], shape[1], p.template))
	}
	cases = append(cases, bench.Case{Name: "template: append 8×1 one hot stream, any", Run: p.hot})
	if p.messageDB {
		for _, writers := range []int{1, 8, 64} {
			cases = append(cases, p.writers("Message DB", writers, 1, p.writeMessage))
		}
	}
	return append(cases,
		bench.Case{Name: "COPY: 1000 rows a commit, 1 connection", Run: p.copy},
		bench.Case{Name: "bare pgx scan of the copied rows", Run: p.scan},
	)
}

func (p *Peers) writers(name string, writers, size int, write func(ctx context.Context, stream string, size int) error) bench.Case {
	return bench.Case{
		Name: fmt.Sprintf("%s: append %d×%d new streams", name, writers, size),
		Run: func(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
			return bench.Writers(ctx, writers, size, d, func(ctx context.Context, _ int) error {
				return write(ctx, "order-"+uuid.NewString(), size)
			})
		},
	}
}

// template reads the stream's version and inserts event by event in one transaction.
func (p *Peers) template(ctx context.Context, stream string, size int) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		var version int64
		err := tx.QueryRow(ctx, "select coalesce(max(version), 0) from switchyard_peers.events where stream_id = $1", stream).Scan(&version)
		if err != nil {
			return err
		}
		for i := range size {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `insert into switchyard_peers.events (id, stream_id, stream_type, event_type, event_data, metadata, version)
				values ($1, $2, 'order', 'OrderPlaced', $3, '{}', $4)`, id, stream, []byte(bench.Payload), version+int64(i)+1)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// hot has eight writers append to one stream the template's way: who loses the
// race for a version starts again.
func (p *Peers) hot(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
	stream := "hot-" + uuid.NewString()
	return bench.Writers(ctx, 8, 1, d, func(ctx context.Context, _ int) error {
		for {
			err := p.template(ctx, stream, 1)
			var server *pgconn.PgError
			if !errors.As(err, &server) || server.ConstraintName != "stream_version" {
				return err
			}
		}
	})
}

// writeMessage calls Message DB's function, as its clients do.
func (p *Peers) writeMessage(ctx context.Context, stream string, _ int) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	var position int64
	return p.pool.QueryRow(ctx, "select message_store.write_message($1, $2, 'OrderPlaced', $3, '{}', -1)",
		id.String(), stream, bench.Payload).Scan(&position)
}

const copyRows = 1000

// copy loads rows into a table like Switchyard's, which is as fast as PostgreSQL takes them.
func (p *Peers) copy(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
	columns := []string{"global_position", "version", "id", "created_at", "stream_id", "event_type", "event_data"}
	return bench.Writers(ctx, 1, copyRows, d, func(ctx context.Context, _ int) error {
		now := time.Now()
		_, err := p.pool.CopyFrom(ctx, pgx.Identifier{"switchyard_peers", "copied"}, columns, pgx.CopyFromSlice(copyRows, func(int) ([]any, error) {
			id, err := uuid.NewV7()
			return []any{p.position.Add(1), int64(1), id, now, "order-" + id.String(), "OrderPlaced", []byte(bench.Payload)}, err
		}))
		return err
	})
}

// scan reads the copied rows in the order of their positions: nothing can read them faster.
func (p *Peers) scan(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
	return Scan(ctx, p.pool, d, `select global_position, version, id, created_at, stream_id, event_type, event_data
		from switchyard_peers.copied order by global_position limit 100000`)
}

// Scan runs one query over and over for so long, and reads its rows into fields that are
// used again. Its columns are an event's position, version, ID, time, stream, type and data.
func Scan(ctx context.Context, pool *pgxpool.Pool, d time.Duration, query string, args ...any) (bench.Result, error) {
	rows, start := 0, time.Now()
	for time.Since(start) < d {
		n, err := scanOnce(ctx, pool, query, args)
		if err != nil {
			return bench.Result{}, err
		}
		rows += n
	}
	return bench.Result{Rate: float64(rows) / time.Since(start).Seconds(), Unit: "events"}, ctx.Err()
}

func scanOnce(ctx context.Context, pool *pgxpool.Pool, query string, args []any) (int, error) {
	rows, err := pool.Query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var position, version int64
	var id uuid.UUID
	var at time.Time
	var stream, eventType string
	n := 0
	for ; rows.Next(); n++ {
		var data []byte // the event's own, as every reader needs it
		if err := rows.Scan(&position, &version, &id, &at, &stream, &eventType, &data); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}
