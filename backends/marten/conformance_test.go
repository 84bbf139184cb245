package marten_test

import (
	"context"
	"net/url"
	"os"
	"testing"


	"github.com/switchyard-dev/switchyard/backends/marten/martentest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// The README's table has the first of these: what Marten 9 makes by default, with its
// columns of metadata, but for text IDs.
func TestConformance(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	conformance.Run(t, harness("marten", server, "append=quick"))
}

func TestConformanceOfUUIDStreams(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	h := harness("marten, uuid", server, "append=quick&identity=uuid")
	h.StreamID = martentest.StreamID
	conformance.Run(t, h)
}

// harness gives each check a schema of its own on one server. Each handle has a pool of
// its own, as another process would.
func harness(name string, server *testservers.Postgres, parameters string) conformance.Harness {
	return conformance.Harness{Name: name, Open: func(ctx context.Context) (*conformance.Fixture, error) {
		u, err := martenURL(server.URL(), parameters)
		if err != nil {
			return nil, err
		}
		isolated, err := martentest.Isolate(ctx, u)
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

// martenURL is the URL of a Marten store at a PostgreSQL URL.
func martenURL(rawURL, parameters string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	u.Scheme = "marten"
	u.RawQuery += "&" + parameters
	return u, nil
}
