package conformance

import (
	"context"
	"errors"
	"net/url"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Isolated is a fresh, empty store where a URL's store lives, which is not
// touched: another file in its folder, another schema in its database. Checks,
// benchmarks and tests work on it, and remove it.
type Isolated struct {
	// URL opens the same store in another process, and may hold a credential. It
	// is empty where the store is this process's own.
	URL string
	// Open opens a handle; each call gives another handle on the same data.
	Open func(ctx context.Context) (eventstore.Backend, error)
	// OpenPolling is Open without the notifications that handles and processes
	// send each other, as for [Fixture].
	OpenPolling func(ctx context.Context) (eventstore.Backend, error)
	// StreamID is that of a [Harness], for a store whose stream IDs have a form of
	// their own.
	StreamID func(category string, number int) string
	// HoldWriter and HoldWriterReason are those of a [Fixture].
	HoldWriter       func(ctx context.Context, part eventstore.StreamAppend) (release func() (eventstore.AppendResult, error), err error)
	HoldWriterReason string
	// Remove deletes the data. Every handle must be closed.
	Remove func(ctx context.Context) error
}

// Fixture opens the store as a check works on it. What only some stores have, such
// as a server that can be restarted, is added to the fixture. Where it cannot be
// opened, what was made of it is removed. Its Remove works also after a context has ended.
func (i *Isolated) Fixture(ctx context.Context) (*Fixture, error) {
	backend, err := i.Open(ctx)
	if err != nil {
		return nil, errors.Join(err, i.removeAtLast(ctx))
	}
	return &Fixture{
		Backend:          backend,
		OpenAgain:        i.Open,
		OpenPolling:      i.OpenPolling,
		HoldWriter:       i.HoldWriter,
		HoldWriterReason: i.HoldWriterReason,
		Remove:           i.removeAtLast,
	}, nil
}

// removeAtLast removes the data also where ctx has ended, as by Ctrl-C.
func (i *Isolated) removeAtLast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return i.Remove(ctx)
}

// Opener returns what opens another handle on a URL's store at each call, with the Open
// of its backend's scheme.
func Opener(open func(ctx context.Context, u *url.URL) (eventstore.Backend, error), u url.URL) func(context.Context) (eventstore.Backend, error) {
	return func(ctx context.Context) (eventstore.Backend, error) {
		own := u // who opens may change it
		return open(ctx, &own)
	}
}

// IsolatedHarness makes a harness of what prepares isolated stores: each check
// gets one, and removes it.
func IsolatedHarness(name string, isolate func(ctx context.Context) (*Isolated, error)) Harness {
	return Harness{
		Name: name,
		Open: func(ctx context.Context) (*Fixture, error) {
			isolated, err := isolate(ctx)
			if err != nil {
				return nil, err
			}
			return isolated.Fixture(ctx)
		},
	}
}
