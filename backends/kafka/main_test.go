package kafka_test

import (
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// broker is one broker for the tests that neither kill nor pause it.
var broker testservers.SharedKafka

func TestMain(m *testing.M) {
	if os.Getenv(writerVariable) != "" {
		os.Exit(playWriter())
	}
	os.Exit(broker.Main(m))
}
