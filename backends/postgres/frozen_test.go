package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// A client that stops for good, wherever it is in a call, stops nobody else: to the
// server a stopped process is a connection on which nothing more comes.
func TestAClientThatFreezesStopsNobodyElse(t *testing.T) {
	url := server.Database(t)
	others := newStore(t, openBackend(t, openPool(t, url), nil), &eventstore.Options{RetryFor: -1})
	for _, call := range []struct {
		name   string
		append func(ctx context.Context, store *eventstore.Store, e eventstore.Event) error
	}{
		{"an event", func(ctx context.Context, store *eventstore.Store, e eventstore.Event) error {
			_, err := store.Append(ctx, "order-"+e.ID.String(), eventstore.NoStream(), e)
			return err
		}},
		{"many events", func(ctx context.Context, store *eventstore.Store, e eventstore.Event) error {
			_, err := store.Append(ctx, "order-"+e.ID.String(), eventstore.NoStream(), e, event("Paid", "{}"), event("Sent", "{}"))
			return err
		}},
		{"several streams", func(ctx context.Context, store *eventstore.Store, e eventstore.Event) error {
			_, err := store.AppendStreams(ctx,
				eventstore.StreamAppend{Stream: "a-" + e.ID.String(), Expected: eventstore.NoStream(), Events: []eventstore.Event{e}},
				eventstore.StreamAppend{Stream: "b-" + e.ID.String(), Expected: eventstore.NoStream(), Events: []eventstore.Event{event("Paid", "{}")}})
			return err
		}},
		{"a repetition", func(ctx context.Context, store *eventstore.Store, e eventstore.Event) error {
			for range 2 {
				if _, err := store.Append(ctx, "order-"+e.ID.String(), eventstore.NoStream(), e); err != nil {
					return err
				}
			}
			return nil
		}},
		{"a repetition and something new", func(ctx context.Context, store *eventstore.Store, e eventstore.Event) error {
			if _, err := store.Append(ctx, "a-"+e.ID.String(), eventstore.NoStream(), e); err != nil {
				return err
			}
			_, err := store.AppendStreams(ctx,
				eventstore.StreamAppend{Stream: "a-" + e.ID.String(), Expected: eventstore.NoStream(), Events: []eventstore.Event{e}},
				eventstore.StreamAppend{Stream: "b-" + e.ID.String(), Expected: eventstore.NoStream(), Events: []eventstore.Event{event("Paid", "{}")}})
			return err
		}},
	} {
		t.Run(call.name, func(t *testing.T) {
			// Freeze after one exchange more each time, until a call gets through.
			for exchanges := int32(0); ; exchanges++ {
				require.Less(t, exchanges, int32(30))
				frozen, thaw := freeze(t, url, exchanges, call.append)
				if !frozen {
					require.Positive(t, exchanges)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), soon)
				_, err := others.Append(ctx, "others", eventstore.Any(), event("Placed", "{}"))
				cancel()
				thaw()
				require.NoError(t, err, "frozen after %d exchanges", exchanges)
			}
		})
	}
}

// freeze makes a client stop when the server has answered so many of its requests: it
// never learns of an answer to the next one. It returns false where the call ended
// before. thaw cuts the client's connections.
func freeze(t *testing.T, url string, exchanges int32, call func(context.Context, *eventstore.Store, eventstore.Event) error) (frozen bool, thaw func()) {
	t.Helper()
	proxy, through := tcpproxy.ForURL(t, url)
	pool := openPool(t, through)
	store := newStore(t, openBackend(t, pool, nil), &eventstore.Options{RetryFor: -1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	warm := event("Placed", "{}")
	warm.ID = uuid.New()
	require.NoError(t, call(ctx, store, warm)) // every statement is prepared

	var left atomic.Int32
	left.Store(exchanges)
	stopped := make(chan struct{}, 1)
	proxy.SetRule(func() tcpproxy.Rule {
		asked := false
		return func(from tcpproxy.Side, _ []byte) tcpproxy.Verdict {
			if left.Load() < 0 {
				return tcpproxy.Verdict{}
			}
			if from == tcpproxy.FromClient {
				asked = true
				return tcpproxy.Pass()
			}
			if asked && left.Add(-1) < 0 {
				stopped <- struct{}{}
				return tcpproxy.Verdict{}
			}
			asked = false
			return tcpproxy.Pass()
		}
	})
	e := event("Placed", fmt.Sprintf(`{"exchanges":%d}`, exchanges))
	e.ID = uuid.New()
	done := make(chan error, 1)
	go func() { done <- call(ctx, store, e) }()
	select {
	case <-stopped:
		return true, proxy.Down
	case err := <-done:
		require.NoError(t, err)
		return false, nil
	case <-time.After(soon):
		t.Fatal("the call neither ended nor was frozen")
		return false, nil
	}
}
