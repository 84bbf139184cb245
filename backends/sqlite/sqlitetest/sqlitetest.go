// Package sqlitetest prepares SQLite stores for conformance runs, benchmarks and
// tests. It is linked by those alone.
package sqlitetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// pollInterval is that of the handles that are to be found polling: short, because
// checks wait for it.
const pollInterval = 20 * time.Millisecond

// Isolate prepares a store in a new file, in the directory of the URL's and with
// its parameters.
func Isolate(_ context.Context, u *url.URL) (*conformance.Isolated, error) {
	path := u.Path
	if u.Opaque != "" {
		var err error
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return nil, &eventstore.InvalidError{Field: "sqlite URL", Reason: "the path is not percent-encoded"}
		}
	}
	fresh := *u
	if path != "" { // or opening refuses it, as everything else that is wrong
		// The start of the name is enough to tell whose it is, and leaves room.
		name := filepath.Base(path)
		name = strings.ToValidUTF8(name[:min(len(name), 100)], "")
		path = filepath.Join(filepath.Dir(path), "."+name+"-"+uuid.NewString())
		fresh.Path, fresh.RawPath, fresh.Opaque = "", "", ""
		if filepath.IsAbs(path) {
			fresh.OmitHost, fresh.Path = true, path
		} else {
			fresh.Opaque = (&url.URL{Path: path}).EscapedPath()
		}
	}
	values := u.Query()
	values.Del("create")
	fresh.RawQuery = values.Encode()
	// There is no notification between handles that could be turned off: a handle
	// hears of its own appends alone.
	values.Set("poll", pollInterval.String())
	polling := fresh
	polling.RawQuery = values.Encode()
	return &conformance.Isolated{
		URL:              fresh.String(),
		Open:             conformance.Opener(sqlite.Scheme().Open, fresh),
		OpenPolling:      conformance.Opener(sqlite.Scheme().Open, polling),
		HoldWriterReason: "a writer holds the file's only write lock from taking a position until its commit",
		Remove:           func(context.Context) error { return Remove(path) },
	}, nil
}

// Remove deletes a store's file and what SQLite keeps beside it. Every handle on
// it must be closed. A file that does not exist is no error.
func Remove(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove SQLite store: %w", err))
		}
	}
	return errors.Join(errs...)
}
