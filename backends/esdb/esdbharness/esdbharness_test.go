package esdbharness_test

import (
	"context"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbharness"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func start(t *testing.T) (*esdbtest.Server, *url.URL) {
	t.Helper()
	srv, err := esdbtest.Start(nil)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	u, err := url.Parse(srv.URL())
	require.NoError(t, err)
	return srv, u
}

// whole is the store that is all of the server.
func whole(t *testing.T, u *url.URL) *eventstore.Store {
	t.Helper()
	backend, err := esdb.OpenURL(t.Context(), u)
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func open(t *testing.T, isolated *conformance.Isolated) *eventstore.Store {
	t.Helper()
	backend, err := isolated.Open(t.Context())
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	return store
}

func happened() eventstore.Event { return eventstore.Event{Type: "Happened", Data: []byte("{}")} }

func TestAnIsolatedStoreIsNoneOfTheServersEventsAndLeavesNothing(t *testing.T) {
	_, u := start(t)
	all := whole(t, u)
	_, err := all.Append(t.Context(), "order-1", eventstore.NoStream(), happened())
	require.NoError(t, err)
	isolated, err := esdbharness.Isolate(t.Context(), u)
	require.NoError(t, err)
	store := open(t, isolated)
	result, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), happened())
	require.NoError(t, err)
	require.Equal(t, uint64(1), result.Version)
	// A checkpoint and a snapshot are streams too.
	require.NoError(t, store.SaveSnapshot(t.Context(), eventstore.Snapshot{Stream: "order-1", Type: "order", Version: 1, Data: []byte("{}")}))
	require.NoError(t, store.Close())
	require.Equal(t, []string{"order-1"}, streams(t, all), "a store that is the whole server does not show it")

	require.NoError(t, isolated.Remove(t.Context()))
	require.NoError(t, isolated.Remove(t.Context()), "again: there is nothing left to remove")
	again, err := url.Parse(isolated.URL)
	require.NoError(t, err)
	query := again.Query()
	query.Set("create", "off")
	again.RawQuery = query.Encode()
	_, err = esdb.OpenURL(t.Context(), again)
	require.Error(t, err, "its identity is gone")
	require.Equal(t, []string{"order-1"}, streams(t, all))
}

func streams(t *testing.T, store *eventstore.Store) []string {
	t.Helper()
	var names []string
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		names = append(names, event.Stream)
	}
	return names
}

func TestRemovingAStoreDuringAnOutageFailsWithinItsDeadline(t *testing.T) {
	before := runtime.NumGoroutine()
	srv, u := start(t)
	isolated, err := esdbharness.Isolate(t.Context(), u)
	require.NoError(t, err)
	require.Contains(t, isolated.URL, "switchyard-test-")
	store := open(t, isolated)
	_, err = store.Append(t.Context(), "s", eventstore.NoStream(), happened())
	require.NoError(t, err)
	require.NoError(t, store.Close())
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	started := time.Now()
	require.Error(t, isolated.Remove(ctx))
	require.Less(t, time.Since(started), 6*time.Second)
	require.NoError(t, srv.Restart())
	require.NoError(t, isolated.Remove(t.Context()))
	srv.Stop()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 5*time.Second, 10*time.Millisecond, "no connection is left behind")
}
