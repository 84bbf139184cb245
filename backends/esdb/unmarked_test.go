package esdb_test

import (
	"net/url"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// What other clients filled can be read before anybody has made a store of it, and
// keeps its identity when somebody does.
func TestAServerThatOthersFilledCanBeReadWithoutAMark(t *testing.T) {
	srv := startServer(t)
	write(t, otherClient(t, srv), "cart-1", client.EventData{}, client.EventData{})
	store := openStore(t, srv.URL()+"&create=off", nil)
	require.Len(t, read(t, store, "cart-1"), 2)
	before, err := store.Info(t.Context())
	require.NoError(t, err)
	require.NotZero(t, before.ID)
	require.Equal(t, uint64(2), before.Head.Version)
	again, err := openStore(t, srv.URL()+"&create=off", nil).Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, again)
	for _, handle := range []*eventstore.Store{openStore(t, srv.URL(), nil), store} {
		after, err := handle.Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after, "with a mark")
	}
	other := startServer(t)
	write(t, otherClient(t, other), "cart-1", client.EventData{}, client.EventData{})
	info, err := openStore(t, other.URL()+"&create=off", nil).Info(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, before.ID, info.ID, "another server")
}

func TestWhoMayOnlyReadCanRead(t *testing.T) {
	srv := startSecure(t)
	admin := otherClient(t, srv)
	write(t, admin, "cart-1", client.EventData{})
	closed := client.EventData{EventType: "$metadata", ContentType: client.ContentTypeJson, Data: []byte(`{"$acl":{"$w":"$admins","$mw":"$admins"}}`)}
	for _, stream := range []string{"cart-1", "switchyard::identity"} {
		write(t, admin, "$$"+stream, closed)
	}
	write(t, admin, "$$$all", client.EventData{EventType: "$metadata", ContentType: client.ContentTypeJson, Data: []byte(`{"$acl":{"$r":"$all"}}`)})
	store := openStore(t, secureURL(t, srv, url.UserPassword("clerk", "pa:ss word")), nil)
	require.Len(t, read(t, store, "cart-1"), 1)
	events := 0
	for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		events++
	}
	require.Equal(t, 1, events)
	_, err := store.Append(t.Context(), "cart-1", eventstore.Any(), happened())
	require.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	subscribe(t, store, eventstore.SubscribeOptions{}).await(t, eventstore.MessageCaughtUp)
}

// A namespace that nobody made a store of is a mistyped one, also for who may only read.
func TestANamespaceWithoutAMarkIsRefusedToReaders(t *testing.T) {
	srv := startServer(t)
	u, err := url.Parse(srv.URL() + "&create=off&namespace=shpo")
	require.NoError(t, err)
	_, err = esdb.OpenURL(t.Context(), u)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}
