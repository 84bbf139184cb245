package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestConformance(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	conformance.Run(t, harness(server, server.URL(), postgres.Options{}))
}

func TestConformanceBesideNeighbours(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	h, leave := conformance.Beside(harness(server, server.URL(), postgres.Options{}), conformance.Neighbours{})
	t.Cleanup(func() { require.NoError(t, leave(context.Background())) })
	conformance.Run(t, h)
}

// harness gives each check a schema of its own on one server, which is reached by
// a URL. Each handle has a pool of its own, as another process would.
func harness(server *testservers.Postgres, url string, base postgres.Options) conformance.Harness {
	return conformance.Harness{
		Name: "postgres",
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			schema := "check_" + strings.ToLower(rand.Text())
			open := func(ctx context.Context, opts postgres.Options) (*pooled, error) {
				opts.Schema = schema
				pool, err := pgxpool.New(ctx, url)
				if err != nil {
					return nil, err
				}
				backend, err := postgres.Open(ctx, pool, &opts)
				if err != nil {
					pool.Close()
					return nil, err
				}
				return &pooled{backend, pool}, nil
			}
			first, err := open(ctx, base)
			if err != nil {
				return nil, err
			}
			return &conformance.Fixture{
				Backend: first,
				OpenAgain: func(ctx context.Context) (eventstore.Backend, error) {
					return open(ctx, base)
				},
				OpenDeaf: func(ctx context.Context) (eventstore.Backend, error) {
					return open(ctx, postgres.Options{NoListen: true, NoHints: true, Poll: 20 * time.Millisecond})
				},
				Restart: func(ctx context.Context) error {
					if err := server.Kill(); err != nil {
						return err
					}
					return server.Start(ctx)
				},
				HoldWriter: func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
					handle, err := open(ctx, base)
					if err != nil {
						return nil, err
					}
					return holdWriter(ctx, handle, part)
				},
				Remove: func(ctx context.Context) error {
					pool, err := pgxpool.New(ctx, server.URL())
					if err != nil {
						return err
					}
					defer pool.Close()
					return postgres.Drop(ctx, pool, schema)
				},
			}, nil
		},
	}
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
