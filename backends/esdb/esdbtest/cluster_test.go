package esdbtest_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func secure(t *testing.T, opts esdbtest.Options) *esdbtest.Server {
	t.Helper()
	opts.Secure = true
	return start(t, &opts)
}

// as is the URL of a secure server for another user; empty for nobody.
func as(srv *esdbtest.Server, user string) string {
	if user != "" {
		user += "@"
	}
	return strings.Replace(srv.URL(), "admin:changeit@", user, 1)
}

func TestM10_TheCertificateCanBeVerified(t *testing.T) {
	srv := secure(t, esdbtest.Options{})
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, srv.CertificatePEM(), 0o600))
	verified := strings.Replace(srv.URL(), "&tlsVerifyCert=false", "&tlsCAFile="+file, 1)
	mustAppend(t, connect(t, verified, ""), "s", esdb.NoStream{}, event("x"))

	unknown := strings.Replace(srv.URL(), "&tlsVerifyCert=false", "", 1)
	_, err := appendTo(t.Context(), connect(t, unknown, "&maxDiscoverAttempts=1"), "s", esdb.Any{}, event("x"))
	require.Error(t, err)
}

func TestM10_CredentialsAndAccessListsAreChecked(t *testing.T) {
	srv := secure(t, esdbtest.Options{Users: []esdbtest.User{{Name: "alice", Password: "secret", Groups: []string{"writers"}}}})
	admin := connect(t, srv.URL(), "")
	mustAppend(t, admin, "open", esdb.NoStream{}, event("x"))
	mustAppend(t, admin, "restricted", esdb.NoStream{}, event("x"))
	acl := esdb.Acl{}
	acl.AddReadRoles("writers")
	acl.AddWriteRoles("$admins")
	meta := esdb.StreamMetadata{}
	meta.SetAcl(acl)
	_, err := admin.SetStreamMetadata(t.Context(), "restricted", esdb.AppendToStreamOptions{}, meta)
	require.NoError(t, err)

	write := func(stream string) func(*esdb.Client) error {
		return func(c *esdb.Client) error {
			_, err := appendTo(t.Context(), c, stream, esdb.Any{}, event("x"))
			return err
		}
	}
	read := func(stream string) func(*esdb.Client) error {
		return func(c *esdb.Client) error {
			_, err := readStream(t.Context(), c, stream, esdb.ReadStreamOptions{}, 1)
			return err
		}
	}
	all := func(c *esdb.Client) error {
		_, err := readAll(t.Context(), c, esdb.ReadAllOptions{}, 1)
		return err
	}
	const denied, unauthenticated = esdb.ErrorCodeAccessDenied, esdb.ErrorCodeUnauthenticated
	tests := []struct {
		name string
		user string
		do   func(*esdb.Client) error
		want esdb.ErrorCode // ErrorCodeUnknown: allowed
	}{
		{"admin reads $all", "admin:changeit", all, 0},
		{"admin reads a system stream", "admin:changeit", read("$users"), 0},
		{"admin writes $all", "admin:changeit", write("$all"), denied},
		{"ops reads $all", "ops:changeit", all, denied},
		{"alice reads an open stream", "alice:secret", read("open"), 0},
		{"alice writes an open stream", "alice:secret", write("open"), 0},
		{"alice reads what her group may", "alice:secret", read("restricted"), 0},
		{"alice writes what admins may", "alice:secret", write("restricted"), denied},
		{"ops reads what a group may", "ops:changeit", read("restricted"), denied},
		{"alice reads $all", "alice:secret", all, denied},
		{"alice reads a system stream", "alice:secret", read("$users"), denied},
		{"alice writes a system stream", "alice:secret", write("$mine"), denied},
		{"a wrong password", "alice:wrong", read("open"), unauthenticated},
		{"an unknown user", "bob:secret", read("open"), unauthenticated},
		{"nobody", "", read("open"), denied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(connect(t, as(srv, test.user), ""))
			if test.want == 0 {
				require.NoError(t, err)
				return
			}
			requireCode(t, err, test.want)
		})
	}

	// $all is opened to others by the metadata of $all.
	open := esdb.Acl{}
	open.AddReadRoles("writers")
	meta.SetAcl(open)
	_, err = admin.SetStreamMetadata(t.Context(), "$all", esdb.AppendToStreamOptions{}, meta)
	require.NoError(t, err)
	require.NoError(t, all(connect(t, as(srv, "alice:secret"), "")))
}

func TestM10_AnonymousAccessIsAnOption(t *testing.T) {
	srv := secure(t, esdbtest.Options{AllowAnonymous: true})
	c := connect(t, as(srv, ""), "")
	mustAppend(t, c, "open", esdb.NoStream{}, event("x"))
	_, err := readAll(t.Context(), c, esdb.ReadAllOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeAccessDenied)
}

func TestM10_TheClientSendsNoCredentialsWithoutTLS(t *testing.T) {
	srv := start(t, nil)
	// An insecure server asks for none, so even wrong ones go through.
	c := connect(t, strings.Replace(srv.URL(), "esdb://", "esdb://alice:wrong@", 1), "")
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
}

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
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))

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

func TestM12_AFailureBeforeTheCommitStoresNothing(t *testing.T) {
	srv, c := startAndConnect(t)
	srv.SetHooks(esdbtest.Hooks{BeforeCommit: esdbtest.FailTimes(2, status.Error(codes.Aborted, "Operation timed out"))})
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, event("x"))
	requireCode(t, err, esdb.ErrorAborted)
	_, err = c.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	requireCode(t, err, esdb.ErrorAborted)
	require.EqualValues(t, 0, mustAppend(t, c, "s", esdb.NoStream{}, event("x")).NextExpectedVersion)
}

