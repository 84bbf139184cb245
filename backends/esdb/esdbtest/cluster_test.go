package esdbtest_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func TestM11_ServerFeaturesAreToldOrAbsentOrUnreadable(t *testing.T) {
	for _, test := range []struct {
		opts esdbtest.Options
		want esdb.ServerVersion
		ok   bool
	}{
		{esdbtest.Options{}, esdb.ServerVersion{Major: 24, Minor: 10, Patch: 4}, true},
		{esdbtest.Options{Version: "22.10.1"}, esdb.ServerVersion{Major: 22, Minor: 10, Patch: 1}, true},
		{esdbtest.Options{NoServerFeatures: true}, esdb.ServerVersion{}, true},
		{esdbtest.Options{Version: "24.10.0-rc1"}, esdb.ServerVersion{}, false},
	} {
		srv := start(t, &test.opts)
		c := connect(t, srv.URL(), "&maxDiscoverAttempts=1")
		got, err := c.GetServerVersion()
		if !test.ok {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.want, *got)
	}
}

func TestM11_GossipLeadsToTheNodeThatIsAliveAndPreferred(t *testing.T) {
	leader, follower := start(t, nil), start(t, nil)
	require.NoError(t, follower.FollowLeader(leader.Address()))
	discover := strings.Replace(follower.URL(), "esdb://", "esdb+discover://", 1)
	onLeader := connect(t, leader.URL(), "")

	mustAppend(t, connect(t, discover, ""), "by-default", esdb.NoStream{}, event("x"))
	require.Len(t, mustRevisions(t, onLeader, "by-default"), 1)

	_, err := readStream(t.Context(), connect(t, discover, "&nodePreference=follower"), "by-default", esdb.ReadStreamOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeResourceNotFound)

	require.NoError(t, follower.SetMembers(
		esdbtest.Member{Address: "127.0.0.1:1", State: esdbtest.Leader, Dead: true},
		esdbtest.Member{Address: "127.0.0.1:1", State: esdbtest.CatchingUp},
		esdbtest.Member{Address: leader.Address(), State: esdbtest.Follower},
	))
	mustAppend(t, connect(t, discover, ""), "alive", esdb.NoStream{}, event("x"))
	require.Len(t, mustRevisions(t, onLeader, "alive"), 1)
	require.Error(t, follower.SetMembers(esdbtest.Member{Address: "nowhere"}))
}

func TestM11_AFollowerNamesTheLeaderAndTheNextCallGoesThere(t *testing.T) {
	leader, follower := start(t, nil), start(t, nil)
	require.NoError(t, follower.FollowLeader(leader.Address()))
	c := connect(t, follower.URL(), "")
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, event("x"))
	requireCode(t, err, esdb.ErrorCodeNotLeader)
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
	require.Len(t, mustRevisions(t, connect(t, leader.URL(), ""), "s"), 1)

	require.NoError(t, follower.FollowLeader(""))
	mustAppend(t, connect(t, follower.URL(), ""), "s", esdb.NoStream{}, event("x"))
	require.Error(t, follower.FollowLeader("no port"))
}

func TestM11_AServerThatIsNotReadySaysSo(t *testing.T) {
	srv, c := startAndConnect(t)
	srv.SetReady(false)
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, event("x"))
	requireCode(t, err, esdb.ErrorUnavailable)
	require.ErrorContains(t, err, "Server Is Not Ready")
	_, err = c.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{})
	requireCode(t, err, esdb.ErrorUnavailable)
	srv.SetReady(true)
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
}

// The client pings every 10 s; a server with grpc-go's defaults would hang up
// after three of them. This sends pings as fast as they are answered.
func TestM14_AnyNumberOfPingsIsAnswered(t *testing.T) {
	const frameSettings, framePing, frameGoAway, flagAck = 4, 6, 7, 1
	srv := start(t, nil)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", srv.Address())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	require.NoError(t, conn.SetDeadline(time.Now().Add(testTimeout)))

	send := func(kind, flags byte, payload []byte) {
		frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		frame = append(frame, flags, 0, 0, 0, 0) // on stream 0, the connection
		_, err := conn.Write(append(frame, payload...))
		require.NoError(t, err)
	}
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	require.NoError(t, err)
	send(frameSettings, 0, nil)
	for sent, answered := 0, 0; answered < 100; {
		if sent == answered {
			send(framePing, 0, make([]byte, 8))
			sent++
		}
		header := make([]byte, 9)
		_, err := io.ReadFull(conn, header)
		require.NoError(t, err)
		length := binary.BigEndian.Uint32(header) >> 8
		_, err = io.CopyN(io.Discard, conn, int64(length))
		require.NoError(t, err)
		require.NotEqual(t, byte(frameGoAway), header[3], "after %d pings", sent)
		if header[3] == framePing && header[4]&flagAck != 0 {
			answered++
		}
	}
}
