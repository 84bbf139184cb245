package sqlite

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// OpenURL opens the store that a URL names:
//
//	sqlite:orders.db          a file in the working directory
//	sqlite:data/orders.db     relative to it
//	sqlite:/var/lib/orders.db absolute; also sqlite:///var/lib/orders.db
//
// In a path, '?', '#' and '%' are written %3F, %23 and %25. The parameters are
// the fields of [Options]:
//
//	poll=100ms        Poll, a duration
//	busy_timeout=5s   BusyTimeout, a duration
//	readers=4         Readers, a number
//	create=off        NoCreate
//
// Anything else is ErrInvalid.
func OpenURL(ctx context.Context, u *url.URL) (*Backend, error) {
	path, err := urlPath(u)
	if err != nil {
		return nil, err
	}
	opts, err := urlOptions(u)
	if err != nil {
		return nil, err
	}
	return Open(ctx, path, opts)
}

// Scheme is "sqlite:PATH", for a [backends.Set].
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names:    []string{"sqlite"},
		Form:     "sqlite:PATH",
		Local:    true,
		Existing: "create=off",
		Open:     func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return OpenURL(ctx, u) },
	}
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "sqlite URL", Reason: fmt.Sprintf(format, args...)}
}

func urlPath(u *url.URL) (string, error) {
	switch {
	case u.User != nil:
		return "", invalidURL("a file has no user or password; write sqlite:orders.db or sqlite:/var/lib/orders.db")
	case u.Host != "":
		return "", invalidURL("%q is taken for a host; write sqlite:orders.db for a relative path, sqlite:/var/lib/orders.db for an absolute one", u.Host)
	case u.Fragment != "" || u.RawFragment != "":
		return "", invalidURL("it has a fragment (#); write %%23 for a '#' in the path")
	}
	path := u.Path
	if u.Opaque != "" {
		var err error
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", invalidURL("the path is not percent-encoded: %s", err)
		}
	}
	if path == "" {
		return "", invalidURL("it names no file; write sqlite:orders.db")
	}
	return path, nil
}

func urlOptions(u *url.URL) (*Options, error) {
	var opts Options
	known := map[string]func(value string) error{
		"poll":         urlparam.Duration(&opts.Poll),
		"busy_timeout": urlparam.Duration(&opts.BusyTimeout),
		"readers":      countInto(&opts.Readers),
		"create":       urlparam.Word(&opts.NoCreate, "on", "off"),
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, invalidURL("the parameters are not percent-encoded: %s", err)
	}
	if err := urlparam.Read(values, known, invalidURL); err != nil {
		return nil, err
	}
	return &opts, nil
}

func countInto(field *int) func(string) error {
	return func(value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 1000 {
			return fmt.Errorf("%q is not a number from 1 to 1000", value)
		}
		*field = n
		return nil
	}
}
