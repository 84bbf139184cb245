package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

type conformanceFlags struct {
	format, output, match, restart, scale string
	seed                                  uint64
}

func (a *app) conformanceCommand() *cobra.Command {
	var f conformanceFlags
	cmd := &cobra.Command{
		Use:   "conformance URL",
		Short: "Prove that a store keeps every promise of the contract",
		Long: `Run the conformance suite against the database that a URL names. Each check works
on a fresh store beside the URL's own, which is not touched, and removes it again.

What a crash leaves behind is checked only with --restart-command: a command that
ends the server without warning, as a kill does, and starts it again. It is run
several times, and everything that uses the server is cut off each time; the checks
are then run one at a time. The suite goes on when the store answers.

The exit code is 1 where a check failed. Skipped checks are counted and say why.`,
		Example: `  switchyard conformance sqlite:/mnt/disk/try.db
  switchyard conformance postgres://me@localhost/test --restart-command 'pg_ctl restart -m immediate -D /tmp/data -l /tmp/log'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.conformance(cmd.Context(), args[0], f) },
	}
	cmd.Flags().StringVar(&f.format, "format", "", "form of the report: text, json, junit or markdown")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "`file` for the report; default is standard output")
	cmd.Flags().StringVar(&f.match, "match", "", "run only checks whose name matches this regular `expression`")
	cmd.Flags().StringVar(&f.restart, "restart-command", "", "`command` line that restarts the server without warning")
	cmd.Flags().StringVar(&f.scale, "scale", "full", "`scale` of the long checks: full, or small for a first look; the report says what small left out")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "`seed` of everything that is left to chance; 0 means 1")
	return cmd
}

func (a *app) conformance(ctx context.Context, arg string, f conformanceFlags) (err error) {
	report, ok := a.reportWriter(f.format)
	if !ok {
		return usagef("--format %q is not text, json, junit or markdown", f.format)
	}
	if f.scale != "full" && f.scale != smallScale {
		return usagef("--scale %q is not full or small", f.scale)
	}
	if err := selectsCheck("--match", f.match); err != nil {
		return err
	}
	if err := writable(f.output); err != nil {
		return err
	}
	rawURL, name, err := a.url(arg)
	if err != nil {
		return err
	}
	result, err := a.runSuite(ctx, suite{url: rawURL, name: name, restart: f.restart, small: f.scale == smallScale}, conformance.Options{Match: f.match, Seed: f.seed})
	if err != nil {
		return err
	}
	out := a.out
	if f.output != "" {
		file, err := os.Create(f.output)
		if err != nil {
			return err
		}
		defer func() {
			if closed := file.Close(); err == nil {
				err = closed
			}
		}()
		out = file
	}
	if err := report(result, out); err != nil {
		return err
	}
	if !result.OK() {
		return fmt.Errorf("%d of %d checks failed", result.Count(conformance.Failed), len(result.Results))
	}
	return nil
}

// selectsCheck refuses an expression that selects no check of the suite.
func selectsCheck(flag, expression string) error {
	match, err := regexp.Compile(expression)
	if err != nil {
		return usagef("%s: %s", flag, err)
	}
	checks := conformance.Checks()
	if !slices.ContainsFunc(checks, func(c conformance.Check) bool { return match.MatchString(c.Name) }) {
		return usagef("%s %q selects no check; docs/guarantees.md has their names, such as %s", flag, expression, checks[0].Name)
	}
	return nil
}

// reportWriter returns how a report is written in a form.
func (a *app) reportWriter(format string) (func(conformance.Report, io.Writer) error, bool) {
	if format == "" {
		format = "text"
		if a.json() {
			format = "json"
		}
	}
	switch format {
	case "text":
		return conformance.Report.WriteText, true
	case "json":
		return writeReportJSON, true
	case "junit":
		return conformance.Report.WriteJUnit, true
	case "markdown":
		return conformance.Report.WriteMarkdown, true
	}
	return nil, false
}

// writeReportJSON writes a report as JSON, with what acts on a terminal escaped.
func writeReportJSON(report conformance.Report, w io.Writer) error {
	var text strings.Builder
	if err := report.WriteJSON(&text); err != nil {
		return err
	}
	return write(w, cloudevents.EscapeJSON(text.String()))
}

// suiteAtOnce is how many checks run at once. They wait for the disk and for poll
// intervals more than they compute.
const suiteAtOnce = 4

// smallScale is the value of --scale for a first look.
const smallScale = "small"

// suite is what a run of the suite is about.
type suite struct {
	url, name string // name is the URL as it may be shown
	restart   string // the command that stands for a crash; empty for none
	small     bool   // with the long checks at a smaller scale
}

// runSuite runs the suite beside a URL's store.
func (a *app) runSuite(ctx context.Context, s suite, opts conformance.Options) (conformance.Report, error) {
	backend, streamID, err := probe(ctx, s.url)
	if err != nil {
		return conformance.Report{}, fmt.Errorf("open a store beside %s: %w", s.name, err)
	}
	opts.Rerun = func(check string, seed uint64) string {
		again := fmt.Sprintf("switchyard conformance %s --match '^%s$' --seed %d", s.name, check, seed)
		if s.restart != "" {
			again += " --restart-command " + strconv.Quote(s.restart)
		}
		if s.small {
			again += " --scale " + smallScale
		}
		return again
	}
	opts.Parallel = suiteAtOnce
	harness := conformance.IsolatedHarness(backend, func(ctx context.Context) (*conformance.Isolated, error) {
		return isolate(ctx, s.url)
	})
	harness.StreamID = streamID
	if s.small {
		harness.Scale = conformance.SmallScale()
	}
	if s.restart != "" {
		if local(s.url) {
			return conformance.Report{}, usagef("--restart-command: %s has no server that could be restarted", s.name)
		}
		opts.Parallel = 1 // nothing else is under way when the server goes down
		harness.Open = restartable(harness.Open, s.restart)
	}
	done := 0
	opts.Progress = func(result conformance.Result) {
		done++
		if a.interactive && !a.quiet {
			fmt.Fprintf(a.err, "\r\x1b[K%d checks, last %s: %s", done, result.Check, result.Status)
		}
	}
	report, err := conformance.RunAll(ctx, harness, opts)
	if a.interactive && !a.quiet {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
	return report, err
}

// probe opens a fresh store once and returns its backend's name and how its streams are
// named, so that a wrong URL is one error rather than one for each check.
func probe(ctx context.Context, rawURL string) (name string, streamID func(string, int) string, err error) {
	isolated, err := isolate(ctx, rawURL)
	if err != nil {
		return "", nil, err
	}
	fixture, err := isolated.Fixture(ctx)
	if err != nil {
		return "", nil, err
	}
	return fixture.Backend.Capabilities().Backend, isolated.StreamID, errors.Join(fixture.Backend.Close(), fixture.Remove(ctx))
}
