package backends

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// scheme is what a URL scheme stands for.
type scheme struct {
	// names are the spellings; the first is the backend's name.
	names []string
	// form shows users how such a URL is written.
	form string
	// local schemes name a file or nothing: what follows holds no credential.
	local bool
	// existing is the parameter with which open makes nothing; empty where a
	// store is always there.
	existing string
	open     func(ctx context.Context, u *url.URL) (eventstore.Backend, error)
	// isolate prepares a fresh store for tests where the URL's lives.
	isolate func(ctx context.Context, u *url.URL) (*Isolated, error)
}

// schemes is the table of backends: a new one is one line here.
func schemes() []scheme {
	return []scheme{
		{[]string{"memory"}, "memory:", true, "", openMemory, isolateMemory},
		{[]string{"sqlite"}, "sqlite:PATH", true, "create=off", openSQLite, isolateSQLite},
		{[]string{"postgres", "postgresql"}, "postgres://USER@HOST/DATABASE", false, "migrate=off", openPostgres, isolatePostgres},
		{[]string{"esdb", "esdb+discover"}, "esdb://HOST", false, "create=off", openESDB, isolateESDB},
	}
}

// Open opens the store at a URL with the default [eventstore.Options]. The URL's
// scheme chooses the backend, whose package documents the rest:
//
//	memory:             a new store in this process's memory
//	sqlite:orders.db    a file; see package sqlite
//	postgres://…        a schema of a PostgreSQL database; see package postgres
//	esdb://…            an EventStoreDB server; see package esdb
//
// Errors: ErrInvalid for a URL with an unknown scheme or parameter, naming the
// known ones; otherwise the backend's own. No error carries a credential.
func Open(ctx context.Context, rawURL string) (*eventstore.Store, error) {
	backend, err := OpenBackend(ctx, rawURL)
	if err != nil {
		return nil, err
	}
	return newStore(backend)
}

func newStore(backend eventstore.Backend) (*eventstore.Store, error) {
	store, err := eventstore.New(backend, nil)
	if err != nil {
		return nil, closeAfter(backend, err)
	}
	return store, nil
}

// OpenBackend is Open for callers who pass their own Options to [eventstore.New].
func OpenBackend(ctx context.Context, rawURL string) (eventstore.Backend, error) {
	return openBackend(ctx, rawURL, false)
}

// OpenExisting is OpenBackend for callers who only read: it makes no store where
// there is none and migrates none, but says so. A parameter of the URL that
// decides this already is left as it is.
func OpenExisting(ctx context.Context, rawURL string) (eventstore.Backend, error) {
	return openBackend(ctx, rawURL, true)
}

func openBackend(ctx context.Context, rawURL string, existing bool) (eventstore.Backend, error) {
	s, u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(s.existing, "=")
	if existing && name != "" && !u.Query().Has(name) {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+s.existing, "&")
	}
	backend, err := s.open(ctx, u)
	if err != nil {
		return nil, openError(rawURL, u, err)
	}
	return backend, nil
}

// Isolated is a fresh, empty store where a URL's store lives, which is not
// touched: another file in its folder, another schema in its database.
type Isolated struct {
	// URL opens the same store in another process, and may hold a credential. It
	// is empty where the store is this process's own.
	URL string
	// Open opens a handle; each call gives another handle on the same data.
	Open func(ctx context.Context) (eventstore.Backend, error)
	// OpenDeaf is Open without the notifications that wake subscriptions. It is
	// nil where the backend has none that can be turned off.
	OpenDeaf func(ctx context.Context) (eventstore.Backend, error)
	// OneLock says why no writer can hold a position that is not yet visible, as
	// the suite's check of late arrivals would want; empty where one can.
	OneLock string
	// Remove deletes the data. Every handle must be closed.
	Remove func(ctx context.Context) error
}

// Isolate prepares a fresh store beside the URL's, for conformance runs and tests.
func Isolate(ctx context.Context, rawURL string) (*Isolated, error) {
	s, u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	isolated, err := s.isolate(ctx, u)
	if err != nil {
		return nil, openError(rawURL, u, err)
	}
	return isolated, nil
}

// Schemes returns the forms of the URLs that Open knows, for help texts.
func Schemes() []string {
	var forms []string
	for _, s := range schemes() {
		forms = append(forms, s.form)
	}
	return forms
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "store URL", Reason: fmt.Sprintf(format, args...)}
}

// parse reads a URL. url.Parse's own error is dropped: it quotes its input, and
// even its cause may hold a piece of a password that was not percent-encoded.
func parse(rawURL string) (scheme, *url.URL, error) {
	known := "known are " + strings.Join(Schemes(), ", ")
	u, err := url.Parse(rawURL)
	if err != nil {
		return scheme{}, nil, invalidURL("%s cannot be read; percent-encode special characters, above all in passwords; %s", Redact(rawURL), known)
	}
	if u.Scheme == "" {
		return scheme{}, nil, invalidURL("it does not start with a scheme; %s", known)
	}
	s, ok := lookup(schemes(), u.Scheme)
	if !ok {
		return scheme{}, nil, invalidURL("unknown scheme %q; %s", u.Scheme, known)
	}
	return s, u, nil
}

func lookup(table []scheme, name string) (scheme, bool) {
	for _, s := range table {
		if slices.Contains(s.names, name) {
			return s, true
		}
	}
	return scheme{}, false
}
