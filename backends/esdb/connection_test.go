package esdb_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func happened() eventstore.Event { return eventstore.Event{Type: "Happened", Data: []byte("{}")} }

func versionAt(t *testing.T, srv *esdbtest.Server, stream string) uint64 {
	t.Helper()
	version, err := openStore(t, srv.URL(), nil).StreamVersion(t.Context(), stream)
	require.NoError(t, err)
	return version
}

func TestAWriteGoesToTheLeaderThatAFollowerNames(t *testing.T) {
	first, second := startServer(t), startServer(t)
	store := openStore(t, first.URL(), nil)
	require.NoError(t, first.FollowLeader(second.Address()))
	_, err := store.Append(t.Context(), "s", eventstore.NoStream(), happened())
	require.NoError(t, err)
	require.Equal(t, uint64(1), versionAt(t, second, "s"))

	// The leader goes; the configured host leads again.
	require.NoError(t, first.FollowLeader(""))
	second.Stop()
	_, err = store.Append(t.Context(), "t", eventstore.NoStream(), happened())
	require.NoError(t, err)
	require.Equal(t, uint64(1), versionAt(t, first, "t"))
}

func TestAReadIsAnsweredByTheLeaderAlone(t *testing.T) {
	first, second := startServer(t), startServer(t)
	store := openStore(t, first.URL(), nil)
	write(t, otherClient(t, second), "s", client.EventData{})
	require.NoError(t, first.FollowLeader(second.Address()))
	require.Len(t, read(t, store, "s"), 1)
}

func TestDiscoveryFindsTheLeaderAmongTheMembersThatAreAlive(t *testing.T) {
	leader, follower, gone := startServer(t), startServer(t), startServer(t)
	gone.Stop()
	require.NoError(t, follower.SetMembers(
		esdbtest.Member{Address: gone.Address(), State: esdbtest.Leader, Dead: true},
		esdbtest.Member{Address: follower.Address(), State: esdbtest.Follower},
		esdbtest.Member{Address: leader.Address(), State: esdbtest.Leader},
	))
	for name, hosts := range map[string]string{
		"by the discovery scheme":   "esdb+discover://" + follower.Address(),
		"by several hosts":          "esdb://" + follower.Address() + "," + gone.Address(),
		"past a host that is gone":  "esdb+discover://" + gone.Address() + "," + follower.Address(),
		"from the leader's own say": "esdb+discover://" + leader.Address(),
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t, hosts+"?tls=false&discoveryInterval=10", nil)
			stream := uuid.NewString()
			_, err := store.Append(t.Context(), stream, eventstore.NoStream(), happened())
			require.NoError(t, err)
			require.Equal(t, uint64(1), versionAt(t, leader, stream))
		})
	}
}

func TestDiscoveryWaitsForAnElectionAndFollowsItsOutcome(t *testing.T) {
	first, second := startServer(t), startServer(t)
	store := openStore(t, "esdb+discover://"+first.Address()+","+second.Address()+"?tls=false&discoveryInterval=10", nil)
	require.NoError(t, first.FollowLeader(second.Address()))
	require.NoError(t, first.SetMembers(esdbtest.Member{Address: first.Address(), State: esdbtest.Follower}, esdbtest.Member{Address: second.Address(), State: esdbtest.Follower}))
	require.NoError(t, second.SetMembers(esdbtest.Member{Address: first.Address(), State: esdbtest.Follower}, esdbtest.Member{Address: second.Address(), State: esdbtest.Follower}))
	second.SetReady(false)
	appended := make(chan error, 1)
	go func() {
		_, err := store.Append(t.Context(), "s", eventstore.NoStream(), happened())
		appended <- err
	}()
	select {
	case err := <-appended:
		t.Fatalf("there is no leader, and the append ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	second.SetReady(true)
	require.NoError(t, second.SetMembers())
	require.NoError(t, <-appended)
	require.Equal(t, uint64(1), versionAt(t, second, "s"))
}

// secureURL names a secure double, whose certificate is its own authority.
func secureURL(t *testing.T, srv *esdbtest.Server, user *url.Userinfo) string {
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, srv.CertificatePEM(), 0o600))
	u := url.URL{Scheme: "esdb", Host: srv.Address(), User: user, RawQuery: url.Values{"tlsCAFile": {file}}.Encode()}
	return u.String()
}

