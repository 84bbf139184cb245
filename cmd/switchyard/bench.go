package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/backends/marten/martentest"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
	"github.com/switchyard-dev/switchyard/internal/bench/pgpeers"
)

type benchFlags struct {
	duration  time.Duration
	rounds    int
	match     string
	plot      string
	processes int
	prefill   []int
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench URL...",
		Short: "Measure stores side by side",
		Long: `Measure appends, conflicts, reads and the latency of live subscriptions on a fresh
store beside each URL's own, which is not touched, and remove it again.

Every case is measured in rounds that take the stores in turn, and the median is
shown. Compare within one run only: rates of different machines or moments do not.
For PostgreSQL the run includes what others do on the same server, and for Kafka the
bare client with the same records. For DynamoDB each case says what it consumed, an
event and a call, and what a million events cost.

  --prefill 100000,10000000   how rates change as a store grows: a store for each
                              number, filled with so many events before the first
                              round. What is measured adds to them.
  --processes 2               how writing processes share a store: appends are also
                              measured with the same writers divided among so many
                              processes.`,
		Example: `  switchyard bench sqlite:try.db postgres://me@localhost/test --plot chart.svg
  switchyard bench sqlite:try.db --match 'append 8' --rounds 1 --duration 500ms`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.bench(cmd.Context(), args, f) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.duration, "duration", 2*time.Second, "how long one round of a case takes")
	flags.IntVar(&f.rounds, "rounds", 3, "the `number` of times that each case is measured")
	flags.StringVar(&f.match, "match", "", "measure only cases whose name matches this regular `expression`")
	flags.StringVar(&f.plot, "plot", "", "draw the rates as a chart into this `file`, .png or .svg")
	flags.IntVar(&f.processes, "processes", 1, "measure appends also from this `number` of processes")
	flags.IntSliceVar(&f.prefill, "prefill", []int{0}, "`events` in the store before it is measured; several numbers make several stores")
	return cmd
}

func (a *app) bench(ctx context.Context, args []string, f benchFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	stores, err := a.locate(args)
	if err != nil {
		return err
	}
	results, err := a.measure(ctx, stores, f)
	if err != nil {
		return err
	}
	if f.plot != "" {
		if err := bench.Plot(f.plot, results); err != nil {
			return err
		}
	}
	show := func(w io.Writer) error { return bench.WriteTable(w, results) }
	if a.json() {
		show = func(w io.Writer) error { return bench.WriteJSON(w, results) }
	}
	return show(a.out)
}

// check refuses what would be noticed when everything is measured, or never.
func (f benchFlags) check() error {
	switch extension := filepath.Ext(f.plot); {
	case f.duration <= 0:
		return usagef("--duration %s: give more than 0", f.duration)
	case f.rounds < 1:
		return usagef("--rounds %d: give 1 or more", f.rounds)
	case f.processes < 1:
		return usagef("--processes %d: give 1 or more", f.processes)
	case slices.ContainsFunc(f.prefill, func(n int) bool { return n < 0 }) || len(f.prefill) == 0:
		return usagef("--prefill: give numbers of events, not negative")
	case f.plot != "" && extension != ".png" && extension != ".svg":
		return usagef("--plot %q: end the name in .png or .svg", f.plot)
	}
	if _, err := regexp.Compile(f.match); err != nil {
		return usagef("--match: %s", err)
	}
	return writable(f.plot)
}

// measure measures fresh stores beside those that it is given, and removes them.
func (a *app) measure(ctx context.Context, stores []located, f benchFlags) (_ []bench.Result, err error) {
	var yard benchYard
	defer func() { err = errors.Join(err, yard.clear(context.WithoutCancel(ctx))) }()
	for _, store := range stores {
		if err := a.prepareBench(ctx, &yard, store, f); err != nil {
			return nil, err
		}
	}
	results, err := bench.Run(ctx, yard.targets, bench.Options{
		Duration: f.duration, Rounds: f.rounds, Match: f.match,
		Progress: func(store, name string, done, total int) {
			a.tell("%d of %d: %s, %s", done+1, total, store, name)
		},
	})
	if err != nil && ctx.Err() != nil { // nobody needs to hear what became of the append that was cut off
		err = fmt.Errorf("bench: %w", ctx.Err())
	}
	return results, err
}

