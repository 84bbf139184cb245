package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
	"github.com/switchyard-dev/switchyard/internal/bench/pgpeers"
)

type benchFlags struct {
	duration time.Duration
	rounds   int
	match    string
	plot     string
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
For PostgreSQL the run includes what others do on the same server.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.bench(cmd.Context(), args, f) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.duration, "duration", 2*time.Second, "how long one round of a case takes")
	flags.IntVar(&f.rounds, "rounds", 3, "how `often` each case is measured")
	flags.StringVar(&f.match, "match", "", "measure only cases whose name matches this regular `expression`")
	flags.StringVar(&f.plot, "plot", "", "draw the rates as a chart into this `file`, .png or .svg")
	return cmd
}

func (a *app) bench(ctx context.Context, args []string, f benchFlags) (err error) {
	var targets []bench.Target
	for _, arg := range args {
		rawURL, name, err := a.url(arg)
		if err != nil {
			return err
		}
		isolated, err := backends.Isolate(ctx, rawURL)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, isolated.Remove(context.WithoutCancel(ctx))) }()
		peers, closePeers, err := peersOf(ctx, rawURL)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closePeers(context.WithoutCancel(ctx))) }()
		targets = append(targets, bench.Target{Name: name, Baselines: peers, Open: func(ctx context.Context) (*eventstore.Store, error) {
			backend, err := isolated.Open(ctx)
			if err != nil {
				return nil, err
			}
			return eventstore.New(backend, nil)
		}})
	}
	results, err := bench.Run(ctx, targets, bench.Options{
		Duration: f.duration, Rounds: f.rounds, Match: f.match,
		Progress: func(store, name string, done, total int) {
			if !a.quiet {
				fmt.Fprintf(a.err, "%d of %d: %s, %s\n", done+1, total, store, name)
			}
		},
	})
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

// peersOf returns what else can be measured on the server of a URL.
func peersOf(ctx context.Context, rawURL string) (cases []bench.Case, stop func(context.Context) error, err error) {
	none := func(context.Context) error { return nil }
	u, err := url.Parse(rawURL)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return nil, none, nil //nolint:nilerr // a URL that cannot be read was refused before
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
