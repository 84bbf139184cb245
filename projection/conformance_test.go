package projection_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// keeping is a memory store that keeps its checkpoints in a target.
type keeping struct {
	*memory.Backend
	target target
}

func (k *keeping) Records() eventstore.Records {
	records := k.Backend.Records()
	records.Checkpoints = k.target
	return records
}

// A target is held to what the suite asks of a backend's own checkpoints and leases.
func TestATargetKeepsCheckpointsAndLeasesAsTheSuiteAsks(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		first := d.open(t)
		report, err := conformance.RunAll(t.Context(), conformance.Harness{
			Name: d.kind,
			Open: func(context.Context) (*conformance.Fixture, error) {
				log := memory.NewLog()
				open := func(target target) eventstore.Backend { return &keeping{log.Open(nil), target} }
				_, err := d.db.ExecContext(t.Context(), `DELETE FROM switchyard_checkpoints`)
				return &conformance.Fixture{
					Backend:   open(first),
					OpenAgain: func(context.Context) (eventstore.Backend, error) { return open(d.open(t)), nil },
				}, err
			},
		}, conformance.Options{Match: "^(checkpoint|lease|durable)/"})
		require.NoError(t, err)
		passed := 0
		for _, result := range report.Results {
			if result.Status == conformance.Passed {
				passed++
			} else {
				t.Errorf("%s: %s %s%s", result.Check, result.Status, result.Reason, result.Failure)
			}
		}
		require.GreaterOrEqual(t, passed, 20)
	})
}
