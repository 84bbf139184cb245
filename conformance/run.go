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
	// 0 means 1. Where it is more, checks that only wait run beside them. Those that
	// measure the process run alone.
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
	all := make([]int, len(checks))
	for i := range all {
		all[i] = i
	}
	schedule(checks, all, opts.Parallel, run)
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

// schedule runs the checks with these indices, up to parallel at once: the long
// ones first, so that the others run beside them. Where several may run, those that
// only wait run from the start and take no turn from the others. The ones that are
// to run alone come last.
func schedule(checks []Check, indices []int, parallel int, run func(i int)) {
	var long, short, alone []int
	var running sync.WaitGroup
	for _, i := range indices {
		switch check := checks[i]; {
		case check.Alone:
			alone = append(alone, i)
		case parallel <= 1:
			short = append(short, i) // in their order
		case check.Rests:
			running.Go(func() { run(i) })
		case check.Long:
			long = append(long, i)
		default:
			short = append(short, i)
		}
	}
	next := make(chan int)
	for range max(1, parallel) {
		running.Go(func() {
			for i := range next {
				run(i)
			}
		})
	}
	for _, i := range slices.Concat(long, short) {
		next <- i
	}
	close(next)
	running.Wait()
	for _, i := range alone {
		run(i)
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
	case check.Disk && h.Double != "":
		result.Status, result.Reason = Unsupported, "passed by the double, which proves nothing of a disk: "+h.Double
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
	o.caps = fixture.Backend.Capabilities()
	run := check.Run
	if check.Requires != nil {
		if capability := check.Requires(o.caps); !capability.Supported() {
			o.unsupported, run = capability.Reason(), check.Refused
		}
	}
	seen := fixture
	if !check.plain && o.unsupported == "" {
		seen = supplement(fixture, o.caps)
	}
	env := newEnv(seen, check.Name, seed)
	env.Scale, env.streamID = h.Scale.withDefaults(), h.StreamID
	defer func() {
		if err := env.close(); err != nil {
			o.err = errors.Join(o.err, fmt.Errorf("close the handles: %w", err))
		}
	}()
	if env.Store, err = env.NewStore(seen.Backend, eventstore.Options{}); err != nil {
		o.err = err
		return o
	}
	if run == nil {
		return o
	}
	if reason, ok := fixture.has(check.Needs); !ok && o.unsupported == "" {
		o.skipped = reason
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
