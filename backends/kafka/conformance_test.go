package kafka_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestConformance(t *testing.T) {
	server := testservers.PrivateKafka(t, testservers.KafkaOptions{}) // checks restart it
	conformance.Run(t, harness(server))
}

func TestKafkaAndMemoryGiveTheSameAnswers(t *testing.T) {
	server := broker.Server(t)
	for seed := range uint64(4) {
		require.NoError(t, conformance.Differential(t.Context(), memorytest.Harness(), harness(server), &conformance.DifferentialOptions{Seed: seed + 1}))
	}
}

// harness gives each check a store of its own on one cluster.
func harness(server *testservers.Kafka) conformance.Harness {
	return conformance.Harness{Name: "kafka", Open: func(ctx context.Context) (*conformance.Fixture, error) {
		isolated, err := kafkaharness.Isolate(ctx, clusterURL(server, "any"))
		if err != nil {
			return nil, err
		}
		fixture, err := isolated.Fixture(ctx)
		if err != nil {
			return nil, err
		}
		fixture.Restart = func(ctx context.Context) error {
			if err := server.Kill(1); err != nil {
				return err
			}
			return server.Start(ctx, 1)
		}
		return fixture, nil
	}}
}

// clusterURL is the URL of a store in a cluster.
func clusterURL(server *testservers.Kafka, store string) *url.URL {
	return &url.URL{Scheme: "kafka", Host: strings.Join(server.Addresses(), ","), Path: "/" + store}
}
