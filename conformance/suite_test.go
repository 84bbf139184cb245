package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func sound() conformance.Harness {
	return mutantHarness("sound", func(*broken) {})
}

func TestEveryPromiseHasACheckAndEveryCheckIsWellNamed(t *testing.T) {
	covered, names := make(map[int]bool), make(map[string]bool)
	form := regexp.MustCompile(`^[a-z]+/[a-z0-9-]+$`)
	for _, check := range conformance.Checks() {
		require.Regexp(t, form, check.Name)
		require.False(t, names[check.Name], "%s is there twice", check.Name)
		require.NotEmpty(t, check.Sentence, check.Name)
		names[check.Name], covered[check.Promise] = true, true
	}
	for _, promise := range conformance.Promises() {
		require.True(t, covered[promise.Number], "promise %d has no check: %s", promise.Number, promise.Title)
	}
	require.Len(t, covered, len(conformance.Promises()))
}

func TestTheHarnessIsCheckedBeforeAnythingRuns(t *testing.T) {
	core, optional := "", ""
	for _, check := range conformance.Checks() {
		if check.Core {
			core = check.Name
		} else {
			optional = check.Name
		}
	}
	for want, change := range map[string]func(*conformance.Harness, *conformance.Options){
		"has no Open": func(h *conformance.Harness, _ *conformance.Options) { h.Open = nil },
		"does not exist": func(h *conformance.Harness, _ *conformance.Options) {
			h.Waive = map[string]string{"append/all-good": "#1"}
		},
		"is core":          func(h *conformance.Harness, _ *conformance.Options) { h.Waive = map[string]string{core: "#1"} },
		"without an issue": func(h *conformance.Harness, _ *conformance.Options) { h.Waive = map[string]string{optional: ""} },
		"selects no check": func(_ *conformance.Harness, o *conformance.Options) { o.Match = "^nothing$" },
		"option Match":     func(_ *conformance.Harness, o *conformance.Options) { o.Match = "(" },
	} {
		h, opts := sound(), conformance.Options{}
		change(&h, &opts)
		_, err := conformance.RunAll(t.Context(), h, opts)
		require.ErrorContains(t, err, want)
	}
}

func TestAWaivedCheckThatFailsIsWaivedAndOneThatPassesFails(t *testing.T) {
	const check = "append/acknowledged-survives-a-crash"
	for _, tt := range []struct {
		name   string
		wrap   func(*broken)
		status conformance.Status
		says   string
	}{
		{"a defect that is known", losesInACrash, conformance.Waived, "expected 20 events, got 14"},
		{"a defect that is gone", func(*broken) {}, conformance.Failed, "remove the waiver"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := mutantHarness("waived", tt.wrap)
			h.Waive = map[string]string{check: "#1"}
			report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^" + check + "$"})
			require.NoError(t, err)
			require.Equal(t, tt.status, report.Results[0].Status)
			require.Contains(t, report.Results[0].Failure, tt.says)
			require.Equal(t, tt.status == conformance.Waived, report.OK())
			require.Equal(t, tt.status, report.Promises()[6].Status(), "promise 7 is shown as the check is")
		})
	}
}

func TestAMissingHookSkipsWithItsReasonAndFailsACoreCheck(t *testing.T) {
	h := conformance.Harness{Name: "alone", Open: func(context.Context) (*conformance.Fixture, error) {
		return &conformance.Fixture{Backend: &broken{Hooked: hooked.Hooked{Backend: memory.New()}}}, nil
	}}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "append/acknowledged-"})
	require.NoError(t, err)
	require.False(t, report.OK())
	require.Equal(t, 2, report.Count(conformance.Skipped))
	require.Equal(t, 2, report.Count(conformance.Failed))
	for _, result := range report.Results {
		require.Contains(t, result.Reason+result.Failure, "the fixture has no ")
	}
	require.Contains(t, report.Summary(), "2 skipped")
}

