package conformance_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const onDisk = "^append/acknowledged"

func TestADoubleThatPassesWhatRestsOnADiskIsNoProof(t *testing.T) {
	h := sound()
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: onDisk})
	require.NoError(t, err)
	require.Equal(t, 4, report.Count(conformance.Passed))

	h.Double = "everything in memory"
	report, err = conformance.RunAll(t.Context(), h, conformance.Options{Match: onDisk})
	require.NoError(t, err)
	require.True(t, report.OK())
	require.Equal(t, 3, report.Count(conformance.Unsupported))
	for _, result := range report.Results {
		if result.Check == "append/acknowledged-is-in-every-later-read" {
			require.Equal(t, conformance.Passed, result.Status)
			continue
		}
		require.Equal(t, conformance.Unsupported, result.Status, result.Check)
		require.Contains(t, result.Reason, "everything in memory")
	}
}

func TestADoubleThatFailsWhatRestsOnADiskFails(t *testing.T) {
	h := sound()
	h.Double = "everything in memory"
	h.Open = losesAll(sound().Open)
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: onDisk + "-survives-reopening$"})
	require.NoError(t, err)
	require.Equal(t, 1, report.Count(conformance.Failed))
}

type openFunc = func(context.Context) (*conformance.Fixture, error)

// losesAll gives fixtures whose handles open an empty store again.
func losesAll(open openFunc) openFunc {
	return func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		if err != nil {
			return nil, err
		}
		fixture.OpenAgain = func(ctx context.Context) (eventstore.Backend, error) {
			other, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return other.Backend, nil
		}
		return fixture, nil
	}
}
