package esdb

import (
	"context"
	"net"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
)

// A search that its last caller left is ending when the next one comes: that one
// must get a search of its own, not the other's cancellation.
func TestASearchThatWasAbandonedIsNotTheNextCallersAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	s, err := newSettings(&client.Configuration{Address: silent.Addr().String(), DnsDiscover: true, DisableTLS: true})
	require.NoError(t, err)
	c := newConnection(s)
	t.Cleanup(c.close)
	for range 50 {
		gone, leave := context.WithCancel(t.Context())
		leave()
		_, err := c.use(gone, reading)
		require.ErrorIs(t, err, context.Canceled)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err = c.use(ctx, reading)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
	}
}
