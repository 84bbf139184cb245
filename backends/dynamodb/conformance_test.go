package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// tableURL names a table to test against, instead of the double: at the service, or
// of an emulator.
const tableURL = "SWITCHYARD_TEST_DYNAMODB_URL"

func TestConformance(t *testing.T) {
	conformance.Run(t, harness())
}

// The second opinion: an emulator of other authors, which was held against the
// service by its authors.
func TestConformanceOnDynoxide(t *testing.T) {
	server := testservers.PrivateDynoxide(t, testservers.DynoxideOptions{Persistent: true})
	h := conformance.Harness{Name: "dynamodb (dynoxide)", Double: "an emulator's file", Open: func(ctx context.Context) (*conformance.Fixture, error) {
		f, err := fixture(ctx, dynamodbharness.TableURL(server.URL(), "events"))
		if err != nil {
			return nil, err
		}
		f.Restart = func(ctx context.Context) error {
			if err := server.Kill(); err != nil {
				return err
			}
			return server.Start(ctx)
		}
		return f, nil
	}}
	conformance.Run(t, h)
}

func TestDynamoDBAndMemoryGiveTheSameAnswers(t *testing.T) {
	for seed := range uint64(4) {
		require.NoError(t, conformance.Differential(t.Context(), memorytest.Harness(), harness(), &conformance.DifferentialOptions{Seed: seed + 1}))
	}
}

// harness gives each check a namespace of its own: in the table that the environment
// names, else on a double that the check has for itself.
func harness() conformance.Harness {
	if table := os.Getenv(tableURL); table != "" {
		return conformance.Harness{Name: "dynamodb", Open: func(ctx context.Context) (*conformance.Fixture, error) {
			return fixture(ctx, table)
		}}
	}
	return conformance.Harness{Name: "dynamodb (double)", Double: "everything in memory", Open: func(ctx context.Context) (*conformance.Fixture, error) {
		srv, err := dynamodbtest.Start(nil)
		if err != nil {
			return nil, err
		}
		f, err := fixture(ctx, dynamodbharness.TableURL(srv.URL(), "events"))
		if err != nil {
			srv.Stop()
			return nil, err
		}
		f.Restart = func(context.Context) error { return srv.Restart() }
		f.HoldWriter, f.HoldWriterReason = holdWriter(srv, f), ""
		f.Remove = func(context.Context) error {
			srv.Stop()
			return nil
		}
		return f, nil
	}}
}

// fixture has a store in a namespace of its own. It polls often, so that the suite's
// waits for progress are short.
func fixture(ctx context.Context, table string) (*conformance.Fixture, error) {
	u, err := url.Parse(table)
	if err != nil {
		return nil, err
	}
	values := u.Query()
	values.Set("poll_interval", "20ms")
	u.RawQuery = values.Encode()
	isolated, err := dynamodbharness.Isolate(ctx, u)
	if err != nil {
		return nil, err
	}
	return isolated.Fixture(ctx)
}

// holdWriter holds an append whose transaction has met its conditions and holds its
// items, among them the one with its place in the log, and is not visible.
func holdWriter(srv *dynamodbtest.Server, f *conformance.Fixture) func(context.Context, eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
	return func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
		backend, err := f.OpenAgain(ctx)
		if err != nil {
			return nil, err
		}
		store, err := eventstore.New(backend, nil)
		if err != nil {
			return nil, err
		}
		held, goOn := make(chan struct{}), make(chan struct{})
		var once, released sync.Once
		srv.SetHooks(dynamodbtest.Hooks{Prepared: func(ctx context.Context, call dynamodbtest.Call) error {
			if !slices.ContainsFunc(call.Keys, func(key dynamodbtest.Key) bool { return strings.HasSuffix(key.Partition, "/s/"+part.Stream) }) {
				return nil
			}
			once.Do(func() { close(held) })
			return dynamodbtest.Hold(goOn)(ctx, call)
		}})
		type answer struct {
			results []eventstore.AppendResult
			err     error
		}
		answered := make(chan answer, 1)
		go func() {
			results, err := store.AppendStreams(context.WithoutCancel(ctx), part)
			answered <- answer{results, errors.Join(err, store.Close())}
		}()
		select {
		case <-held:
		case a := <-answered:
			return nil, fmt.Errorf("the writer was not held: %w", a.err)
		}
		return func() (eventstore.AppendResult, error) {
			released.Do(func() { close(goOn) })
			a := <-answered
			if a.err != nil {
				return eventstore.AppendResult{}, a.err
			}
			return a.results[0], nil
		}, nil
	}
}
