package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// ReportsVariable is the environment variable that names an existing folder into
// which [Run] writes its report as JSON, named for the harness.
const ReportsVariable = "SWITCHYARD_REPORTS"

// SeedVariable is the environment variable from which [Run] takes its seed.
const SeedVariable = "SWITCHYARD_SEED"

// Run runs the suite as subtests, one for each check, and logs the summary. Use
// go test's own -run to select checks. Checks that measure the process or restart
// the server run one at a time and before all others, which run several at once.
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
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()+"/"+check), "/", "$/^") + "$"
		return fmt.Sprintf("%s=%d go test -run '%s' %s", SeedVariable, seed, pattern, testedPackage())
	}
	checks, err := choose(Checks(), h, &opts)
	if err != nil {
		t.Fatal(err)
	}
	results := make([]Result, len(checks))
	// Most checks end when this function has returned.
	t.Cleanup(func() { summarise(t, Report{Backend: h.Name, Seed: opts.Seed, Scale: h.Scale.note()}, results) })
	queue := checkQueue{checks: checks, runs: make(map[int]func())}
	for i, check := range checks {
		t.Run(check.Name, func(t *testing.T) {
			run := func() { results[i], _ = h.run(t.Context(), check, opts) }
			if check.Alone || check.Needs == NeedsRestart {
				run()
			} else {
				ended := queue.add(i, run)
				t.Parallel()
				queue.begin()
				<-ended
			}
			result := results[i]
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
}

// testsAtOnce is how many checks [Run] runs at once. They wait for the disk and for
// poll intervals more than they compute, while go test runs only so many parallel
// tests as there are processors.
const testsAtOnce = 4

// checkQueue holds the checks that go test selected until all of them are known, and
// then runs them side by side.
type checkQueue struct {
	checks  []Check
	indices []int
	runs    map[int]func()
	once    sync.Once
}

// add registers a check and returns a channel that is closed when it has ended.
// Every check is added before the first one begins.
func (q *checkQueue) add(i int, run func()) <-chan struct{} {
	ended := make(chan struct{})
	q.indices = append(q.indices, i)
	q.runs[i] = func() {
		defer close(ended)
		run()
	}
	return ended
}

func (q *checkQueue) begin() {
	q.once.Do(func() {
		go schedule(q.checks, q.indices, testsAtOnce, func(i int) { q.runs[i]() })
	})
}

// summarise logs what became of the checks that were run, and writes the report
// where all of them were.
func summarise(t *testing.T, report Report, results []Result) {
	t.Helper()
	for _, result := range results {
		if result.Check != "" {
			report.Results = append(report.Results, result)
			report.Duration += result.Duration
		}
	}
	t.Log(report.Summary())
	if dir := os.Getenv(ReportsVariable); dir != "" && len(report.Results) == len(results) {
		if err := report.writeFile(dir); err != nil {
			t.Error(err)
		}
	}
}

func (r Report) writeFile(dir string) (err error) {
	name := strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return c
		}
		return '-'
	}, r.Backend)
	file, err := os.Create(filepath.Join(dir, name+".json"))
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return r.WriteJSON(file)
}

// testedPackage is the path of the package whose test is running; "." where the
// binary does not know it.
func testedPackage() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "."
	}
	path, ok := strings.CutSuffix(info.Path, ".test")
	if !ok {
		return "."
	}
	return path
}
