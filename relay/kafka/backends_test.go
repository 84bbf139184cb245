package kafka

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/relay"
)

// urls returns an empty store of each backend, by its name.
func urls() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"memory": func(*testing.T) string { return "memory:" },
		"sqlite": func(t *testing.T) string {
			return "sqlite:" + filepath.ToSlash(filepath.Join(t.TempDir(), "events.db"))
		},
		"postgres": func(t *testing.T) string { return postgres.Database(t) },
		"esdb": func(t *testing.T) string { // a double of the server
			double, err := esdbtest.Start(nil)
			require.NoError(t, err)
			t.Cleanup(double.Stop)
			return double.URL()
		},
		"kafka": func(t *testing.T) string {
			brokers := server.Server(t)
			return "kafka://" + strings.Join(brokers.Addresses(), ",") + "/" + brokers.Name()
		},
		"dynamodb": func(t *testing.T) string { // a double of the service
			double, err := dynamodbtest.Start(nil)
			require.NoError(t, err)
			t.Cleanup(double.Stop)
			return dynamodbharness.TableURL(double.URL(), "events")
		},
		"marten": func(t *testing.T) string {
			return strings.Replace(postgres.Database(t), "postgres://", "marten://", 1) + "&append=quick&create=true&identity=string"
		},
	}
}

// stored returns the events of the category that is relayed, with the bytes that the
// store has: one that keeps JSON may have written it in its own way.
func stored(t *testing.T, store *eventstore.Store) (log []eventstore.RecordedEvent) {
	t.Helper()
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: eventstore.Filter{Categories: []string{"counter"}}}) {
		require.NoError(t, err)
		log = append(log, event)
	}
	return log
}

func TestEveryBackendIsRelayed(t *testing.T) {
	for _, scheme := range all.Set() {
		name := scheme.Names[0]
		t.Run(name, func(t *testing.T) {
			url, ok := urls()[name]
			require.True(t, ok, "a backend is new: say in urls() where an empty store of it is")
			topic, p := open(t, server.Server(t), 3, nil, &Options{MaxBatchBytes: 4000})
			faults(p, flaky)
			store, err := all.Open(t.Context(), url(t), nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			fill(t, store, 4, 15, 100)
			log := stored(t, store)
			require.Len(t, log, 60)
			_, err = store.Append(t.Context(), "other-1", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
			require.NoError(t, err)
			for range 2 { // the second time there is nothing to do
				sub := relay.New("to kafka", p, asItIs)
				sub.Filter.Categories = []string{"counter"}
				sub.Retry.Attempts = 1
				require.NoError(t, caughtUp(t, store, sub))
			}
			got := topic.Await(t, len(log))
			require.NoError(t, relaytest.Check(got, log))

			fill(t, store, 2, 1, 10)
			sub := relay.New("to kafka", p, asItIs)
			sub.Filter.Categories = []string{"counter"}
			require.NoError(t, caughtUp(t, store, sub))
			require.NoError(t, relaytest.Check(topic.Await(t, len(log)+2), stored(t, store)))
			require.Equal(t, fmt.Sprint(len(got)+2), fmt.Sprint(len(topic.Await(t, len(log)+2))), "it went on where it was")
		})
	}
}
