package kafka

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/relay"
)

var (
	server   testservers.SharedKafka
	postgres testservers.SharedPostgres
)

func TestMain(m *testing.M) { os.Exit(server.After(postgres.Main(m))) }

const source = "switchyard:test"

func asItIs(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
	return []relay.CloudEvent{relay.FromEvent(source, e)}, nil
}

func newStore(t *testing.T) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(memory.New(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// fill appends events of a size to a few streams by turns. The first events of all
// streams have one ID, which is unique in each stream, as it must be.
func fill(t *testing.T, store *eventstore.Store, streams, each, size int) []eventstore.RecordedEvent {
	t.Helper()
	shared := uuid.Must(uuid.NewV7())
	var log []eventstore.RecordedEvent
	for i := range each {
		for s := range streams {
			event := eventstore.Event{Type: "Counted", Data: fmt.Appendf(nil, `{"n":"%0*d"}`, size, i)}
			if i == 0 {
				event.ID = shared
			}
			result, err := store.Append(t.Context(), fmt.Sprintf("counter-%d", s), eventstore.Any(), event)
			require.NoError(t, err)
			log = append(log, result.Events...)
		}
	}
	return log
}

// open makes a topic and a publisher to it.
func open(t *testing.T, k *testservers.Kafka, partitions int, settings map[string]string, opts *Options) (*relaytest.Topic, *Publisher) {
	t.Helper()
	topic := relaytest.CreateTopic(t, k.Addresses(), k.Name(), partitions, settings)
	p, err := Open(t.Context(), k.Addresses(), topic.Name, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return topic, p
}

// caughtUp runs a relay to the head, with quick retries.
func caughtUp(t *testing.T, store *eventstore.Store, sub eventstore.Subscription) error {
	t.Helper()
	sub.UntilCaughtUp = true
	sub.Retry.Pause = time.Millisecond
	return store.Run(t.Context(), sub)
}
