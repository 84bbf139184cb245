package memory_test

import (
	"testing"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/reference"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, reference.Memory())
}
