package postgres_test

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) {
	if part := ownertest.Part(); part != "" {
		os.Exit(playChild(part))
	}
	os.Exit(server.Main(m))
}

// openPool returns a pool that ends with the test.
func openPool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func openBackend(t testing.TB, pool *pgxpool.Pool, opts *postgres.Options) *postgres.Backend {
	t.Helper()
	backend, err := postgres.Open(t.Context(), pool, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend
}

func newStore(t testing.TB, backend eventstore.Backend, opts *eventstore.Options) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(backend, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// openStore returns a handle on a store of the test's own.
func openStore(t testing.TB) (*eventstore.Store, *postgres.Backend, *pgxpool.Pool) {
	t.Helper()
	pool := openPool(t, server.Database(t))
	backend := openBackend(t, pool, nil)
	return newStore(t, backend, nil), backend, pool
}

func event(eventType, data string) eventstore.Event {
	return eventstore.Event{Type: eventType, Data: []byte(data)}
}

const (
	soon = 10 * time.Second
	now  = 5 * time.Millisecond
)
