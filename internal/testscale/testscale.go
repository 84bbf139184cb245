// Package testscale is the one place that decides how much of their usual work the long
// tests do. The race detector makes a test that computes five to twenty times slower,
// and what it looks for shows in the first rounds or not at all: under it the long tests
// do less, hold to the same, and say so. Without it they do all of it. make test runs
// both: every package under the race detector, and those whose tests ask this package
// once more without it.
package testscale

import (
	"testing"

	"github.com/switchyard-dev/switchyard/conformance"
)

// Small is true in a build with the race detector.
const Small = raceDetector

// Of returns full, or small where Small is true, which the test's log then says. what
// names it there: "appends", "time".
func Of[T any](t testing.TB, what string, full, small T) T {
	t.Helper()
	if !Small {
		return full
	}
	t.Logf("at a smaller scale: %s %v in place of %v", what, small, full)
	return small
}

// Suite is the scale of the conformance suite's long checks. Reports say where it is a
// smaller one.
func Suite() conformance.Scale {
	if Small {
		return conformance.SmallScale()
	}
	return conformance.Scale{}
}
