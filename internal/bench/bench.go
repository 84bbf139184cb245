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
	"strings"
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
	// Note says what the figures leave open, and what the case consumed where the
	// database bills by use.
	Note string `json:"note,omitempty"`

	events, calls int // that were counted
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
	// Meter, where not nil, counts what the database bills.
	Meter *Meter
	// Cases are what is measured on it; nil means [Cases]. The store's own may be
	// joined by others, such as what else can be done on the same server.
	Cases []Case
}

// Case is something to measure.
type Case struct {
	Name string
	// Run measures for about the given time.
	Run func(ctx context.Context, store *eventstore.Store, duration time.Duration) (Result, error)
}

// Run measures every case on every target, round after round and the targets in
// turn, so that a machine whose speed drifts is unjust to all alike. Results are ordered by target and case.
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
	var plans []*plan
	for _, target := range targets {
		store, err := target.Open(ctx)
		if err != nil {
			return nil, fmt.Errorf("bench: open %s: %w", target.Name, err)
		}
		defer func() { _ = store.Close() }()
		cases := target.Cases
		if cases == nil {
			cases = Cases()
		}
		for _, c := range cases {
			if match.MatchString(c.Name) {
				plans = append(plans, &plan{target: target.Name, store: store, meter: target.Meter, Case: c})
			}
		}
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("bench: no case is named like %q", opts.Match)
	}
	inTurn, done := byCase(plans), 0
	for range opts.Rounds {
		for _, p := range inTurn {
			if opts.Progress != nil {
				opts.Progress(p.target, p.Name, done, len(plans)*opts.Rounds)
			}
			if err := p.measure(ctx, opts.Duration); err != nil {
				return nil, err
			}
			done++
		}
	}
	results := make([]Result, len(plans))
	for i, p := range plans {
		results[i] = median(p.rounds)
	}
	return results, nil
}

// plan is one case on one target, and what its rounds have measured.
type plan struct {
	target string
	store  *eventstore.Store
	meter  *Meter
	Case
	rounds []Result
}

func (p *plan) measure(ctx context.Context, d time.Duration) error {
	var before Usage
	if p.meter != nil {
		before = p.meter.Now()
	}
	result, err := p.Run(ctx, p.store, d)
	if p.meter != nil && err == nil {
		if note := p.meter.note(before, p.meter.Now(), result.events, result.calls); note != "" {
			result.Note = strings.TrimPrefix(result.Note+"; "+note, "; ")
		}
	}
	if errors.Is(err, eventstore.ErrUnsupported) {
		result, err = Result{Note: err.Error()}, nil
	}
	if err != nil {
		return fmt.Errorf("bench: %s: %s: %w", p.target, p.Name, err)
	}
	result.Store, result.Case, result.Bytes = p.target, p.Name, heap()
	p.rounds = append(p.rounds, result)
	return nil
}

// byCase orders plans so that the targets take turns at each case: what is
// compared is measured within moments.
func byCase(plans []*plan) []*plan {
	first := make(map[string]int)
	for i, p := range plans {
		if _, met := first[p.Name]; !met {
			first[p.Name] = i
		}
	}
	return slices.SortedStableFunc(slices.Values(plans), func(a, b *plan) int { return first[a.Name] - first[b.Name] })
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
