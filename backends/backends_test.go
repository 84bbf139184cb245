package backends

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestOpenGivesAStoreForEachScheme(t *testing.T) {
	for name, raw := range map[string]string{"memory": "memory:", "sqlite": "sqlite:" + t.TempDir() + "/a.db?poll=50ms"} {
		store, err := Open(t.Context(), raw)
		require.NoError(t, err)
		require.Equal(t, name, store.Capabilities().Backend)
		require.NoError(t, store.Close())
	}
}

func TestOpenExistingMakesNoStore(t *testing.T) {
	url := "sqlite:" + t.TempDir() + "/a.db"
	_, err := OpenExisting(t.Context(), url)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "holds no store")
	for _, open := range []func(context.Context, string) (eventstore.Backend, error){OpenBackend, OpenExisting} {
		backend, err := open(t.Context(), url)
		require.NoError(t, err)
		require.NoError(t, backend.Close())
	}
	backend, err := OpenExisting(t.Context(), "sqlite:"+t.TempDir()+"/b.db?create=on")
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
			_, err := Open(t.Context(), test.url)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "s3cr3t")
			require.NotContains(t, err.Error(), "\x1b")
			isolated, err := Isolate(t.Context(), test.url)
			if err == nil {
				_, err = isolated.Open(t.Context())
			}
			require.ErrorIs(t, err, eventstore.ErrInvalid)
		})
	}
}

func TestAnIsolatedStoreHasManyHandlesOnOneLog(t *testing.T) {
	folder := t.TempDir()
	for _, raw := range []string{"memory:", "sqlite:" + folder + "/orders.db"} {
		t.Run(raw, func(t *testing.T) {
			isolated, err := Isolate(t.Context(), raw)
			require.NoError(t, err)
			first, err := isolated.Open(t.Context())
			require.NoError(t, err)
			second, err := isolated.OpenDeaf(t.Context())
			require.NoError(t, err)

			writer, err := eventstore.New(first, nil)
			require.NoError(t, err)
			reader, err := eventstore.New(second, nil)
			require.NoError(t, err)
			_, err = writer.Append(t.Context(), "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte("{}")})
			require.NoError(t, err)
			version, err := reader.StreamVersion(t.Context(), "order-1")
			require.NoError(t, err)
			require.EqualValues(t, 1, version)
			require.NoError(t, writer.Close())
			require.NoError(t, reader.Close())
			require.NoError(t, isolated.Remove(t.Context()))
			left, err := os.ReadDir(folder)
			require.NoError(t, err)
			require.Empty(t, left, "nothing is left behind, and the URL's own store was not touched")
		})
	}
}

// network is a table entry of a backend that is reached over the network, so
// that redaction is tested whichever backends this build has.
var network = scheme{names: []string{"pg"}, form: "pg://"}

func TestRedactShowsSchemeHostAndDatabaseOnly(t *testing.T) {
	for raw, want := range map[string]string{
		"pg://app:s3cr3t@db.example.com:5432/orders?sslmode=verify-full&password=s3cr3t#s3cr3t": "pg://db.example.com:5432/orders",
		"pg://db/orders":                   "pg://db/orders",
		"pg://db-1:5432,db-2:5432/orders":  "pg://db-1:5432,db-2:5432/orders",
		"PG://app@db/orders":               "pg://db/orders",
		"pg://app:s3cr3t/12@db/orders":     "pg:…",
		"pg://app:12/s3cr3t@db/orders":     "pg:…",
		"pg://app:12#s3cr3t@db/orders":     "pg:…",
		"pg://app:12?s3cr3t@db/orders":     "pg:…",
		"pg://app:x@12/s3cr3t@db/orders":   "pg:…",
		"pg:/app:s3cr3t@db/orders":         "pg:…",
		"pg:app:s3cr3t@db/orders":          "pg:…",
		"pg:///orders":                     "pg:…",
		"pg://app:%zzs3cr3t@db/orders":     "pg:…",
		"pg://db/or\u202eders\u009b":       "pg://db/or%E2%80%AEders%C2%9B",
		"memory:":                          "memory:",
		"memory:a\u009bb":                  "memory:a%C2%9Bb",
		"memory://app:s3cr3t@db":           "memory:…",
		"host=db user=app password=s3cr3t": "…",
		"mysql://app:s3cr3t@db":            "…",
		"":                                 "…",
	} {
		t.Run(raw, func(t *testing.T) {
			require.Equal(t, want, redact(raw, append(schemes(), network)))
		})
	}
}

func TestADriversErrorIsShownWithoutThePassword(t *testing.T) {
	const raw = "pg://app:p%40ss%2Fw@db/orders?sslpassword=t0psecret"
	u, err := url.Parse(raw)
	require.NoError(t, err)
	driver := fmt.Errorf("dial %s: p@ss/w and t0psecret refused", raw)
	shown := openError(raw, u, driver)
	for _, secret := range []string{"p@ss", "p%40ss", "t0psecret"} {
		require.NotContains(t, shown.Error(), secret)
	}
	require.Contains(t, shown.Error(), "refused")
	require.ErrorIs(t, shown, driver, "the driver's error is still reachable")

	plain := errors.New("connection refused")
	require.Contains(t, openError(raw, u, plain).Error(), "connection refused")
}

// FuzzURL holds a password that nobody percent-encoded against everything that
// Open and Redact print.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"", "/", "@", "#", "?", "%", "%zz", ":", "12/", "@12/", " ", "\x00", "[", "\u202e"} {
		f.Add("pg://app:", seed, "@db/orders")
		f.Add("pg:app:", seed, "@db/orders")
		f.Add("sqlite:", seed, ".db")
		f.Add("memory:", seed, "")
	}
	const secret = "s3cr3t"
	f.Fuzz(func(t *testing.T, before, password, after string) {
		if strings.Contains(before, secret) || strings.Contains(after, secret) {
			t.Skip("the secret stands outside the password")
		}
		// Whatever it was meant to be, a text with no '@' after the secret, or with
		// no ':' before it, holds no password.
		raw := before + password + secret + after
		table := append(schemes(), network)
		shown := redact(raw, table)
		for _, r := range shown {
			if r < ' ' || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) {
				t.Fatalf("Redact(%q) = %q holds a control character", raw, shown)
			}
		}
		if strings.HasPrefix(raw, "pg:") && strings.Contains(after, "@") && strings.Contains(shown, secret) {
			t.Fatalf("Redact(%q) = %q shows the password", raw, shown)
		}
		if _, _, err := parse(raw); err != nil && strings.Contains(before, ":") && strings.Contains(err.Error(), secret) {
			if name, _, _ := strings.Cut(raw, ":"); !strings.Contains(name, secret) {
				t.Fatalf("the error for %q shows the password: %s", raw, err)
			}
		}
	})
}
