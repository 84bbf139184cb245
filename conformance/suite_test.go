package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
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

func TestAWaivedCheckThatPassesFails(t *testing.T) {
	h := sound()
	h.Waive = map[string]string{"append/acknowledged-survives-a-crash": "#1"}
	durable := mutantHarness("durable", func(*broken) {}).Open
	h.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := durable(ctx)
		again := fixture.OpenAgain
		persistent := func(b eventstore.Backend) eventstore.Backend { return declares{b} }
		fixture.Backend = persistent(fixture.Backend)
		fixture.OpenAgain = func(ctx context.Context) (eventstore.Backend, error) {
			b, err := again(ctx)
			return persistent(b), err
		}
		fixture.Restart = func(context.Context) error { return nil }
		return fixture, err
	}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "survives-a-crash"})
	require.NoError(t, err)
	require.Contains(t, report.Results[0].Failure, "remove the waiver")
}

// declares says that a memory log survives a crash, as it does in one process.
type declares struct{ eventstore.Backend }

func (d declares) Capabilities() eventstore.Capabilities {
	caps := d.Backend.Capabilities()
	caps.Durability = eventstore.SurvivesProcessCrash
	return caps
}

func TestAMissingHookSkipsWithItsReasonAndFailsACoreCheck(t *testing.T) {
	h := conformance.Harness{Name: "alone", Open: func(context.Context) (*conformance.Fixture, error) {
		return &conformance.Fixture{Backend: declares{memory.New()}}, nil
	}}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "append/acknowledged-"})
	require.NoError(t, err)
	require.False(t, report.OK())
	require.Equal(t, 1, report.Count(conformance.Skipped))
	require.Equal(t, 2, report.Count(conformance.Failed))
	for _, result := range report.Results {
		require.Contains(t, result.Reason+result.Failure, "the fixture has no ")
	}
	require.Contains(t, report.Summary(), "1 skipped")
}

func TestABackendsPanicFailsTheCheckAndNotTheSuite(t *testing.T) {
	h := mutantHarness("panics", func(b *broken) {
		b.append = func(context.Context, eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
			panic("index out of range")
		}
	})
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^expect/table$|^race/any-of-2"})
	require.NoError(t, err)
	require.Equal(t, 2, report.Count(conformance.Failed))
	require.Contains(t, report.Results[0].Failure, "index out of range")
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
	report, err := conformance.RunAll(t.Context(), sound(), conformance.Options{})
	require.NoError(t, err)
	for _, result := range report.Results {
		require.NotEqual(t, conformance.Failed, result.Status, "%s: %s", result.Check, result.Failure)
	}
}