func TestM12_AFailureAfterTheCommitIsAmbiguousAndTheRetryDecides(t *testing.T) {
	srv, c := startAndConnect(t)
	var calls []esdbtest.Call
	fail := esdbtest.FailTimes(1, status.Error(codes.Unavailable, "gone"))
	srv.SetHooks(esdbtest.Hooks{AfterCommit: func(ctx context.Context, call esdbtest.Call) error {
		calls = append(calls, call)
		return fail(ctx, call)
	}})
	batch := events(3)
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, batch...)
	requireCode(t, err, esdb.ErrorUnavailable)
	require.EqualValues(t, 2, mustAppend(t, c, "s", esdb.NoStream{}, batch...).NextExpectedVersion)
	require.Len(t, mustRevisions(t, c, "s"), 3)
	want := esdbtest.Call{Method: esdbtest.MethodAppend, Stream: "s", Events: 3}
	require.Equal(t, []esdbtest.Call{want, want}, calls)
}

func TestM12_AStalledCallMeetsItsDeadline(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "warm", esdb.Any{}, event("x"))
	never := make(chan struct{})
	short := 50 * time.Millisecond
	stalled := func(hooks esdbtest.Hooks) {
		srv.SetHooks(hooks)
		_, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}, Deadline: &short}, event("x"))
		requireCode(t, err, esdb.ErrorCodeDeadlineExceeded)
		srv.SetHooks(esdbtest.Hooks{})
	}
	stalled(esdbtest.Hooks{BeforeCommit: esdbtest.Stall(never)})
	_, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeResourceNotFound)
	stalled(esdbtest.Hooks{AfterCommit: esdbtest.Stall(never)})
	require.Len(t, mustRevisions(t, c, "s"), 1)
}

func TestM12_DroppedConnectionsEndCallsAndClientsComeBack(t *testing.T) {
	srv, c := startAndConnect(t)
	e := event("x")
	srv.SetHooks(esdbtest.Hooks{AfterCommit: esdbtest.FailTimes(1, esdbtest.ErrDrop)})
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, e)
	requireCode(t, err, esdb.ErrorUnavailable)
	require.EqualValues(t, 0, mustAppend(t, c, "s", esdb.NoStream{}, e).NextExpectedVersion)

	sub := subscribe(t, c, "s", esdb.Start{})
	sub.untilCaughtUp()
	srv.DropConnections()
	require.NotNil(t, sub.next().SubscriptionDropped)
	again := subscribe(t, c, "s", esdb.Revision(0))
	mustAppend(t, c, "s", esdb.Any{}, event("y"))
	require.EqualValues(t, 1, again.nextEvent().Event.EventNumber)
}

func TestM12_AReadCanFailBetweenTwoPages(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(100)...)
	pages := 0
	srv.SetHooks(esdbtest.Hooks{BeforePage: func(context.Context, esdbtest.Call) error {
		if pages++; pages == 3 {
			return status.Error(codes.Unavailable, "gone")
		}
		return nil
	}})
	evs, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 100)
	requireCode(t, err, esdb.ErrorUnavailable)
	require.Len(t, evs, 64)
}

func TestM12_ARestartKeepsTheLogAndThePort(t *testing.T) {
	srv, c := startAndConnect(t)
	before := mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	sub := subscribe(t, c, "s", esdb.End{})
	require.NotNil(t, sub.next().CaughtUp)
	address := srv.Address()
	srv.Stop()
	srv.Stop() // twice is no error
	require.NotNil(t, sub.next().SubscriptionDropped)
	var dialer net.Dialer
	_, err := dialer.DialContext(t.Context(), "tcp", address)
	require.Error(t, err, "nobody listens")
	require.Equal(t, address, srv.Address())

	require.NoError(t, srv.Restart())
	require.Equal(t, address, srv.Address())
	again := connect(t, srv.URL(), "")
	require.Equal(t, []uint64{0, 1, 2}, mustRevisions(t, again, "s"))
	// The node's new epoch is in $all, and positions go on.
	behind, err := readAll(t.Context(), again, esdb.ReadAllOptions{From: esdb.Position{Commit: before.CommitPosition, Prepare: before.PreparePosition}}, 10)
	require.NoError(t, err)
	require.Equal(t, "$epoch-information", behind[1].Event.EventType)

	require.NoError(t, srv.Restart(), "also while it runs")
}

func TestM12_TheSameClientComesBackAfterAnOutage(t *testing.T) {
	srv := start(t, nil)
	c := connect(t, srv.URL(), "&maxDiscoverAttempts=1000000&discoveryInterval=10")
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
	require.NoError(t, srv.Restart())
	require.Eventually(t, func() bool {
		_, err := appendTo(t.Context(), c, "s", esdb.Any{}, event("y"))
		return err == nil
	}, patience, 10*time.Millisecond)
}

func TestStartRefusesAnAddressItCannotHave(t *testing.T) {
	srv := start(t, nil)
	for _, opts := range []esdbtest.Options{{Address: srv.Address()}, {Address: "nowhere"}, {Address: "nowhere", Secure: true}} {
		_, err := esdbtest.Start(&opts)
		require.ErrorContains(t, err, "esdbtest: ")
	}
}
