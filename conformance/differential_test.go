package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestTwoSoundBackendsDoNotDiffer(t *testing.T) {
	for seed := range uint64(10) {
		err := conformance.Differential(t.Context(), readerHarness("reference", nil), readerHarness("subject", upToHidden), &conformance.DifferentialOptions{Seed: seed})
		require.NoError(t, err)
	}
}

func TestADifferenceIsFoundAndShownShortAndAgainWithItsSeed(t *testing.T) {
	subjects := make(map[string]conformance.Harness)
	for _, m := range writeMutants() {
		subjects[m.name] = mutantHarness(m.name, m.wrap)
	}
	for _, m := range readMutants() {
		subjects[m.name] = readerHarness(m.name, m.wrap)
	}
	for _, name := range []string{
		"ignores the expected version",
		"takes StreamExists for Any",
		"names the expected version as the actual one",
		"drops the last event of a batch",
		"accepts an ID with other content",
		"returns the stream's end for a duplicate",
		"reverses ReadAll",
		"shows another order through each handle", // of those that do not depend on time
		"drops an event between two pages",
		"is off by one when it reads a stream backward",
		"is off by one when it reads everything backward",
		"takes % and _ in a stream prefix for wildcards",
		"compares types without regard to case",
		"delivers an event twice",
		"moves a checkpoint back",
		"lets an older snapshot overwrite a newer one",
		"keeps one snapshot a stream, of whatever type",
		"stores snapshots as events",
	} {
		t.Run(name, func(t *testing.T) {
			subject, ok := subjects[name]
			require.True(t, ok, "there is no mutant of this name")
			find := func(seed uint64) *conformance.DifferenceError {
				err := conformance.Differential(t.Context(), readerHarness("reference", nil), subject, &conformance.DifferentialOptions{Seed: seed})
				if err == nil {
					return nil
				}
				var difference *conformance.DifferenceError
				require.ErrorAs(t, err, &difference)
				return difference
			}
			var first *conformance.DifferenceError
			for seed := uint64(1); seed <= 5 && first == nil; seed++ {
				first = find(seed)
			}
			require.NotNil(t, first, "five lists of operations did not tell it from a sound backend")
			require.NotEqual(t, first.Want, first.Got)
			require.Contains(t, first.Error(), fmt.Sprintf("seed %d", first.Seed))
			require.Contains(t, first.Error(), first.Operation)
			require.NotEmpty(t, first.Shortest)
			require.LessOrEqual(t, len(first.Shortest), max(12, first.Index/2+1), "the shortest list is not short: %q", first.Shortest)
			again := find(first.Seed)
			require.NotNil(t, again)
			require.Equal(t, first.Index, again.Index)
			require.Equal(t, first.Operation, again.Operation)
			require.Equal(t, first.Want, again.Want)
		})
	}
}

func TestDifferentialUsesOneHandleWhereOneIsAllThatBothHave(t *testing.T) {
	alone := readerHarness("alone", nil)
	open := alone.Open
	alone.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		fixture.OpenAgain = nil
		return fixture, err
	}
	require.NoError(t, conformance.Differential(t.Context(), readerHarness("reference", nil), alone, nil))
	require.NoError(t, conformance.Differential(t.Context(), alone, readerHarness("subject", nil), nil))
}

func TestDifferentialSaysWhatItCouldNotOpenAndRemovesWhatItOpened(t *testing.T) {
	opened, removed := 0, 0
	counted := readerHarness("counted", nil)
	open := counted.Open
	counted.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		opened++
		fixture.Remove = func(context.Context) error { removed++; return nil }
		return fixture, err
	}
	refusal := errors.New("no room on this server")
	closed := conformance.Harness{Name: "closed", Open: func(context.Context) (*conformance.Fixture, error) { return nil, refusal }}
	err := conformance.Differential(t.Context(), counted, closed, nil)
	require.ErrorIs(t, err, refusal)
	require.ErrorContains(t, err, "closed")
	require.NoError(t, conformance.Differential(t.Context(), counted, counted, &conformance.DifferentialOptions{Operations: 20}))
	require.Equal(t, opened, removed)

	done, cancel := context.WithCancel(t.Context())
	cancel()
	err = conformance.Differential(done, readerHarness("reference", nil), readerHarness("subject", nil), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestWhatOnlyOneBackendSupportsIsLeftOut(t *testing.T) {
	lesser := readerHarness("lesser", nil)
	open := lesser.Open
	lesser.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		again := fixture.OpenAgain
		fixture.Backend = single{fixture.Backend}
		fixture.OpenAgain = func(ctx context.Context) (eventstore.Backend, error) {
			b, err := again(ctx)
			return single{b}, err
		}
		return fixture, err
	}
	for _, pair := range [][2]conformance.Harness{{lesser, readerHarness("full", nil)}, {readerHarness("full", nil), lesser}} {
		require.NoError(t, conformance.Differential(t.Context(), pair[0], pair[1], &conformance.DifferentialOptions{Seed: 3}))
	}
}

// single is a backend that declares what it cannot do.
type single struct{ eventstore.Backend }

func (s single) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	caps.MultiStreamAppend = eventstore.No("one stream at a time")
	caps.PreservedRecordTime = eventstore.No("the server makes it")
	caps.GlobalOrder = eventstore.No("every stream for itself")
	caps.IdempotencyWindow = 50
	return caps
}