func startSecure(t *testing.T) *esdbtest.Server {
	srv, err := esdbtest.Start(&esdbtest.Options{Secure: true, Users: []esdbtest.User{{Name: "clerk", Password: "pa:ss word"}}})
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	return srv
}

func TestAUserIsKnownOverTLS(t *testing.T) {
	srv := startSecure(t)
	discover := strings.Replace(secureURL(t, srv, url.UserPassword("admin", "changeit")), "esdb:", "esdb+discover:", 1)
	for name, text := range map[string]string{
		"with its own authority": secureURL(t, srv, url.UserPassword("admin", "changeit")),
		"found by gossip":        discover,
		"without a look at it":   srv.URL(),
		"as another user":        secureURL(t, srv, url.UserPassword("clerk", "pa:ss word")),
		"as an operator":         secureURL(t, srv, url.UserPassword("ops", "changeit")),
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t, text, nil)
			stream := uuid.NewString()
			_, err := store.Append(t.Context(), stream, eventstore.NoStream(), happened())
			require.NoError(t, err)
			require.Len(t, read(t, store, stream), 1)
		})
	}
}

func TestWhatIsRefusedOverTLSIsToldAtOnceAndWithoutThePassword(t *testing.T) {
	srv := startSecure(t)
	for name, test := range map[string]struct {
		url  string
		says string
	}{
		"a wrong password":        {secureURL(t, srv, url.UserPassword("admin", "s3cret")), "correct the user or the password"},
		"nobody":                  {secureURL(t, srv, nil), "Access Denied; name a user whom the access control list"},
		"an unknown certificate":  {"esdb://admin:s3cret@" + srv.Address(), "certificate"},
		"a user without the TLS":  {"esdb://admin:s3cret@" + srv.Address() + "?tls=false", "use TLS"},
		"a missing key of a user": {"esdb://admin:s3cret@" + srv.Address() + "?userCertFile=a.pem", "userKeyFile"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(test.url)
			require.NoError(t, err)
			start := time.Now()
			_, err = esdb.OpenURL(t.Context(), u)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "s3cret")
			require.Less(t, time.Since(start), withinDeadline)
		})
	}
}

// The server answers while the client is still sending, which then sees an end
// of the stream and must ask for the reason.
func TestAnAppendThatIsRefusedWhileItIsSentIsToldTheReason(t *testing.T) {
	srv := startSecure(t)
	write(t, otherClient(t, srv), "$$closed-1", client.EventData{EventType: "$metadata", ContentType: client.ContentTypeJson, Data: []byte(`{"$acl":{"$w":["$admins"]}}`)})
	store := openStore(t, secureURL(t, srv, url.UserPassword("clerk", "pa:ss word")), &eventstore.Options{BackendLimits: true})
	events := make([]eventstore.Event, 200)
	for i := range events {
		events[i] = eventstore.Event{Type: "Happened", ContentType: "text/plain", Data: make([]byte, 4<<10)}
	}
	for range 20 {
		_, err := store.Append(t.Context(), "closed-1", eventstore.NoStream(), events...)
		require.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
		require.ErrorContains(t, err, "name a user whom the access control list ($acl) of the stream lets in")
		require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
	}
}