// prepareBench makes the targets beside one store: a store for each prefill, measured
// from one process and, if asked for, from several. The peers of its server come
// with the first.
func (a *app) prepareBench(ctx context.Context, yard *benchYard, beside located, f benchFlags) error {
	name := beside.name
	peers, closePeers, err := peersOf(ctx, beside.url)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	yard.later(closePeers)
	for _, events := range f.prefill {
		isolated, err := isolate(ctx, beside.url)
		if err != nil {
			return err
		}
		yard.later(isolated.Remove)
		target := bench.Target{Name: name, Cases: bench.Cases(), Open: func(ctx context.Context) (*eventstore.Store, error) {
			return benchStore(isolated.Open(ctx))
		}}
		if err := metered(&target, isolated.URL); err != nil {
			return err
		}
		if events > 0 {
			target.Name = fmt.Sprintf("%s, %s events before", name, grouped(events))
			filled, err := a.prefill(ctx, target, events)
			if err != nil {
				return err
			}
			target.Cases = filled.Cases()
		}
		alone := target
		alone.Cases = append(alone.Cases, peers...)
		peers = nil
		yard.targets = append(yard.targets, alone)
		if f.processes > 1 {
			if isolated.URL == "" {
				return usagef("--processes: the store of %s is its process's own, and no other can open it", name)
			}
			several, err := bench.StartProcesses(ctx, f.processes-1, isolated.URL, benchWorker(a.err))
			if err != nil {
				return err
			}
			yard.later(func(context.Context) error { return several.Close() })
			target.Name += fmt.Sprintf(", %d processes", f.processes)
			target.Cases = several.Cases()
			yard.targets = append(yard.targets, target)
		}
	}
	return nil
}

// prefill fills a target's store and shows how far it is.
func (a *app) prefill(ctx context.Context, target bench.Target, events int) (_ *bench.Filled, err error) {
	store, err := target.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	report := a.report("filled")
	defer report.end()
	report.total(events)
	filled, err := bench.Fill(ctx, store, events, report.at)
	if err == nil && !a.quiet {
		report.end()
		fmt.Fprintf(a.err, "filled %s %s\n", target.Name, report.took(events))
	}
	return filled, err
}

// benchYard is what a benchmark measures, and what is to be cleared away after it.
type benchYard struct {
	targets []bench.Target
	removes []func(context.Context) error
}

func (y *benchYard) later(remove func(context.Context) error) { y.removes = append(y.removes, remove) }

// clear removes everything, the last first.
func (y *benchYard) clear(ctx context.Context) error {
	var errs []error
	for _, remove := range slices.Backward(y.removes) {
		errs = append(errs, remove(ctx))
	}
	return errors.Join(errs...)
}

// benchStore makes the store that is measured: with the defaults of an application.
func benchStore(backend eventstore.Backend, err error) (*eventstore.Store, error) {
	if err != nil {
		return nil, err
	}
	return eventstore.New(backend, nil)
}

// metered counts what a store consumes where its database bills by use: DynamoDB, at
// the on-demand prices of us-east-1 in 2026.
func metered(target *bench.Target, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "dynamodb" {
		return nil //nolint:nilerr // a URL that cannot be read is refused elsewhere
	}
	var mu sync.Mutex
	var total bench.Usage
	target.Meter = &bench.Meter{
		Prices: bench.Prices{Reads: 0.125, Writes: 0.625},
		Now: func() bench.Usage {
			mu.Lock()
			defer mu.Unlock()
			return total
		},
	}
	target.Open = func(ctx context.Context) (*eventstore.Store, error) {
		api, table, opts, err := dynamodb.Client(ctx, u)
		if err != nil {
			return nil, err
		}
		opts.OnUsage = func(used dynamodb.Usage) {
			mu.Lock()
			defer mu.Unlock()
			total.Requests++
			total.ReadUnits += used.ReadUnits
			total.WriteUnits += used.WriteUnits
		}
		backend, err := dynamodb.Open(ctx, api, table, opts)
		if err != nil {
			return nil, err
		}
		return benchStore(backend, nil)
	}
	return nil
}

// peersOf returns what else can be measured on the server of a URL.
func peersOf(ctx context.Context, rawURL string) (cases []bench.Case, stop func(context.Context) error, err error) {
	none := func(context.Context) error { return nil }
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, none, nil //nolint:nilerr // a URL that cannot be read is refused elsewhere
	case u.Scheme == "kafka":
		peers, err := kafkaharness.NewPeers(ctx, u)
		if err != nil {
			return nil, none, err
		}
		return peers.Cases(), peers.Close, nil
	case u.Scheme == "marten":
		peers, err := martentest.NewPeers(ctx, u)
		if err != nil {
			return nil, none, err
		}
		return peers.Cases(), peers.Close, nil
	case !strings.HasPrefix(u.Scheme, "postgres"):
		return nil, none, nil
	}
	config, err := postgres.PoolConfig(u)
	if err != nil {
		return nil, none, err
	}
	peers, err := pgpeers.Open(ctx, config)
	if err != nil {
		return nil, none, err
	}
	return peers.Cases(), peers.Close, nil
}
