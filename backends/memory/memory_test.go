package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Name: "memory",
		Open: func(context.Context) (*conformance.Fixture, error) {
			log := memory.NewLog()
			return &conformance.Fixture{
				Backend: log.Open(nil),
				OpenAgain: func(context.Context) (eventstore.Backend, error) {
					return log.Open(nil), nil
				},
				OpenDeaf: func(context.Context) (eventstore.Backend, error) {
					return log.Open(&memory.Options{NoHints: true, Poll: 20 * time.Millisecond}), nil
				},
				HoldWriterReason: "one lock is held from taking a position until the event is visible",
			}, nil
		},
	})
}