func TestABackendsPanicFailsTheCheckAndNotTheSuite(t *testing.T) {
	h := mutantHarness("panics", func(b *broken) {
		b.OnAppend = func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			panic("index out of range")
		}
	})
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$|^race/any-of-2"})
	require.NoError(t, err)
	require.Equal(t, 2, report.Count(conformance.Failed))
	require.Contains(t, report.Results[0].Failure, "index out of range")
}

func TestACheckThatIgnoresItsContextIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		release := make(chan struct{})
		h := mutantHarness("hangs", func(b *broken) {
			b.OnAppend = func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				<-release
				return nil, eventstore.ErrClosed
			}
		})
		report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$"})
		require.NoError(t, err)
		require.Contains(t, report.Results[0].Failure, "it hangs though its context ended")
		close(release)
	})
}

func TestARunThatIsInterruptedReportsWhatIsFinished(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	h := mutantHarness("interrupted", func(b *broken) {
		b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if b.shared.interrupt {
				interrupt()
			}
			return b.Backend.Append(ctx, req)
		}
	})
	finished := 0
	open := h.Open
	h.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		if err == nil && finished == 2 {
			fixture.Backend.(*broken).shared.interrupt = true //nolint:forcetypeassert // made above
		}
		return fixture, err
	}
	report, err := conformance.RunAll(ctx, h, conformance.Options{Progress: func(conformance.Result) { finished++ }})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, report.Results, 2)
	require.True(t, report.OK())
}

func TestTheStoreIsClosedBeforeItIsRemovedAndBothAreReported(t *testing.T) {
	h := sound()
	open := h.Open
	h.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		fixture.Remove = func(ctx context.Context) error {
			_, err := fixture.Backend.ReadAll(ctx, eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
			if !errors.Is(err, eventstore.ErrClosed) {
				return fmt.Errorf("removed while it was open: %w", err)
			}
			return errors.New("the schema is in use")
		}
		return fixture, err
	}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$"})
	require.NoError(t, err)
	require.Equal(t, "remove the store: the schema is in use", report.Results[0].Failure)
}

func TestTheSameSeedMakesTheSameEvents(t *testing.T) {
	ids := func(seed uint64) (ids []string) {
		h := mutantHarness("recorded", func(b *broken) {
			b.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for _, event := range req.Parts[0].Events {
					ids = append(ids, event.ID.String())
				}
				return b.Backend.Append(ctx, req)
			}
		})
		_, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$", Seed: seed})
		require.NoError(t, err)
		return ids
	}
	seventh := ids(7)
	require.Equal(t, seventh, ids(7))
	require.NotEqual(t, seventh, ids(8))
	require.Equal(t, ids(1), ids(0), "a seed of zero is the default, 1")
}

func TestReportsHoldWhateverABackendReturned(t *testing.T) {
	const hostile = "\x00\x1b[31m\x9b]]><script> | \xff `x`\r\nnext"
	report := conformance.Report{Backend: "b|" + hostile, Results: []conformance.Result{
		{Check: "a/failed", Promise: 1, Status: conformance.Failed, Failure: hostile},
		{Check: "a/skipped", Promise: 2, Status: conformance.Skipped, Reason: hostile},
	}}
	var text, junit, markdown, encoded bytes.Buffer
	require.NoError(t, report.WriteText(&text))
	require.NoError(t, report.WriteJUnit(&junit))
	require.NoError(t, report.WriteMarkdown(&markdown))
	require.NoError(t, report.WriteJSON(&encoded))
	for _, b := range []*bytes.Buffer{&text, &junit, &markdown} {
		require.NotRegexp(t, "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}]", b.String())
		require.True(t, utf8.ValidString(b.String()))
	}
	var suite struct {
		Skipped int `xml:"skipped,attr"`
		Cases   []struct {
			Failure string `xml:"failure"`
		} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(junit.Bytes(), &suite))
	require.Equal(t, 1, suite.Skipped)
	require.Contains(t, suite.Cases[0].Failure, "]]><script>")
	require.True(t, json.Valid(encoded.Bytes()))
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(line, "|") {
			require.Equal(t, 4, strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"), line)
		}
	}
}

