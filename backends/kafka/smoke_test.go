package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestSmoke(t *testing.T) {
	server := broker.Server(t)
	isolated, err := kafkaharness.Isolate(t.Context(), clusterURL(server, "any"))
	require.NoError(t, err)
	b, err := isolated.Open(t.Context())
	require.NoError(t, err)
	s, err := eventstore.New(b, nil)
	require.NoError(t, err)
	for i := range 5 {
		r, err := s.Append(t.Context(), "order-1", eventstore.Exactly(uint64(i)), eventstore.Event{Type: "X", Data: []byte(`{}`)})
		require.NoError(t, err)
		t.Log(r.Version, r.Position)
	}
	for e, err := range s.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{}) {
		require.NoError(t, err)
		t.Log(e.Version, e.RecordedAt)
	}
	require.NoError(t, s.Close())
	require.NoError(t, isolated.Remove(t.Context()))
}
