package postgres_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
)

func TestMemoryAndPostgresTellTheSameHistory(t *testing.T) {
	subject := harness(server.Server(t), server.Server(t).URL())
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			require.NoError(t, conformance.Differential(t.Context(), memorytest.Harness(), subject, &conformance.DifferentialOptions{Seed: seed}))
		})
	}
}
