package marten_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// What Marten 9.58 adopts is what it makes itself: the same tables, to the last name.
func TestANewStoreHasTheTablesThatMartenMakes(t *testing.T) {
	for _, test := range []struct {
		mode, parameters string
		creation         marten.Creation
	}{
		{"string-single-quick-meta", "identity=string", marten.Creation{}},
		{"string-single-quickts-meta", "timestamps=server", marten.Creation{ServerTimestamps: true}},
		{"string-conjoined-quickts-meta", "tenancy=conjoined&tenant=acme&timestamps=server", marten.Creation{Conjoined: true, ServerTimestamps: true}},
		{"guid-conjoined-quick-meta", "identity=uuid&tenancy=conjoined&tenant=acme", marten.Creation{UUIDKeys: true, Conjoined: true}},
		{"guid-single-rich-meta", "identity=uuid", marten.Creation{UUIDKeys: true}},
		{"guid-single-quick", "identity=uuid&metadata=off", marten.Creation{UUIDKeys: true, NoMetadata: true}},
	} {
		t.Run(test.mode, func(t *testing.T) {
			rawURL := server.Database(t)
			pool := connect(t, rawURL)
			want := normal(t, readFacts(t, test.mode))
			require.NoError(t, marten.Create(t.Context(), pool, "events", test.creation))
			got, err := catalog.Read(t.Context(), pool, "events")
			require.NoError(t, err)
			require.Equal(t, want, normal(t, got))

			u, err := martenURL(rawURL, "schema=by_url&create=true&append=quick&"+test.parameters)
			require.NoError(t, err)
			for range 2 { // the second time it is there
				store := openURL(t, u)
				stream := "order-1"
				if test.creation.UUIDKeys {
					stream = "order-0191d5f0-0000-7000-8000-000000000001"
				}
				_, err = store.Append(t.Context(), stream, eventstore.Any(), eventstore.Event{Type: "order_placed", Data: []byte(`{"OrderId": "A"}`)})
				require.NoError(t, err)
			}
			got, err = catalog.Read(t.Context(), pool, "by_url")
			require.NoError(t, err)
			require.Equal(t, want, normal(t, got), "and work changes nothing of it")
		})
	}
}

func openURL(t *testing.T, u *url.URL) *eventstore.Store {
	t.Helper()
	backend, err := marten.OpenURL(t.Context(), u)
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func TestNothingOfMartensIsEverAltered(t *testing.T) {
	pool := database(t)
	require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
	err := marten.Create(t.Context(), pool, "", marten.Creation{UUIDKeys: true})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "choose an empty schema")
	before, err := catalog.Read(t.Context(), pool, "public")
	require.NoError(t, err)
	require.NotEqual(t, "uuid", before.Table("mt_streams").Column("id").Type)
	openStore(t, pool, &marten.Options{Append: marten.Quick})
	now, err := catalog.Read(t.Context(), pool, "public")
	require.NoError(t, err)
	require.Equal(t, before, now)
	var foreign int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_class where relname like 'mt\_%' and relnamespace = 'switchyard_marten'::regnamespace`).Scan(&foreign))
	require.Zero(t, foreign, "Marten's clean-up drops what is named so")
}

func TestParametersThatSayHowAStoreIsMadeNeedCreate(t *testing.T) {
	u, err := url.Parse("marten://127.0.0.1:1/d?identity=uuid")
	require.NoError(t, err)
	_, err = marten.OpenURL(context.Background(), u)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "create=true")
}

// A store that is there is opened if it is what the parameters say; and none is made that
// they cannot open.
func TestParametersThatSayHowAStoreIsMadeAreHeldAgainstIt(t *testing.T) {
	rawURL := server.Database(t)
	pool := connect(t, rawURL)
	refused := func(parameters, says string) {
		t.Helper()
		u, err := martenURL(rawURL, "create=true&"+parameters)
		require.NoError(t, err)
		_, err = marten.OpenURL(t.Context(), u)
		require.ErrorIs(t, err, eventstore.ErrInvalid, parameters)
		require.ErrorContains(t, err, says)
	}
	refused("tenancy=conjoined", "give its ID")
	refused("tenant=acme", "one tenant only")
	facts, err := catalog.Read(t.Context(), pool, "public")
	require.NoError(t, err)
	require.Empty(t, facts.Tables)
	for _, parameters := range []string{"identity=uuid&tenancy=conjoined&tenant=acme&metadata=off&timestamps=server", "tenant=other", "identity=uuid&tenant=acme"} {
		u, err := martenURL(rawURL, "create=true&"+parameters)
		require.NoError(t, err)
		openURL(t, u)
	}
	refused("tenant=acme&identity=string", "its identity is uuid, not string")
	refused("tenant=acme&tenancy=single", "its tenancy is conjoined, not single")
	refused("tenant=acme&metadata=on", "its metadata is off, not on")
	refused("tenant=acme&timestamps=client", "its timestamps is server, not client")
}
