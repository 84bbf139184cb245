package memory_test

import (
	"testing"

	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, memorytest.Harness())
}
