package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/bench"
	"github.com/switchyard-dev/switchyard/internal/comparison"
)

type compareFlags struct {
	benchFlags
	out, scale, checks string
	noSuite            bool
}

func (a *app) compareCommand() *cobra.Command {
	f := compareFlags{benchFlags: benchFlags{processes: 1, prefill: []int{0}}}
	cmd := &cobra.Command{
		Use:   "compare URL...",
		Short: "Hold stores side by side: abilities, limits, the suite's result, rates, latency, cost",
		Long: `Find out what a choice between stores rests on, with your databases and on this
machine: what they can do and their limits, what the conformance suite says of each,
and what bench measures. Everything works on fresh stores beside those of the
URLs, which are not touched.

The report is one HTML file that needs no network; with --json the same goes to standard
output. The suite takes most of the time: its long checks are small unless --scale says
full.`,
		Example: `  switchyard compare sqlite:try.db postgres://me@localhost/test --out report.html`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.compare(cmd.Context(), args, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.out, "out", "compare.html", "`file` for the report")
	flags.StringVar(&f.scale, "scale", smallScale, "`scale` of the suite's long checks: full or small")
	flags.StringVar(&f.checks, "checks", "", "run only checks whose name matches this regular `expression`")
	flags.BoolVar(&f.noSuite, "no-suite", false, "leave out the suite")
	flags.StringVar(&f.match, "match", "", "measure only cases whose name matches this regular `expression`")
	flags.DurationVar(&f.duration, "duration", time.Second, "how long one round of a case takes")
	flags.IntVar(&f.rounds, "rounds", 3, "the `number` of times that each case is measured")
	return cmd
}

func (a *app) compare(ctx context.Context, args []string, f compareFlags) error {
	if f.scale != "full" && f.scale != smallScale {
		return usagef("--scale %q is not full or small", f.scale)
	}
	if err := selectsCheck("--checks", f.checks); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if err := writable(f.out); err != nil {
		return err
	}
	report := comparison.Report{
		Made:    time.Now().UTC(),
		Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	stores, err := a.locate(args)
	if err != nil {
		return err
	}
	for _, at := range stores {
		store, err := lookAt(ctx, at)
		if err != nil {
			return err
		}
		report.Stores = append(report.Stores, store)
	}
	results, err := a.measure(ctx, stores, f.benchFlags) // first, for it takes less time
	if err != nil {
		return err
	}
	for i, at := range stores {
		store := &report.Stores[i]
		store.Results = slices.DeleteFunc(slices.Clone(results), func(r bench.Result) bool { return r.Store != store.Name })
		if err := a.judge(ctx, at, store, f); err != nil {
			return err
		}
	}
	if err := writeReport(f.out, report); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(report)
	}
	return a.printf("compared %s: %s\n", count(len(report.Stores), "store"), f.out)
}

// lookAt says what a store declares.
func lookAt(ctx context.Context, at located) (comparison.Store, error) {
	store := comparison.Store{Name: at.name}
	isolated, err := isolate(ctx, at.url)
	if err != nil {
		return store, err
	}
	fixture, err := isolated.Fixture(ctx)
	if err != nil {
		return store, err
	}
	caps := fixture.Backend.Capabilities()
	if err := errors.Join(fixture.Backend.Close(), fixture.Remove(ctx)); err != nil {
		return store, err
	}
	store.Backend = caps.Backend
	for _, g := range guarantees(caps) {
		store.Guarantees = append(store.Guarantees, comparison.Guarantee{Name: g.name, Supported: g.value.Supported(), Reason: g.value.Reason()})
	}
	for _, declared := range facts(caps) {
		store.Facts = append(store.Facts, comparison.Fact{Name: declared.name, Text: declared.text, Value: declared.json})
	}
	return store, nil
}

// judge adds what the suite says of a store.
func (a *app) judge(ctx context.Context, at located, store *comparison.Store, f compareFlags) error {
	if f.noSuite {
		store.Suite.Left = "not run (--no-suite)"
		return nil
	}
	a.tell("the suite: %s", at.name)
	report, err := a.runSuite(ctx, suite{url: at.url, name: at.shown, small: f.scale == smallScale}, conformance.Options{Match: f.checks})
	if err != nil {
		return err
	}
	store.Suite = suiteOf(report)
	return nil
}

func suiteOf(report conformance.Report) comparison.Suite {
	s := comparison.Suite{
		Scale: report.Scale, Passed: report.Count(conformance.Passed), Failed: report.Count(conformance.Failed),
		Unsupported: report.Count(conformance.Unsupported), Skipped: report.Count(conformance.Skipped), Waived: report.Count(conformance.Waived),
	}
	for _, result := range report.Results {
		if result.Status == conformance.Failed {
			s.Failures = append(s.Failures, fmt.Sprintf("%s: %s\n%s\n%s", result.Check, result.Sentence, result.Failure, result.Rerun))
		}
	}
	return s
}

func writeReport(name string, report comparison.Report) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriter(file)
	if err := report.WriteHTML(out); err != nil {
		return err
	}
	return out.Flush()
}
