package postgres_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres/postgrestest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestConformance(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	conformance.Run(t, harness(server, server.URL()))
}

func TestConformanceWithNeighbours(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	h, leave := conformance.WithNeighbours(harness(server, server.URL()), conformance.Neighbours{})
	t.Cleanup(func() { require.NoError(t, leave(context.Background())) })
	conformance.Run(t, h)
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
		return fixture, nil
	}}
}
