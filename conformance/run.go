package conformance

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Options configures [RunAll]. The zero value means the defaults.
type Options struct {
	// Match selects the checks whose names it matches, as a regular expression
	// that is not anchored; empty selects all.
	Match string
	// Seed makes everything that is left to chance; 0 means 1. A check's chance
	// depends on the seed and its name alone, so one check can be rerun.
	Seed uint64
	// Timeout bounds one check; 0 means 60 s. A check that does not return even
	// then is given up after a few seconds more, and fails.
	Timeout time.Duration
	// Parallel is how many checks may run at once, each on a store of its own;
	// 0 means 1. Those that measure the process run alone.
	Parallel int
	// Progress, where not nil, is called after each check, for one at a time.
	Progress func(Result)
	// Rerun makes the command that runs one check again, for its result; nil
	// means the command line's, without the URL.
	Rerun func(check string, seed uint64) string
}

const (
	defaultTimeout = time.Minute
	// A check that ignores its context is given up after so long.
	grace = 5 * time.Second
)

// RunAll runs the suite against a harness, each check on a fresh store. Results
// are in the checks' fixed order, whatever ran at once.
//
// The error says what is wrong with the harness or the options (an unknown or
// empty waiver, a Match that selects nothing), before anything runs, or that ctx
// ended, with a report of what was run until then. Failed checks are no error:
// see [Report.OK].
func RunAll(ctx context.Context, h Harness, opts Options) (Report, error) {
	checks, err := choose(Checks(), h, &opts)
	if err != nil {
		return Report{}, err
	}
	report := Report{Backend: h.Name, Seed: opts.Seed, Started: time.Now().UTC(), Scale: h.Scale.note()}
	results, caps := make([]Result, len(checks)), make([]eventstore.Capabilities, len(checks))
	var done sync.Mutex
	run := func(i int) {
		if ctx.Err() != nil {
			return
		}
		result, declared := h.run(ctx, checks[i], opts)
		if ctx.Err() != nil {
			return // an interrupted check has no result
		}
		done.Lock()
		defer done.Unlock()
		results[i], caps[i] = result, declared
		if opts.Progress != nil {
			opts.Progress(result)
		}
	}
	together(inTurn(checks, opts.Parallel), opts.Parallel, run, func(i int) bool { return checks[i].Alone })
	for i, result := range results {
		if result.Check == "" {
			continue
		}
		if report.Capabilities.Backend == "" {
			report.Capabilities = caps[i]
		}
		report.Results = append(report.Results, result)
	}
	report.Duration = time.Since(report.Started)
	if err := ctx.Err(); err != nil {
		return report, fmt.Errorf("conformance: stopped after %d of %d checks: %w", len(report.Results), len(checks), err)
	}
	return report, nil
}

// inTurn returns the checks' indices in the order in which they begin: where
// several run at once, the long ones first, so that the others run beside them.
func inTurn(checks []Check, parallel int) []int {
	order := make([]int, len(checks))
	for i := range order {
		order[i] = i
	}
	if parallel > 1 {
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case checks[a].Long == checks[b].Long:
				return 0
			case checks[a].Long:
				return -1
			}
			return 1
		})
	}
	return order
}

// together calls run with each index, up to parallel at once, and then one by one
// with those that are to run alone.
func together(order []int, parallel int, run func(int), alone func(int) bool) {
	var workers sync.WaitGroup
	next := make(chan int)
	for range max(1, parallel) {
		workers.Go(func() {
			for i := range next {
				run(i)
			}
		})
	}
	for _, i := range order {
		if !alone(i) {
			next <- i
		}
	}
	close(next)
	workers.Wait()
	for _, i := range order {
		if alone(i) {
			run(i)
		}
	}
}

// choose returns the checks to run, and fills in the options' defaults.
func choose(all []Check, h Harness, opts *Options) ([]Check, error) {
	if err := h.validate(all); err != nil {
		return nil, err
	}
	match, err := regexp.Compile(opts.Match)
	if err != nil {
		return nil, fmt.Errorf("conformance: option Match: %w", err)
	}
	var checks []Check
	for _, check := range all {
		if match.MatchString(check.Name) {
			checks = append(checks, check)
		}
	}
	if len(checks) == 0 {
		return nil, fmt.Errorf("conformance: option Match %q selects no check; see Checks for the names", opts.Match)
	}
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.Rerun == nil {
		opts.Rerun = func(check string, seed uint64) string {
			return fmt.Sprintf("switchyard conformance URL --match '^%s$' --seed %d", check, seed)
		}
	}
	return checks, nil
}