func TestThePromiseTableHasAColumnForEachReport(t *testing.T) {
	first := conformance.Report{Backend: "first", Results: []conformance.Result{
		{Promise: 1, Status: conformance.Passed},
		{Promise: 1, Status: conformance.Passed},
		{Promise: 2, Status: conformance.Passed},
		{Promise: 2, Status: conformance.Failed},
		{Promise: 10, Status: conformance.Unsupported},
	}}
	var b strings.Builder
	require.NoError(t, conformance.WritePromiseTable(&b, first, conformance.Report{Backend: "second"}))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 2+len(conformance.Promises()))
	require.Equal(t, "| | promise | first | second |", lines[0])
	require.Regexp(t, `^\| 1 \| .* \| ✓ 2 \| not run \|$`, lines[2])
	require.Regexp(t, `^\| 2 \| .* \| ✗ 1 passed, 1 failed \| not run \|$`, lines[3])
	require.Regexp(t, `^\| 10 \| .* \| – 1 unsupported \| not run \|$`, lines[11])
}

func TestAStoreThatCannotBeOpenedFailsTheCheck(t *testing.T) {
	h := conformance.Harness{Name: "absent", Open: func(context.Context) (*conformance.Fixture, error) {
		return nil, errors.New("connection refused")
	}}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$"})
	require.NoError(t, err)
	require.Contains(t, report.Results[0].Failure, "open a fresh store: connection refused")
}

func TestAFailureSaysWhatBrokeAndHowToRunItAgain(t *testing.T) {
	var ignores mutant
	for _, m := range writeMutants() {
		if m.killed == "expect/table" {
			ignores = m
			break
		}
	}
	report, err := conformance.RunAll(t.Context(), mutantHarness(ignores.name, ignores.wrap), conformance.Options{Match: "^expect/(table|streams-are-apart)$", Seed: 7})
	require.NoError(t, err)
	write := func(to func(io.Writer) error) string {
		var b bytes.Buffer
		require.NoError(t, to(&b))
		return b.String()
	}
	for _, text := range []string{write(report.WriteText), write(report.WriteJSON), write(report.WriteJUnit), write(report.WriteMarkdown)} {
		require.Contains(t, text, "expect/table")
		require.Contains(t, text, "The table for {absent, non-empty}")
		require.Contains(t, text, "expected")
		require.Contains(t, text, "--seed 7")
	}
	var decoded conformance.Report
	require.NoError(t, json.Unmarshal([]byte(write(report.WriteJSON)), &decoded))
	require.Equal(t, report.Results, decoded.Results)

	decoder := xml.NewDecoder(bytes.NewBufferString(write(report.WriteJUnit)))
	elements := make(map[string]int)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			elements[start.Name.Local]++
		}
	}
	require.Equal(t, 2, elements["testcase"])
	require.Equal(t, 1, elements["failure"])
}

func TestASoundBackendPassesWithNothingSkippedThatItCouldDo(t *testing.T) {
	needs := make(map[string]conformance.Hook)
	for _, check := range conformance.Checks() {
		needs[check.Name] = check.Needs
	}
	report, err := conformance.RunAll(t.Context(), sound(), conformance.Options{Parallel: 8})
	require.NoError(t, err)
	for _, result := range report.Results {
		if needs[result.Check] == conformance.NeedsHoldWriter { // a memory log cannot hold one
			require.Equal(t, conformance.Skipped, result.Status, result.Check)
			require.Contains(t, result.Reason, "one lock is held")
			continue
		}
		require.Equal(t, conformance.Passed, result.Status, "%s: %s%s", result.Check, result.Failure, result.Reason)
	}
}