func TestAPlainConfigurationOpensAStore(t *testing.T) {
	srv := startServer(t)
	backend, err := esdb.Open(t.Context(), &client.Configuration{Address: srv.Address(), DisableTLS: true}, nil)
	require.NoError(t, err)
	require.NoError(t, backend.Close())
	for name, config := range map[string]*client.Configuration{
		"nil":              nil,
		"no host":          {},
		"a stale node":     {Address: srv.Address(), NodePreference: client.NodePreferenceFollower},
		"a user in clear":  {Address: srv.Address(), DisableTLS: true, Username: "ops", Password: "s3cret"},
		"a negative count": {Address: srv.Address(), MaxDiscoverAttempts: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := esdb.Open(t.Context(), config, nil)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestAServerWithoutAStoreIsRefusedWhereNoneIsToBeMade(t *testing.T) {
	srv := startServer(t)
	u, err := url.Parse(srv.URL() + "&create=off&namespace=shop")
	require.NoError(t, err)
	_, err = esdb.OpenURL(t.Context(), u)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "holds no store")
	openStore(t, srv.URL()+"&namespace=shop", nil)
	openStore(t, u.String(), nil)
}

// Two stores share a server, one of them busy: neither sees the other's events,
// and a subscription that nothing matches still gets on.
func TestANamespaceIsUndisturbedByABusyNeighbour(t *testing.T) {
	srv := startServer(t)
	busy, quiet := openStore(t, srv.URL()+"&namespace=busy", nil), openStore(t, srv.URL()+"&namespace=quiet&poll=20ms", nil)
	var neighbour sync.WaitGroup
	defer neighbour.Wait()
	done := make(chan struct{})
	defer close(done)
	for i := range 4 {
		neighbour.Go(func() {
			for stream := uuid.NewString(); ; {
				select {
				case <-done:
					return
				default:
				}
				if _, err := busy.Append(t.Context(), stream, eventstore.Any(), eventstore.Event{Type: "Noise", Data: []byte("{}")}); err != nil {
					t.Errorf("neighbour %d: %v", i, err)
					return
				}
			}
		})
	}
	const events = 50
	var last eventstore.AppendResult
	for i := range events {
		var err error
		last, err = quiet.Append(t.Context(), "Order-1", eventstore.Exactly(uint64(i)), eventstore.Event{Type: "Placed", Data: []byte("{}")})
		require.NoError(t, err)
	}
	info, err := quiet.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, last.Position, info.Head.Position)
	for name, filter := range map[string]eventstore.Filter{"all": {}, "a category": {Categories: []string{"Order"}}, "a type": {Types: []string{"Placed"}}, "nothing": {Types: []string{"Noise"}}} {
		want := events
		if name == "nothing" {
			want = 0
		}
		got := 0
		for event, err := range quiet.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: filter}) {
			require.NoError(t, err)
			require.Equal(t, "Order-1", event.Stream)
			got++
		}
		require.Equal(t, want, got, name)
		got = 0
		for message, err := range quiet.Subscribe(t.Context(), eventstore.SubscribeOptions{Filter: filter}) {
			require.NoError(t, err)
			if message.Kind == eventstore.MessageEvent {
				got++
			}
			require.False(t, info.Head.Position.Before(message.Place.Position), "%s: a resume point beyond the head", name)
			if message.Place == info.Head {
				break
			}
		}
		require.Equal(t, want, got, name)
	}
}

// An original append of which the window holds only the end is met whole.
func TestAnOriginalThatStraddlesTheWindowIsMetWhole(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL(), nil)
	original := []eventstore.Event{happened(), happened(), happened()}
	for i := range original {
		original[i].ID = uuid.New()
	}
	first, err := store.Append(t.Context(), "s", eventstore.NoStream(), original...)
	require.NoError(t, err)
	// After it come all but one of the window's events: it holds the original's last.
	for range esdb.DefaultIdempotencyWindow - 1 {
		_, err := store.Append(t.Context(), "s", eventstore.Any(), happened())
		require.NoError(t, err)
	}
	for name, handle := range map[string]*eventstore.Store{"the handle that wrote it": store, "another handle": openStore(t, srv.URL(), nil)} {
		for _, expected := range []eventstore.ExpectedVersion{eventstore.Any(), eventstore.NoStream(), eventstore.Exactly(3 + esdb.DefaultIdempotencyWindow - 1)} {
			again, err := handle.Append(t.Context(), "s", expected, original...)
			require.NoError(t, err, "%s, expected %s", name, expected)
			first.Duplicate = true
			require.Equal(t, first, again)
		}
	}
}
