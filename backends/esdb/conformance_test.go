package esdb_test

import (
	"context"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbharness"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
)

// serverURL names a real server to test against, instead of the double.
const serverURL = "SWITCHYARD_TEST_ESDB_URL"

func TestConformance(t *testing.T) {
	conformance.Run(t, harness())
}

func TestEventStoreDBAndMemoryGiveTheSameAnswers(t *testing.T) {
	for seed := range uint64(4) {
		require.NoError(t, conformance.Differential(t.Context(), memorytest.Harness(), harness(), &conformance.DifferentialOptions{Seed: seed + 1}))
	}
}

// What a store shows of its progress must not be the server's, on which others write
// all the time. harness has a server of its own for each check, where they have been.
func TestProgressAndPlacesAreTheStoresBesideOthersOnOneServer(t *testing.T) {
	srv := startServer(t)
	h, leave := conformance.WithNeighbours(conformance.Harness{Name: "esdb (double)", Open: func(ctx context.Context) (*conformance.Fixture, error) {
		return fixture(ctx, srv.URL())
	}}, conformance.Neighbours{Subscriptions: 5})
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{
		Match: "^(filter/in-subscriptions|place/(signals|ahead).*|subscription/(progress|caught-up)|durable/filtered-progress)$",
	})
	require.NoError(t, err)
	for _, result := range report.Results {
		require.Equal(t, conformance.Passed, result.Status, "%s: %s%s", result.Check, result.Reason, result.Failure)
	}
	require.NoError(t, leave(t.Context()))
}

// harness gives each check a namespace of its own: on the server that the
// environment names, else on a double that the check has for itself, and that others
// used before: more than the server looks through between two checkpoints.
func harness() conformance.Harness {
	if server := os.Getenv(serverURL); server != "" {
		return conformance.Harness{Name: "esdb", Open: func(ctx context.Context) (*conformance.Fixture, error) {
			return fixture(ctx, server)
		}}
	}
	return conformance.Harness{Name: "esdb (double)", Double: "everything in memory", Open: func(ctx context.Context) (*conformance.Fixture, error) {
		srv, err := esdbtest.Start(&esdbtest.Options{History: 1200})
		if err != nil {
			return nil, err
		}
		f, err := fixture(ctx, srv.URL())
		if err != nil {
			srv.Stop()
			return nil, err
		}
		f.Restart = func(context.Context) error { return srv.Restart() }
		f.Remove = func(context.Context) error {
			srv.Stop()
			return nil
		}
		return f, nil
	}}
}

// fixture has a store in a namespace of its own on a server. It polls often, so
// that the suite's waits for progress are short.
func fixture(ctx context.Context, server string) (*conformance.Fixture, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	values := u.Query()
	values.Set("poll", "20ms")
	u.RawQuery = values.Encode()
	isolated, err := esdbharness.Isolate(ctx, u)
	if err != nil {
		return nil, err
	}
	return isolated.Fixture(ctx)
}
