package backends

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// testSet has schemes like those of stores in memory and in a file, and of one
// that is reached over the network. They open nothing.
func testSet() Set {
	open := func(context.Context, *url.URL) (eventstore.Backend, error) { return nil, errNotOpened }
	return Set{
		{Names: []string{"memory"}, Form: "memory:", Local: true, Open: open},
		{Names: []string{"sqlite"}, Form: "sqlite:PATH", Local: true, Existing: "create=off", Open: open},
		{Names: []string{"pg", "pgsql"}, Form: "pg://HOST", Existing: "migrate=off", Open: open},
	}
}

var errNotOpened = errors.New("not opened")

func TestASetThatCannotWorkSaysWhy(t *testing.T) {
	set := testSet()
	for name, test := range map[string]struct {
		set  Set
		says string
	}{
		"nothing":               {nil, "set of backends: it is empty"},
		"a scheme twice":        {append(testSet(), set[1]), `scheme "sqlite" is named twice`},
		"one spelling twice":    {append(testSet(), Scheme{Names: []string{"x", "pgsql"}, Open: set[0].Open}), `scheme "pgsql" is named twice`},
		"a scheme without name": {append(testSet(), Scheme{Form: "x:", Open: set[0].Open}), "scheme 4 has no name"},
		"an empty name":         {append(testSet(), Scheme{Names: []string{""}, Open: set[0].Open}), "of scheme 4 is not in lower case"},
		"upper case":            {append(testSet(), Scheme{Names: []string{"Kafka"}, Open: set[0].Open}), `the scheme name "Kafka" of scheme 4 is not in lower case`},
		"nothing to open with":  {append(testSet(), Scheme{Names: []string{"x"}}), `scheme "x" has no Open`},
	} {
		t.Run(name, func(t *testing.T) {
			config := writeConfig(t, "stores: {s: {url: 'memory:'}}")
			for _, open := range []func() error{
				func() error { _, err := test.set.Open(t.Context(), "memory:", nil); return err },
				func() error { _, err := test.set.OpenBackend(t.Context(), "memory:"); return err },
				func() error { _, err := test.set.OpenExistingBackend(t.Context(), "memory:"); return err },
				func() error { _, err := test.set.OpenConfig(t.Context(), config, "s", nil); return err },
				func() error { return test.set.Resolve("memory:", nil) },
			} {
				err := open()
				require.ErrorIs(t, err, eventstore.ErrInvalid)
				require.ErrorContains(t, err, test.says)
			}
		})
	}
}

func TestAnUnknownSchemeIsToldTheFormsOfTheSet(t *testing.T) {
	set := testSet()[:2]
	_, err := set.OpenBackend(t.Context(), "pg://app:s3cr3t@db/orders")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, `unknown scheme "pg"; known are memory:, sqlite:PATH`)
	require.NotContains(t, err.Error(), "s3cr3t")
	require.Equal(t, []string{"memory:", "sqlite:PATH"}, set.Forms())
}

// typedNil is what OpenURL(ctx, u) of a backend's package gives back as an
// interface when it fails: not nil, and of no use.
type typedNil struct{ eventstore.Backend }

func TestABackendThatWasNotOpenedIsNil(t *testing.T) {
	open := func(context.Context, *url.URL) (eventstore.Backend, error) {
		var b *typedNil
		return b, errNotOpened
	}
	backend, err := Set{{Names: []string{"x"}, Open: open}}.OpenBackend(t.Context(), "x:")
	require.ErrorIs(t, err, errNotOpened)
	if backend != nil { // require.Nil would take a nil pointer in an interface for nil
		t.Fatalf("got %T", backend)
	}
}

func TestOpenExistingBackendAddsTheParameterOnce(t *testing.T) {
	for given, want := range map[string]string{
		"pg://db/orders":             "pg://db/orders?migrate=off",
		"pg://db/orders?a=1":         "pg://db/orders?a=1&migrate=off",
		"pg://db/orders?migrate=on":  "pg://db/orders?migrate=on",
		"pg://db/orders?migrate=off": "pg://db/orders?migrate=off",
	} {
		var opened string
		set := Set{{Names: []string{"pg"}, Existing: "migrate=off", Open: func(_ context.Context, u *url.URL) (eventstore.Backend, error) {
			opened = u.String()
			return nil, errNotOpened
		}}}
		_, err := set.OpenExistingBackend(t.Context(), given)
		require.ErrorIs(t, err, errNotOpened)
		require.Equal(t, want, opened)
	}
}

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
			require.Equal(t, want, testSet().Redact(raw))
		})
	}
}

func TestADriversErrorIsShownWithoutThePassword(t *testing.T) {
	const raw = "pg://app:p%40ss%2Fw@db/orders?sslpassword=t0psecret"
	u, err := url.Parse(raw)
	require.NoError(t, err)
	driver := fmt.Errorf("dial %s: p@ss/w and t0psecret refused", raw)
	shown := testSet().openError(raw, u, driver)
	for _, secret := range []string{"p@ss", "p%40ss", "t0psecret"} {
		require.NotContains(t, shown.Error(), secret)
	}
	require.Contains(t, shown.Error(), "refused")
	require.ErrorIs(t, shown, driver, "the driver's error is still reachable")

	plain := errors.New("connection refused")
	require.Contains(t, testSet().openError(raw, u, plain).Error(), "connection refused")
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
		shown := testSet().Redact(raw)
		for _, r := range shown {
			if r < ' ' || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) {
				t.Fatalf("Redact(%q) = %q holds a control character", raw, shown)
			}
		}
		if strings.HasPrefix(raw, "pg:") && strings.Contains(after, "@") && strings.Contains(shown, secret) {
			t.Fatalf("Redact(%q) = %q shows the password", raw, shown)
		}
		if _, _, err := testSet().parse(raw); err != nil && strings.Contains(before, ":") && strings.Contains(err.Error(), secret) {
			if name, _, _ := strings.Cut(raw, ":"); !strings.Contains(name, secret) {
				t.Fatalf("the error for %q shows the password: %s", raw, err)
			}
		}
	})
}
