package kafka_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/conformance"
)

// TestConformanceOnADouble holds the backend to the contract on kfake, which plays
// Kafka in this process: for machines without a real one, where TestConformance is
// skipped, and counted. It proves nothing on replication, elections, disks, time and
// compaction.
func TestConformanceOnADouble(t *testing.T) {
	conformance.Run(t, double(t))
}

// double is a harness on kfake.
func double(t *testing.T) conformance.Harness {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	u := &url.URL{Scheme: "kafka", Host: strings.Join(fake.ListenAddrs(), ","), Path: "/any"}
	return conformance.Harness{
		Name: "kafka (double: kfake)", Double: "everything in memory", Scale: conformance.SmallScale(),
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			isolated, err := kafkaharness.Isolate(ctx, u)
			if err != nil {
				return nil, err
			}
			return isolated.Fixture(ctx)
		},
	}
}
