package backends

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Scheme is what a URL scheme stands for: a backend, and how a URL opens it. Each
// backend's package has a function of this name that returns its own.
type Scheme struct {
	// Names are the scheme's spellings, in lower case; the first is the backend's name.
	Names []string
	// Form shows users how such a URL is written, as in "sqlite:PATH".
	Form string
	// Local says that the URL names a file or nothing, so that what follows the
	// scheme holds no credential and may be shown.
	Local bool
	// Existing is the parameter with which opening makes no store where there is
	// none, such as "create=off". It is empty where a store is always there.
	Existing string
	// Open opens the backend. Its result counts only where the error is nil.
	Open func(ctx context.Context, u *url.URL) (eventstore.Backend, error)
}

// Set is the backends that a program can open by URL. The program links these
// and no other: a value of its own, as in
//
//	var set = backends.Set{memory.Scheme(), postgres.Scheme()}
//
// or that of package backends/all, which has them all. A set that is empty, that
// names a scheme twice or that has a scheme without a name or Open opens nothing:
// every call fails with ErrInvalid and says which it is.
type Set []Scheme

// Open opens the store at a URL. The URL's scheme chooses the backend, whose
// package documents the rest; nil options are [eventstore.Options]' defaults.
//
// Errors: ErrInvalid for a URL with a scheme that is not in the set, or a
// parameter that the backend does not know, naming the known ones; otherwise the
// backend's own and those of [eventstore.New]. No error carries a credential.
func (s Set) Open(ctx context.Context, rawURL string, opts *eventstore.Options) (*eventstore.Store, error) {
	backend, err := s.OpenBackend(ctx, rawURL)
	if err != nil {
		return nil, err
	}
	store, err := eventstore.New(backend, opts)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return store, nil
}

// OpenConfig opens the store that a config file names, as [Set.Open] does. See
// [Config] for the file.
//
// Errors: ErrInvalid, with the line, for a file that breaks the form, for an
// unknown name and for a missing variable; otherwise as [Set.Open]. No error
// shows the value of a variable or of a URL.
func (s Set) OpenConfig(ctx context.Context, path, name string, opts *eventstore.Options) (*eventstore.Store, error) {
	config, err := ReadConfig(path)
	if err != nil {
		return nil, err
	}
	rawURL, err := config.URL(name)
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, rawURL, opts)
}

// OpenBackend is [Set.Open] for callers who make the Store themselves.
func (s Set) OpenBackend(ctx context.Context, rawURL string) (eventstore.Backend, error) {
	return s.openBackend(ctx, rawURL, false)
}

// OpenExistingBackend is [Set.OpenBackend] for callers who only read: it makes no
// store where there is none and migrates none, but says so. A parameter of the
// URL that decides this already is left as it is.
func (s Set) OpenExistingBackend(ctx context.Context, rawURL string) (eventstore.Backend, error) {
	return s.openBackend(ctx, rawURL, true)
}

func (s Set) openBackend(ctx context.Context, rawURL string, existing bool) (backend eventstore.Backend, err error) {
	err = s.Resolve(rawURL, func(scheme Scheme, u *url.URL) error {
		name, _, _ := strings.Cut(scheme.Existing, "=")
		if existing && name != "" && !u.Query().Has(name) {
			u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+scheme.Existing, "&")
		}
		backend, err = scheme.Open(ctx, u)
		return err
	})
	if err != nil {
		return nil, err // and no Backend that holds a nil pointer
	}
	return backend, nil
}

// Resolve finds the scheme of a URL and hands both to use, for callers who do
// something else with a URL than open it. The error that use returns comes back
// as [Set.Open]'s do: with the URL as it may be shown, and without its secrets.
func (s Set) Resolve(rawURL string, use func(scheme Scheme, u *url.URL) error) error {
	scheme, u, err := s.parse(rawURL)
	if err != nil {
		return err
	}
	if err := use(scheme, u); err != nil {
		return s.openError(rawURL, u, err)
	}
	return nil
}

// Forms returns how the URLs of the set are written, for help texts.
func (s Set) Forms() []string {
	var forms []string
	for _, scheme := range s {
		forms = append(forms, scheme.Form)
	}
	return forms
}

// check finds what is wrong with the set itself.
func (s Set) check() error {
	invalid := func(format string, args ...any) error {
		return &eventstore.InvalidError{Field: "set of backends", Reason: fmt.Sprintf(format, args...)}
	}
	if len(s) == 0 {
		return invalid("it is empty; give it the Scheme() of each backend that the program may open")
	}
	seen := make(map[string]bool)
	for i, scheme := range s {
		if len(scheme.Names) == 0 {
			return invalid("scheme %d has no name", i+1)
		}
		for _, name := range scheme.Names {
			switch {
			case name == "" || name != strings.ToLower(name):
				return invalid("the scheme name %q of scheme %d is not in lower case, as URLs are read", name, i+1)
			case seen[name]:
				return invalid("scheme %q is named twice", name)
			}
			seen[name] = true
		}
		if scheme.Open == nil {
			return invalid("scheme %q has no Open", scheme.Names[0])
		}
	}
	return nil
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "store URL", Reason: fmt.Sprintf(format, args...)}
}

// parse reads a URL. url.Parse's own error is dropped: it quotes its input, and
// even its cause may hold a piece of a password that was not percent-encoded.
func (s Set) parse(rawURL string) (Scheme, *url.URL, error) {
	if err := s.check(); err != nil {
		return Scheme{}, nil, err
	}
	known := "known are " + strings.Join(s.Forms(), ", ")
	u, err := url.Parse(rawURL)
	if err != nil {
		return Scheme{}, nil, invalidURL("%s cannot be read; percent-encode special characters, above all in passwords; %s", s.Redact(rawURL), known)
	}
	if u.Scheme == "" {
		return Scheme{}, nil, invalidURL("it does not start with a scheme; %s", known)
	}
	scheme, ok := s.lookup(u.Scheme)
	if !ok {
		return Scheme{}, nil, invalidURL("unknown scheme %q; %s", u.Scheme, known)
	}
	return scheme, u, nil
}

func (s Set) lookup(name string) (Scheme, bool) {
	for _, scheme := range s {
		if slices.Contains(scheme.Names, name) {
			return scheme, true
		}
	}
	return Scheme{}, false
}
