package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestMemoryAndPostgresTellTheSameHistory(t *testing.T) {
	reference := conformance.Harness{Name: "memory", Open: func(context.Context) (*conformance.Fixture, error) {
		log := memory.NewLog()
		return &conformance.Fixture{
			Backend:   log.Open(nil),
			OpenAgain: func(context.Context) (eventstore.Backend, error) { return log.Open(nil), nil },
			OpenDeaf: func(context.Context) (eventstore.Backend, error) {
				return log.Open(&memory.Options{NoHints: true, Poll: 20 * time.Millisecond}), nil
			},
		}, nil
	}}
	subject := harness(server.Server(t), server.Server(t).URL(), postgres.Options{})
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			require.NoError(t, conformance.Differential(t.Context(), reference, subject, &conformance.DifferentialOptions{Seed: seed}))
		})
	}
}
