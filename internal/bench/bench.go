// Package bench measures stores through the contract: the same cases on every
// backend, so that one run on one machine compares them. Rates of different runs
// or machines do not compare; ratios within one run do.
package bench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Result is one measured case.
type Result struct {
	// Store is the name of what was measured.
	Store string `json:"store"`
	// Case names what was done, such as "append 8×1 new streams".
	Case string `json:"case"`
	// Rate is in Unit per second, the median of the rounds; 0 where only
	// latencies are measured.
	Rate float64 `json:"rate,omitempty"`
	// Unit is what Rate counts: "events" or "appends".
	Unit string `json:"unit,omitempty"`
	// P50 and P99 are latencies of one operation; zero where not measured.
	P50 time.Duration `json:"p50Nanoseconds,omitempty"`
	P99 time.Duration `json:"p99Nanoseconds,omitempty"`
	// Bytes is the process's heap after the case, garbage collected.
	Bytes uint64 `json:"heapBytes"`
	// Note says what the figures leave open.
	Note string `json:"note,omitempty"`
}

// Options configures a run. The zero value means the defaults.
type Options struct {
	// Duration is how long one round of a case is measured; 0 means 2 s.
	Duration time.Duration
	// Rounds is how often each case is measured, on every store in turn; the
	// median is kept. 0 means 3.
	Rounds int
	// Match selects cases by a regular expression on their names.
	Match string
	// Progress, where not nil, is called before each measurement.
	Progress func(store, name string, done, total int)
}

// Target is a store to measure.
type Target struct {
	// Name is what the results call it.
	Name string
	// Open opens the same fresh, isolated store each time it is called.
	Open func(ctx context.Context) (*eventstore.Store, error)
	// Baselines are further ways to write to or read from the same server,
	// measured in the same rounds. They are cases of this target only.
	Baselines []Case
}

// Case is something to measure.
type Case struct {
	Name string
	// Run measures for about the given time.
	Run func(ctx context.Context, store *eventstore.Store, duration time.Duration) (Result, error)
}

// Run measures every case on every target, round after round, so that a machine
// whose speed drifts is unjust to all alike. Results are ordered by target and case.
func Run(ctx context.Context, targets []Target, opts Options) ([]Result, error) {
	if opts.Duration <= 0 {
		opts.Duration = 2 * time.Second
	}
	if opts.Rounds <= 0 {
		opts.Rounds = 3
	}
	match, err := regexp.Compile(opts.Match)
	if err != nil {
		return nil, fmt.Errorf("bench: the expression that selects cases: %w", err)
	}
	plans := make([]plan, len(targets))
	total := 0
	for i, target := range targets {
		store, err := target.Open(ctx)
		if err != nil {
			return nil, fmt.Errorf("bench: open %s: %w", target.Name, err)
		}
		defer func() { _ = store.Close() }()
		plans[i] = plan{target: target, store: store}
		for _, c := range slices.Concat(Cases(), target.Baselines) {
			if match.MatchString(c.Name) {
				plans[i].cases = append(plans[i].cases, c)
			}
		}
		plans[i].rounds = make([][]Result, len(plans[i].cases))
		total += len(plans[i].cases) * opts.Rounds
	}
	if total == 0 {
		return nil, fmt.Errorf("bench: no case is named like %q", opts.Match)
	}
	done := 0
	for range opts.Rounds {
		for i := range plans {
			for j, c := range plans[i].cases {
				if opts.Progress != nil {
					opts.Progress(plans[i].target.Name, c.Name, done, total)
				}
				result, err := c.Run(ctx, plans[i].store, opts.Duration)
				if errors.Is(err, eventstore.ErrUnsupported) {
					result, err = Result{Note: err.Error()}, nil
				}
				if err != nil {
					return nil, fmt.Errorf("bench: %s: %s: %w", plans[i].target.Name, c.Name, err)
				}
				result.Store, result.Case, result.Bytes = plans[i].target.Name, c.Name, heap()
				plans[i].rounds[j] = append(plans[i].rounds[j], result)
				done++
			}
		}
	}
	var results []Result
	for _, p := range plans {
		for _, rounds := range p.rounds {
			results = append(results, median(rounds))
		}
	}
	return results, nil
}

type plan struct {
	target Target
	store  *eventstore.Store
	cases  []Case
	rounds [][]Result // by case
}

// median returns the round in the middle by rate, or by its 99th percentile
// where there is no rate.
func median(rounds []Result) Result {
	sorted := slices.Clone(rounds)
	slices.SortFunc(sorted, func(a, b Result) int {
		switch {
		case a.Rate != b.Rate && a.Rate < b.Rate:
			return -1
		case a.Rate != b.Rate:
			return 1
		}
		return int(a.P99 - b.P99)
	})
	return sorted[len(sorted)/2]
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// latencies sums up the durations of single operations.
func latencies(all []time.Duration) (p50, p99 time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

// Cases returns the cases that run on every backend, in their order.
func Cases() []Case {
	return slices.Concat(appendCases(), readCases(), latencyCases())
}
