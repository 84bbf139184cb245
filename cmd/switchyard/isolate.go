package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbharness"
	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/backends/marten/martentest"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/backends/postgres/postgrestest"
	"github.com/switchyard-dev/switchyard/backends/sqlite/sqlitetest"
	"github.com/switchyard-dev/switchyard/conformance"
)

type isolateFunc = func(ctx context.Context, u *url.URL) (*conformance.Isolated, error)

// isolates prepares a fresh store beside a URL's, by the backend's name.
func isolates() map[string]isolateFunc {
	return map[string]isolateFunc{
		"memory":   memorytest.Isolate,
		"sqlite":   sqlitetest.Isolate,
		"postgres": postgrestest.Isolate,
		"esdb":     esdbharness.Isolate,
		"marten":   martentest.Isolate,
		"kafka":    kafkaharness.Isolate,
		"dynamodb": dynamodbharness.Isolate,
	}
}

// isolate prepares a fresh store beside the URL's, which is not touched.
func isolate(ctx context.Context, rawURL string) (isolated *conformance.Isolated, err error) {
	err = all.Set().Resolve(rawURL, func(scheme backends.Scheme, u *url.URL) error {
		prepare, ok := isolates()[scheme.Names[0]]
		if !ok {
			return fmt.Errorf("no way to make a fresh %s store is known", scheme.Names[0])
		}
		isolated, err = prepare(ctx, u)
		return err
	})
	return isolated, err
}

// local tells whether a URL's store is a file or this process's own.
func local(rawURL string) (is bool) {
	_ = all.Set().Resolve(rawURL, func(scheme backends.Scheme, _ *url.URL) error { // a wrong URL is refused elsewhere
		is = scheme.Local
		return nil
	})
	return is
}