// run runs one check and judges what came of it.
func (h Harness) run(ctx context.Context, check Check, opts Options) (Result, eventstore.Capabilities) {
	start := time.Now()
	o := h.attempt(ctx, check, opts)
	result := Result{
		Check: check.Name, Promise: check.Promise, Sentence: check.Sentence, Core: check.Core,
		Status: Passed, Seed: opts.Seed, Rerun: opts.Rerun(check.Name, opts.Seed), Duration: time.Since(start),
	}
	issue, waived := h.Waive[check.Name]
	switch {
	case o.err != nil && waived:
		result.Status, result.Reason, result.Failure = Waived, issue, o.err.Error()
	case o.err != nil:
		result.Status, result.Failure = Failed, o.err.Error()
	case o.skipped != "" && check.Core:
		result.Status, result.Failure = Failed, "a core check cannot be skipped, but "+o.skipped
	case o.skipped != "":
		result.Status, result.Reason = Skipped, o.skipped
	case waived:
		result.Status, result.Failure = Failed, fmt.Sprintf("the check passes but is waived for %q; remove the waiver", issue)
	case o.unsupported != "":
		result.Status, result.Reason = Unsupported, o.unsupported
	case check.Long:
		result.Reason = h.Scale.note()
	}
	return result, o.caps
}

// outcome is what happened when a check ran.
type outcome struct {
	err         error
	skipped     string // why the check could not run
	unsupported string // the backend's declared reason
	caps        eventstore.Capabilities
}

// attempt runs one check on a fresh fixture, in a goroutine of its own so that
// a backend that ignores its context can be given up.
func (h Harness) attempt(ctx context.Context, check Check, opts Options) outcome {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		err := contain(func() error {
			o = h.runOn(ctx, check, opts.Seed)
			return nil
		})
		o.err = errors.Join(o.err, err)
		done <- o
	}()
	giveUp := time.NewTimer(opts.Timeout + 2*grace) // one grace is for Remove
	defer giveUp.Stop()
	select {
	case o := <-done:
		return o
	case <-giveUp.C:
		return outcome{err: fmt.Errorf("expected the check to end within %s, but it hangs though its context ended %s ago", opts.Timeout, 2*grace)}
	}
}

// runOn opens a fixture, runs the check on it, and cleans up.
func (h Harness) runOn(ctx context.Context, check Check, seed uint64) (o outcome) {
	fixture, err := h.Open(ctx)
	if err != nil {
		o.err = fmt.Errorf("open a fresh store: %w", err)
		return o
	}
	if fixture.Remove != nil {
		defer func() {
			// The check's context may have ended, and the store must go all the same.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			if err := fixture.Remove(ctx); err != nil {
				o.err = errors.Join(o.err, fmt.Errorf("remove the store: %w", err))
			}
		}()
	}
	env := newEnv(fixture, check.Name, seed)
	env.Scale, env.streamID = h.Scale.withDefaults(), h.StreamID
	o.caps = env.Caps
	defer func() {
		if err := env.close(); err != nil {
			o.err = errors.Join(o.err, fmt.Errorf("close the handles: %w", err))
		}
	}()
	if env.Store, err = env.Over(fixture.Backend, eventstore.Options{}); err != nil {
		o.err = err
		return o
	}
	run := check.Run
	if check.Requires != nil {
		if capability := check.Requires(env.Caps); !capability.Supported() {
			o.unsupported, run = capability.Reason(), check.Refused
		}
	}
	if run == nil {
		return o
	}
	if reason, ok := fixture.has(check.Needs); !ok && o.unsupported == "" {
		if check.Needs == NeedsHoldWriter && fixture.HoldWriterReason != "" {
			o.unsupported = reason // there is no such state to bring about
		} else {
			o.skipped = reason
		}
		return o
	}
	err = contain(func() error { return run(ctx, env) })
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("expected the check to end in its time: %w", ctx.Err())
	}
	if skipped := (*skipError)(nil); errors.As(err, &skipped) {
		o.skipped = skipped.reason
	} else {
		o.err = err
	}
	return o
}

func newEnv(fixture *Fixture, check string, seed uint64) *Env {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(check)) // never fails
	return &Env{
		Fixture: fixture,
		Caps:    fixture.Backend.Capabilities(),
		Seed:    seed,
		Rand:    rand.New(rand.NewPCG(seed, hash.Sum64())),   //nolint:gosec // repeatable on purpose
		ids:     rand.New(rand.NewPCG(seed, hash.Sum64()+1)), //nolint:gosec // repeatable on purpose
	}
}
