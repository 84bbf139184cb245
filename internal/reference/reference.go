// Package reference has the harness of the memory backend: the store that the
// differential tests hold every other one against.
package reference

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Memory gives each check a log of its own.
func Memory() conformance.Harness {
	return conformance.Harness{
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
	}
}
