// Package esdbharness prepares EventStoreDB stores for conformance runs,
// benchmarks and tests, on a server or on its double. It is linked by those
// alone. The double is package esdbtest.
package esdbharness

import (
	"context"
	"net/url"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

const (
	// prefix begins the namespaces. Package esdb hides such streams from a store
	// that is the whole server: what is tested there is none of its events.
	prefix = "switchyard-test-"
	// pollInterval is that of the handles without notifications: short, because
	// checks wait for it.
	pollInterval = 20 * time.Millisecond
)

// Isolate prepares a store in a new namespace of the URL's server, with the URL's
// parameters. The server must answer: what it holds now is not looked through
// when the store is removed.
func Isolate(ctx context.Context, u *url.URL) (*conformance.Isolated, error) {
	config, err := esdb.ClientConfig(u)
	if err != nil {
		return nil, err
	}
	config.Logger = client.NoopLogging() // it writes each attempt to standard error
	namespace := prefix + uuid.NewString()
	before, err := head(ctx, config)
	if err != nil {
		return nil, err
	}
	fresh := urlparam.With(u, map[string]string{"namespace": namespace, "create": "on"})
	return &conformance.Isolated{
		URL:              fresh.String(),
		Open:             conformance.Opener(esdb.Scheme().Open, fresh),
		OpenPolling:      conformance.Opener(esdb.Scheme().Open, urlparam.With(&fresh, map[string]string{"push": "off", "poll": pollInterval.String()})),
		HoldWriterReason: "the server has one writer, which takes positions and makes them visible in their order",
		Remove:           func(ctx context.Context) error { return remove(ctx, config, namespace, before) },
	}, nil
}
