package all_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestOpenGivesAStoreForEachScheme(t *testing.T) {
	for name, raw := range map[string]string{"memory": "memory:", "sqlite": "sqlite:" + t.TempDir() + "/a.db?poll=50ms"} {
		store, err := all.Open(t.Context(), raw, nil)
		require.NoError(t, err)
		require.Equal(t, name, store.Capabilities().Backend)
		require.NoError(t, store.Close())
	}
}

func TestOpenExistingBackendMakesNoStore(t *testing.T) {
	raw := "sqlite:" + t.TempDir() + "/a.db"
	_, err := all.Set().OpenExistingBackend(t.Context(), raw)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "holds no store")
	for _, open := range []func(context.Context, string) (eventstore.Backend, error){all.Set().OpenBackend, all.Set().OpenExistingBackend} {
		backend, err := open(t.Context(), raw)
		require.NoError(t, err)
		require.NoError(t, backend.Close())
	}
	backend, err := all.Set().OpenExistingBackend(t.Context(), "sqlite:"+t.TempDir()+"/b.db?create=on")
	require.NoError(t, err, "the URL decides")
	require.NoError(t, backend.Close())
}

func TestABadURLIsAnErrorThatSaysWhatWouldBeRight(t *testing.T) {
	for name, test := range map[string]struct{ url, want string }{
		"empty":                     {"", "does not start with a scheme; known are memory:, sqlite:PATH"},
		"a bare path":               {"orders.db", "does not start with a scheme"},
		"a libpq string":            {"host=db password=s3cr3t", "does not start with a scheme"},
		"an unknown scheme":         {"mysql://root:s3cr3t@db/orders", `unknown scheme "mysql"; known are memory:`},
		"a memory store with name":  {"memory:orders", "takes no name and no parameters"},
		"a memory store with query": {"memory:?poll=1s", "takes no name and no parameters"},
		"a sqlite parameter":        {"sqlite:a.db?cache=shared", `unknown parameter "cache"; known are busy_timeout, create, poll, readers`},
		"a sqlite host":             {"sqlite://orders.db", "taken for a host"},
		"a bad escape":              {"memory:%zz?s3cr3t", "takes no name and no parameters"},
		"a control character":       {"memory:\x1b[31m", "cannot be read"},
		"a bad port":                {"mysql://user:s3cr3t/x@db/orders", "cannot be read; percent-encode special characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := all.Open(t.Context(), test.url, nil)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "s3cr3t")
			require.NotContains(t, err.Error(), "\x1b")
		})
	}
}

func TestEachSchemeIsOneOfOneSet(t *testing.T) {
	require.Equal(t, []string{"memory:", "sqlite:PATH", "postgres://USER@HOST/DATABASE", "esdb://HOST", "marten://USER@HOST/DATABASE", "kafka://HOST:PORT,HOST:PORT/STORE", "dynamodb://REGION/TABLE"}, all.Set().Forms())
	err := all.Set().Resolve("memory:", func(backends.Scheme, *url.URL) error { return nil })
	require.NoError(t, err, "no scheme is named twice")
}

func TestOptionsReachTheStoreHoweverItIsOpened(t *testing.T) {
	config := filepath.Join(t.TempDir(), "switchyard.yaml")
	require.NoError(t, os.WriteFile(config, []byte("stores: {orders: {url: 'memory:'}}"), 0o600))
	reserved := eventstore.Event{Type: "$created", Data: []byte("{}")}
	for name, open := range map[string]func(*eventstore.Options) (*eventstore.Store, error){
		"Open": func(o *eventstore.Options) (*eventstore.Store, error) { return all.Open(t.Context(), "memory:", o) },
		"OpenConfig": func(o *eventstore.Options) (*eventstore.Store, error) {
			return all.OpenConfig(t.Context(), config, "orders", o)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for opts, allowed := range map[*eventstore.Options]bool{nil: false, {AllowReserved: true}: true} {
				store, err := open(opts)
				require.NoError(t, err)
				_, err = store.Append(t.Context(), "order-1", eventstore.Any(), reserved)
				require.Equal(t, allowed, err == nil, err)
				require.NoError(t, store.Close())
			}
		})
	}
}
