package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/backends/postgres/postgrestest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestConformance(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	conformance.Run(t, harness(server, server.URL()))
}

// harness gives each check a schema of its own on one server, which is reached by
// a URL. Each handle has a pool of its own, as another process would.
func harness(server *testservers.Postgres, rawURL string) conformance.Harness {
	return conformance.Harness{Name: "postgres", Open: func(ctx context.Context) (*conformance.Fixture, error) {
		u, err := url.Parse(rawURL)
		if err != nil {
			return nil, err
		}
		isolated, err := postgrestest.Isolate(ctx, u)
		if err != nil {
			return nil, err
		}
		fixture, err := isolated.Fixture(ctx)
		if err != nil {
			return nil, err
		}
		fixture.Restart = func(ctx context.Context) error {
			if err := server.Kill(); err != nil {
				return err
			}
			return server.Start(ctx)
		}
		fixture.HoldWriter = func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
			handle, err := openPooled(ctx, isolated.URL)
			if err != nil {
				return nil, err
			}
			return holdWriter(ctx, handle, part)
		}
		return fixture, nil
	}}
}

// openPooled opens a store together with a pool that callers can use too.
func openPooled(ctx context.Context, rawURL string) (*pooled, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	config, err := postgres.PoolConfig(u)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	backend, err := postgres.Open(ctx, pool, &postgres.Options{Schema: u.Query().Get("schema")})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &pooled{backend, pool}, nil
}

// pooled closes its pool with the handle.
type pooled struct {
	*postgres.Backend
	pool *pgxpool.Pool
}

func (p *pooled) Close() error {
	err := p.Backend.Close()
	p.pool.Close()
	return err
}

// holdWriter appends in a transaction that is not committed yet: it has its
// positions and nobody can see them.
func holdWriter(ctx context.Context, handle *pooled, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
	tx, err := handle.pool.Begin(ctx)
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	result, err := handle.AppendTx(ctx, tx, part.Stream, part.Expected, part.Events...)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback(ctx), handle.Close())
	}
	return func() (eventstore.AppendResult, error) {
		err := tx.Commit(context.WithoutCancel(ctx))
		handle.Notify()
		return result, errors.Join(err, handle.Close())
	}, nil
}
