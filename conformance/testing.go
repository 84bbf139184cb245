package conformance

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// SeedVariable is the environment variable from which [Run] takes its seed.
const SeedVariable = "SWITCHYARD_SEED"

// Run runs the suite as subtests, one for each check, and logs the summary. Use
// go test's own -run to select checks.
func Run(t *testing.T, h Harness) {
	t.Helper()
	var opts Options
	if text := os.Getenv(SeedVariable); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("conformance: %s=%q is not a number", SeedVariable, text)
		}
		opts.Seed = seed
	}
	opts.Rerun = func(check string, seed uint64) string {
		pattern := "^" + strings.ReplaceAll(t.Name()+"/"+check, "/", "$/^") + "$"
		return fmt.Sprintf("%s=%d go test -run '%s' .", SeedVariable, seed, pattern)
	}
	checks, err := choose(Checks(), h, &opts)
	if err != nil {
		t.Fatal(err)
	}
	report := Report{Backend: h.Name, Seed: opts.Seed}
	for _, check := range checks {
		t.Run(check.Name, func(t *testing.T) {
			result, _ := h.run(t.Context(), check, opts)
			report.Results = append(report.Results, result)
			report.Duration += result.Duration
			switch result.Status {
			case Passed:
			case Failed:
				t.Errorf("check %s\n%s", result.Check, result.explain())
			case Skipped:
				t.Skipf("skipped: %s", result.Reason)
			case Unsupported:
				t.Logf("unsupported as declared: %s", result.Reason)
			case Waived:
				t.Logf("waived for %s\n%s", result.Reason, result.explain())
			}
		})
	}
	t.Log(report.Summary())
}
