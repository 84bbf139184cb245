package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

type conformanceFlags struct {
	format, output, match string
	seed                  uint64
}

func (a *app) conformanceCommand() *cobra.Command {
	var f conformanceFlags
	cmd := &cobra.Command{
		Use:   "conformance URL",
		Short: "Prove that a store keeps every promise of the contract",
		Long: `Run the conformance suite against the database that a URL names. Each check works
on a fresh store beside the URL's own, which is not touched, and removes it again.

The exit code is 1 where a check failed. Skipped checks are counted and say why.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.conformance(cmd.Context(), args[0], f) },
	}
	cmd.Flags().StringVar(&f.format, "format", "", "form of the report: text, json, junit or markdown")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "`file` for the report; default is standard output")
	cmd.Flags().StringVar(&f.match, "match", "", "run only checks whose name matches this regular `expression`")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "`seed` of everything that is left to chance; 0 means 1")
	return cmd
}

func (a *app) conformance(ctx context.Context, arg string, f conformanceFlags) (err error) {
	report, ok := a.reportWriter(f.format)
	if !ok {
		return usagef("--format %q is not text, json, junit or markdown", f.format)
	}
	rawURL, name, err := a.url(arg)
	if err != nil {
		return err
	}
	result, err := a.runSuite(ctx, rawURL, name, conformance.Options{Match: f.match, Seed: f.seed})
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
	return write(w, transfer.EscapeJSON(text.String()))
}

// suiteAtOnce is how many checks run at once. They wait for the disk and for poll
// intervals more than they compute.
const suiteAtOnce = 4

// runSuite runs the suite beside a URL's store.
func (a *app) runSuite(ctx context.Context, rawURL, name string, opts conformance.Options) (conformance.Report, error) {
	backend, err := probe(ctx, rawURL)
	if err != nil {
		return conformance.Report{}, err
	}
	opts.Rerun = func(check string, seed uint64) string {
		return fmt.Sprintf("switchyard conformance %s --match '^%s$' --seed %d", name, check, seed)
	}
	opts.Parallel = suiteAtOnce
	done := 0
	opts.Progress = func(result conformance.Result) {
		done++
		if a.interactive && !a.quiet {
			fmt.Fprintf(a.err, "\r\x1b[K%d checks, last %s: %s", done, result.Check, result.Status)
		}
	}
	report, err := conformance.RunAll(ctx, harness(rawURL, backend), opts)
	if a.interactive && !a.quiet {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
	return report, err
}

// probe opens a fresh store once and returns its backend's name, so that a wrong
// URL is one error rather than one for each check.
func probe(ctx context.Context, rawURL string) (string, error) {
	isolated, err := backends.Isolate(ctx, rawURL)
	if err != nil {
		return "", err
	}
	backend, err := openIsolated(ctx, isolated)
	if err != nil {
		return "", err
	}
	return backend.Capabilities().Backend, errors.Join(backend.Close(), isolated.Remove(ctx))
}

// openIsolated opens a fresh store. Where that fails it removes what was made of
// it, also after ctx has ended.
func openIsolated(ctx context.Context, isolated *backends.Isolated) (eventstore.Backend, error) {
	backend, err := isolated.Open(ctx)
	if err != nil {
		return nil, errors.Join(err, isolated.Remove(context.WithoutCancel(ctx)))
	}
	return backend, nil
}

// harness makes the suite's harness for a URL.
func harness(rawURL, name string) conformance.Harness {
	return conformance.Harness{
		Name: name,
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			isolated, err := backends.Isolate(ctx, rawURL)
			if err != nil {
				return nil, err
			}
			backend, err := openIsolated(ctx, isolated)
			if err != nil {
				return nil, err
			}
			return &conformance.Fixture{
				Backend: backend, OpenAgain: isolated.Open, OpenDeaf: isolated.OpenDeaf,
				HoldWriterReason: isolated.OneLock, Remove: isolated.Remove,
			}, nil
		},
	}
}
