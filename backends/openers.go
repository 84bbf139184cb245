package backends

import (
	"context"
	"net/url"
	"time"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// deafPoll is the poll interval of handles that rely on polling alone.
const deafPoll = 20 * time.Millisecond

// noParameters refuses what a scheme without parameters was given.
func noParameters(u *url.URL) error {
	if u.Opaque != "" || u.User != nil || u.Host != "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return invalidURL("%s takes no name and no parameters; write %s:", u.Scheme, u.Scheme)
	}
	return nil
}

func openMemory(_ context.Context, u *url.URL) (eventstore.Backend, error) {
	if err := noParameters(u); err != nil {
		return nil, err
	}
	return memory.New(), nil
}

func isolateMemory(_ context.Context, u *url.URL) (*Isolated, error) {
	if err := noParameters(u); err != nil {
		return nil, err
	}
	log := memory.NewLog()
	handle := func(opts *memory.Options) func(context.Context) (eventstore.Backend, error) {
		return func(context.Context) (eventstore.Backend, error) { return log.Open(opts), nil }
	}
	return &Isolated{
		Open:     handle(nil),
		OpenDeaf: handle(&memory.Options{NoHints: true, Poll: deafPoll}),
		OneLock:  "one lock is held from taking a position until the event is visible",
		Remove:   func(context.Context) error { return nil },
	}, nil
}

func openSQLite(ctx context.Context, u *url.URL) (eventstore.Backend, error) {
	return opened(sqlite.OpenURL(ctx, u))
}

func isolateSQLite(_ context.Context, u *url.URL) (*Isolated, error) {
	fresh, remove, err := sqlite.Beside(u)
	if err != nil {
		return nil, err
	}
	path := fresh.Path
	if fresh.Opaque != "" {
		if path, err = url.PathUnescape(fresh.Opaque); err != nil {
			return nil, err
		}
	}
	return &Isolated{
		URL:  fresh.String(),
		Open: func(ctx context.Context) (eventstore.Backend, error) { return openSQLite(ctx, fresh) },
		OpenDeaf: func(ctx context.Context) (eventstore.Backend, error) {
			return opened(sqlite.Open(ctx, path, &sqlite.Options{NoHints: true, Poll: deafPoll}))
		},
		OneLock: "a writer holds the file's only write lock from taking a position until its commit",
		Remove:  func(context.Context) error { return remove() },
	}, nil
}

func openPostgres(ctx context.Context, u *url.URL) (eventstore.Backend, error) {
	return opened(postgres.OpenURL(ctx, u))
}

func isolatePostgres(_ context.Context, u *url.URL) (*Isolated, error) {
	fresh, remove, err := postgres.Beside(u)
	if err != nil {
		return nil, err
	}
	deaf := *fresh
	values := deaf.Query()
	values.Set("listen", "off")
	values.Set("hints", "off")
	values.Set("poll", deafPoll.String())
	deaf.RawQuery = values.Encode()
	return &Isolated{
		URL:      fresh.String(),
		Open:     func(ctx context.Context) (eventstore.Backend, error) { return openPostgres(ctx, fresh) },
		OpenDeaf: func(ctx context.Context) (eventstore.Backend, error) { return openPostgres(ctx, &deaf) },
		OneLock:  "a writer takes its positions under the store's lock; what a transaction of the caller's may do is tested beside the backend",
		Remove:   remove,
	}, nil
}

func openESDB(ctx context.Context, u *url.URL) (eventstore.Backend, error) {
	return opened(esdb.OpenURL(ctx, u))
}

func isolateESDB(_ context.Context, u *url.URL) (*Isolated, error) {
	fresh, remove, err := esdb.Beside(u)
	if err != nil {
		return nil, err
	}
	deaf := *fresh
	values := deaf.Query()
	values.Set("push", "off")
	values.Set("poll", deafPoll.String())
	deaf.RawQuery = values.Encode()
	return &Isolated{
		URL:      fresh.String(),
		Open:     func(ctx context.Context) (eventstore.Backend, error) { return openESDB(ctx, fresh) },
		OpenDeaf: func(ctx context.Context) (eventstore.Backend, error) { return openESDB(ctx, &deaf) },
		OneLock:  "the server has one writer, which takes positions and makes them visible in their order",
		Remove:   remove,
	}, nil
}

// opened makes a nil *B a nil Backend.
func opened[B eventstore.Backend](backend B, err error) (eventstore.Backend, error) {
	if err != nil {
		return nil, err
	}
	return backend, nil
}
