package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A long read fetches its next page while its caller works; whoever leaves it just then
// takes no connection with it.
func TestLeavingALongReadKeepsItsConnection(t *testing.T) {
	url := server.Database(t)
	pool := openPool(t, url)
	store := newStore(t, openBackend(t, pool, nil), &eventstore.Options{BackendLimits: true})
	events := make([]eventstore.Event, 5000)
	for i := range events {
		events[i] = event("Placed", `{"some":"data that makes a page worth its name"}`)
	}
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), events...)
	require.NoError(t, err)
	before := pool.Stat().NewConnsCount()
	const reads = 50
	for i := range reads {
		n := 0
		for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(t, err)
			if n++; n == 600 {
				busy(time.Duration(i) * 40 * time.Microsecond) // up to 2 ms of work
				break
			}
		}
	}
	made := pool.Stat().NewConnsCount() - before
	t.Logf("%d new connections in %d reads", made, reads)
	require.LessOrEqual(t, made, int64(reads/5)) // a pool grows, and a slow machine may cut a page off
}

// busy works for a time, as a caller's loop does.
func busy(d time.Duration) {
	begin := time.Now()
	for working := true; working; {
		working = time.Since(begin) < d
	}
}
