package conformance_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// The suite must not judge a backend by records that break promises themselves.
func TestTheSuitesOwnRecordsKeepThePromisesOfRecords(t *testing.T) {
	h := conformance.Harness{
		Name: "the suite's own records",
		Open: func(context.Context) (*conformance.Fixture, error) {
			log, add := memory.NewLog(), conformance.OwnRecords()
			open := func(context.Context) (eventstore.Backend, error) { return add(log.Open(nil)), nil }
			first, err := open(t.Context())
			return &conformance.Fixture{Backend: first, OpenAgain: open, OpenPolling: open}, err
		},
	}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^(checkpoint|snapshot|lease|closed?)/", Parallel: 4})
	require.NoError(t, err)
	require.Greater(t, report.Count(conformance.Passed), 25)
	for _, result := range report.Results {
		require.NotEqual(t, conformance.Failed, result.Status, "%s: %s", result.Check, result.Failure)
	}
}
