package esdb

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func openDouble(t *testing.T, opts *esdbtest.Options, query string) (*esdbtest.Server, *Backend) {
	t.Helper()
	srv, err := esdbtest.Start(opts)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	u, err := url.Parse(srv.URL() + query)
	require.NoError(t, err)
	b, err := OpenURL(t.Context(), u)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return srv, b
}

// A server serves 100 calls at once on a connection, and holds up one more until
// another ends, which a subscription does not.
func TestNothingWaitsBehindSubscriptions(t *testing.T) {
	_, b := openDouble(t, nil, "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var feeds []*feed
	for range 2*callsEach + 20 {
		f, err := b.conn.follow(ctx, eventstore.Position{}, serverFilter{})
		require.NoError(t, err)
		require.NoError(t, f.confirmed())
		feeds = append(feeds, f)
	}
	event := eventstore.Event{ID: uuid.New(), Type: "T", Data: []byte("{}"), ContentType: eventstore.JSONContentType}
	_, err := b.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{Stream: "s", Expected: eventstore.NoStream(), Events: []eventstore.Event{event}}}})
	require.NoError(t, err)
	_, err = b.Info(ctx)
	require.NoError(t, err)
	for k, channels := range b.conn.current.channels {
		for _, l := range channels {
			require.LessOrEqual(t, l.uses, callsEach, "kind %d", k)
		}
	}
	require.Len(t, b.conn.current.channels[subscribing], 3)
	for _, f := range feeds {
		f.close()
	}
	require.Len(t, b.conn.current.channels[subscribing], 1, "connections that nothing uses are closed")
}
