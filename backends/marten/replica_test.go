package marten_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// A replica shows nobody's locks, so what it has yet to hear of looks as if it were lost. It
// is refused, also by a handle that was open when its server became one.
func TestAReplicaIsRefused(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{Settings: map[string]string{"wal_level": "replica"}})
	pool := connect(t, server.URL())
	u, err := martenURL(server.URL(), "append=quick&create=true")
	require.NoError(t, err)
	backend, err := marten.OpenURL(t.Context(), u)
	require.NoError(t, err)
	byURL, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1})
	require.NoError(t, err)
	defer byURL.Close()
	stores := map[string]*eventstore.Store{"by URL": byURL, "by pool": openStore(t, pool, &marten.Options{Append: marten.Quick})}
	for _, store := range stores {
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		require.NoError(t, err)
		for _, err = range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) { // so that there is something that it knows
			require.NoError(t, err)
		}
	}

	signal := filepath.Join(server.DataDir(), "standby.signal")
	require.NoError(t, server.Stop())
	require.NoError(t, os.WriteFile(signal, nil, 0o644))
	require.NoError(t, server.Start(t.Context()))
	pool.Reset()
	_, err = marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
	require.ErrorContains(t, err, "the server is a replica")
	_, err = marten.OpenURL(t.Context(), u)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorContains(t, err, "standby mode")
	for name, store := range stores {
		for _, err = range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Backward: true}) {
			require.ErrorIs(t, err, eventstore.ErrUnavailable, name)
		}
		require.Error(t, err, name)
		for _, err = range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.ErrorIs(t, err, eventstore.ErrUnavailable, "%s: it may be promoted", name)
		}
		require.Error(t, err, name)
		_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		require.Error(t, err, name)
		require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, name)
	}

	require.NoError(t, server.Stop())
	require.NoError(t, os.Remove(signal))
	require.NoError(t, server.Start(t.Context()))
	pool.Reset()
	require.Len(t, readAll(t, stores["by pool"], eventstore.ReadAllOptions{}), 2)
}
