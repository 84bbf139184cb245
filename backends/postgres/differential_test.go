package postgres_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/reference"
)

func TestMemoryAndPostgresTellTheSameHistory(t *testing.T) {
	subject := harness(server.Server(t), server.Server(t).URL(), postgres.Options{})
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			require.NoError(t, conformance.Differential(t.Context(), reference.Memory(), subject, &conformance.DifferentialOptions{Seed: seed}))
		})
	}
}
