package esdb_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// counted counts the pages of 32 records that the server reads from its log. Each
// takes it 1 ms: it must be told to stop before it has gone far.
func counted(srv *esdbtest.Server) *atomic.Int64 {
	var pages atomic.Int64
	srv.SetHooks(esdbtest.Hooks{BeforePage: func(ctx context.Context, call esdbtest.Call) error {
		if call.Stream == "$all" {
			pages.Add(1)
			pause(ctx, time.Millisecond)
		}
		return ctx.Err()
	}})
	return &pages
}

// What a store costs must not grow with what others wrote before it was made, nor
// be paid again for what they wrote since.
func TestAStoreInABusyServerIsNotLookedForInAllOfIt(t *testing.T) {
	const past, pagesOfPast = 6400, 200
	srv := startServer(t)
	history(t, srv, past)
	pages := counted(srv)
	cost := func(what string, most int64, do func(store *eventstore.Store)) {
		t.Helper()
		before := pages.Load()
		store := openStore(t, srv.URL()+"&namespace=shop"+farPoll, nil)
		do(store)
		require.LessOrEqual(t, pages.Load()-before, most, what)
		require.NoError(t, store.Close())
	}
	filter := eventstore.Filter{Types: []string{"Happened"}}
	info := func(store *eventstore.Store) eventstore.Info {
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		return info
	}
	readAll := func(store *eventstore.Store, opts eventstore.ReadAllOptions) (events int) {
		for _, err := range store.ReadAll(t.Context(), opts) {
			require.NoError(t, err)
			events++
		}
		return events
	}
	const few = 40 // pages; to look through the past takes five times as many
	cost("to make the store", few, func(*eventstore.Store) {})
	cost("the head of an empty store", few, func(store *eventstore.Store) { require.True(t, info(store).Head.IsZero()) })
	cost("to read an empty store", few, func(store *eventstore.Store) {
		require.Zero(t, readAll(store, eventstore.ReadAllOptions{}))
		require.Zero(t, readAll(store, eventstore.ReadAllOptions{Filter: filter}))
		require.Zero(t, readAll(store, eventstore.ReadAllOptions{Backward: true}))
	})
	cost("to subscribe to an empty store", few, func(store *eventstore.Store) {
		subscribe(t, store, eventstore.SubscribeOptions{Filter: filter}).await(t, eventstore.MessageCaughtUp)
	})
	cost("to read one event", 2*few, func(store *eventstore.Store) {
		_, err := store.Append(t.Context(), "Order-1", eventstore.NoStream(), happened())
		require.NoError(t, err)
		require.Equal(t, 1, readAll(store, eventstore.ReadAllOptions{}))
		require.Equal(t, 1, readAll(store, eventstore.ReadAllOptions{Filter: filter, Backward: true}))
		require.Equal(t, 1, readAll(store, eventstore.ReadAllOptions{Filter: filter}))
	})
	history(t, srv, 4*past) // and now much lies behind the store's last event too
	backend := openBackend(t, srv.URL()+"&namespace=shop"+farPoll)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	head := info(store).Head
	require.Equal(t, "Order-1", head.Stream)
	before := pages.Load()
	const looks = 10
	for range looks {
		require.Equal(t, head, info(store).Head)
		for _, after := range []eventstore.Place{head, {Position: head.Position}} {
			for _, filter := range []eventstore.Filter{{}, filter} {
				page, err := backend.ReadAll(t.Context(), eventstore.ReadAllRequest{After: after, Filter: filter, PageSize: eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}})
				require.NoError(t, err)
				require.Equal(t, eventstore.Page{End: true, Next: after}, page)
			}
		}
		history(t, srv, 32)
	}
	t.Log(pages.Load()-before, "pages for", looks, "looks")
	require.LessOrEqual(t, pages.Load()-before, int64(2*pagesOfPast), "%d looks at what is known", looks)
	_, err = store.Append(t.Context(), "Order-1", eventstore.Exactly(1), happened())
	require.NoError(t, err)
	require.Equal(t, 1, readAll(store, eventstore.ReadAllOptions{After: head.Position}), "and what is new is found")
}
