package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Status is how a check ended.
type Status string

// The statuses. Only Failed makes a report fail.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	// Skipped: a hook is missing, or the store cannot be brought into the state that
	// the check needs; also where its author says that this state cannot exist. The
	// reason is in the result.
	Skipped Status = "skipped"
	// Unsupported: the backend declares that it cannot do this and says why, and it
	// refuses the call where there is one; or a double passed what rests on a disk.
	Unsupported Status = "unsupported"
	// Waived: the check failed, and the harness names the issue that says why.
	Waived Status = "waived"
)

// statuses in the order in which summaries show them.
func statuses() []Status { return []Status{Passed, Failed, Skipped, Unsupported, Waived} }

// Result is what came of one check.
type Result struct {
	Check    string `json:"check"`
	Promise  int    `json:"promise"`
	Sentence string `json:"sentence"`
	Core     bool   `json:"core"`
	Status   Status `json:"status"`
	// Reason says why a check was skipped, unsupported or waived, and what a
	// smaller [Scale] left out of a long check that passed.
	Reason string `json:"reason,omitempty"`
	// Failure says what was expected and what came instead; set where Status is
	// Failed or Waived.
	Failure string `json:"failure,omitempty"`
	Seed    uint64 `json:"seed"`
	// Rerun is the command that runs this check again with this seed.
	Rerun    string        `json:"rerun"`
	Duration time.Duration `json:"durationNanoseconds"`
}

// explain is what a person needs to act on a failed or waived result.
func (r Result) explain() string {
	return printable(fmt.Sprintf("promise %d: %s\nfailure:   %s\nseed:      %d\nrerun:     %s",
		r.Promise, r.Sentence, strings.ReplaceAll(r.Failure, "\n", "\n           "), r.Seed, r.Rerun))
}

// Report is what came of a run of the suite.
type Report struct {
	// Backend is the harness's name.
	Backend string `json:"backend"`
	// Capabilities is what the backend declares; zero where no store could be opened.
	Capabilities eventstore.Capabilities `json:"-"`
	Seed         uint64                  `json:"seed"`
	// Scale says at what smaller scale the long checks were run; empty for the usual one.
	Scale    string        `json:"scale,omitempty"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"durationNanoseconds"`
	// Results are in the order of the checks.
	Results []Result `json:"results"`
}

// OK tells whether something was run and nothing failed.
func (r Report) OK() bool { return len(r.Results) > 0 && r.Count(Failed) == 0 }

// Count returns how many checks ended with a status.
func (r Report) Count(status Status) int {
	n := 0
	for _, result := range r.Results {
		if result.Status == status {
			n++
		}
	}
	return n
}

// Summary is one line: how many checks ended how.
func (r Report) Summary() string {
	var parts []string
	for _, status := range statuses() {
		if n := r.Count(status); n > 0 || status == Passed || status == Failed || status == Skipped {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	if r.Scale != "" {
		parts = append(parts, printable(r.Scale))
	}
	return fmt.Sprintf("%s: %d checks: %s, in %s", printable(r.Backend), len(r.Results), strings.Join(parts, ", "), r.Duration.Round(time.Millisecond))
}

// WriteText writes a report for people: a line for each check, everything about
// each failure, and the summary.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, result := range r.Results {
		fmt.Fprintf(&b, "%-11s %s", result.Status, result.Check)
		if result.Reason != "" {
			fmt.Fprintf(&b, " (%s)", printable(result.Reason))
		}
		b.WriteByte('\n')
		if result.Failure != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(result.explain(), "\n", "\n    "))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summary())
	return writeString(w, b.String())
}

// WriteJSON writes the report as one indented JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write report as JSON: %w", err)
	}
	return nil
}

// PromiseResult sums up the checks of one promise.
type PromiseResult struct {
	Promise
	// Checks maps each status to the number of checks that ended with it.
	Checks map[Status]int
}

// Status is the promise's: failed if a check failed, else waived, skipped or
// unsupported if any was, else passed; empty where no check was run.
func (p PromiseResult) Status() Status {
	for _, status := range []Status{Failed, Waived, Skipped, Unsupported, Passed} {
		if p.Checks[status] > 0 {
			return status
		}
	}
	return ""
}

// String is a table's cell, such as "✓ 12" or "✗ 1 failed, 11 passed".
func (p PromiseResult) String() string {
	if len(p.Checks) == 0 {
		return "not run"
	}
	mark := "✓"
	if p.Checks[Failed] > 0 {
		mark = "✗"
	} else if p.Checks[Passed] == 0 {
		mark = "–"
	}
	if p.Checks[Passed] > 0 && len(p.Checks) == 1 {
		return fmt.Sprintf("%s %d", mark, p.Checks[Passed])
	}
	var parts []string
	for _, status := range statuses() {
		if n := p.Checks[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return mark + " " + strings.Join(parts, ", ")
}

// Promises sums the results up by promise: all of the contract's, in their order.
func (r Report) Promises() []PromiseResult {
	var sums []PromiseResult
	for _, promise := range Promises() {
		sums = append(sums, PromiseResult{Promise: promise, Checks: map[Status]int{}})
	}
	for _, result := range r.Results {
		i := slices.IndexFunc(sums, func(p PromiseResult) bool { return p.Number == result.Promise })
		if i >= 0 {
			sums[i].Checks[result.Status]++
		}
	}
	return sums
}

// printable replaces what a terminal would obey and XML 1.0 cannot hold: a
// failure quotes whatever bytes a backend returned.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || (!unicode.IsControl(r) && r != 0xfffe && r != 0xffff) {
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

func writeString(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
