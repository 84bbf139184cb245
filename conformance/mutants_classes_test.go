package conformance_test

import (
	"context"
	"iter"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// classMutant is a memory backend that is broken where only size, time, rest or a
// restart shows it. The check that is named must fail on it, and say so.
type classMutant struct {
	name   string
	killed string
	says   string // part of the failure, as a regular expression
	wrap   func(*handle)
}

// handle is one of the handles on a log that may be broken.
type handle struct {
	hooked.Hooked
	number int // 0 is the fixture's first
	data   *handles
}

// handles are those of one store.
type handles struct {
	log *memory.Log

	mu     sync.Mutex
	opened []*handle
	held   map[string]bool // streams of writers that are held
	kept   map[string]any  // what a mutant remembers
	crash  func(*handles)  // what a crash does besides closing all handles
	boots  int

	sealing sync.Mutex // held by who appends around the seal
}

// remember calls change with what a mutant remembers, one at a time.
func (d *handles) remember(change func(kept map[string]any)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d.kept)
}

func (d *handles) isHeld(e eventstore.RecordedEvent) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[e.Stream]
}

// before returns a page up to the first event that a held writer wrote.
func (d *handles) before(page eventstore.Page, after eventstore.Place) eventstore.Page {
	if i := slices.IndexFunc(page.Events, d.isHeld); i >= 0 {
		page.Events, page.End, page.Next = page.Events[:i], true, after
		if i > 0 {
			page.Next = page.Events[i-1].Place()
		}
	}
	return page
}

// follow is a subscription over this handle's own ReadAll.
func (h *handle) follow(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: h.ReadAll, Info: h.Info, Poll: 5 * time.Millisecond})
}

// pages breaks what both reads and subscriptions return.
func (h *handle) pages(change func(page *eventstore.Page)) {
	h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
		page, err := h.Backend.ReadStream(ctx, req)
		change(&page)
		return page, err
	}
	h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		page, err := h.Backend.ReadAll(ctx, req)
		change(&page)
		return page, err
	}
	h.OnSubscribe = h.follow
}

// messages breaks what a subscription yields. change calls yield as often as it likes.
func (h *handle) messages(begin func(ctx context.Context, req eventstore.SubscribeRequest) func(m eventstore.Message, yield func(eventstore.Message) bool) bool) {
	h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(yield func(eventstore.Message, error) bool) {
			change := begin(ctx, req)
			for m, err := range h.Backend.Subscribe(ctx, req) {
				if err != nil {
					yield(m, err)
					return
				}
				if !change(m, func(m eventstore.Message) bool { return yield(m, nil) }) {
					return
				}
			}
		}
	}
}

// classHarness opens stores whose every handle is wrapped; nil wraps none.
func classHarness(name string, wrap func(*handle)) conformance.Harness {
	return conformance.Harness{
		Name:  name,
		Scale: conformance.Scale{Rest: 600 * time.Millisecond},
		Open: func(context.Context) (*conformance.Fixture, error) {
			d := &handles{log: memory.NewLog(), held: make(map[string]bool), kept: make(map[string]any)}
			open := func(opts memory.Options) *handle {
				d.mu.Lock()
				h := &handle{Hooked: hooked.Hooked{Backend: d.log.Open(&opts)}, number: len(d.opened), data: d}
				d.opened = append(d.opened, h)
				d.mu.Unlock()
				h.OnCapabilities = func() eventstore.Capabilities {
					caps := h.Backend.Capabilities()
					caps.Durability = eventstore.SurvivesProcessCrash // the log is outside of its handles
					return caps
				}
				h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
					page, err := h.Backend.ReadAll(ctx, req)
					if req.Backward {
						page.Events = slices.DeleteFunc(page.Events, d.isHeld)
						return page, err
					}
					return d.before(page, req.After), err
				}
				h.OnSubscribe = h.follow
				if wrap != nil {
					wrap(h)
				}
				return h
			}
			return &conformance.Fixture{
				Backend: open(memory.Options{Poll: 20 * time.Millisecond}),
				OpenAgain: func(context.Context) (eventstore.Backend, error) {
					return open(memory.Options{Poll: 20 * time.Millisecond}), nil
				},
				OpenPolling: func(context.Context) (eventstore.Backend, error) {
					return open(memory.Options{Poll: 20 * time.Millisecond}), nil
				},
				Restart:    d.restart,
				HoldWriter: d.hold,
			}, nil
		},
	}
}

// restart takes every handle away, as the crash of a process would.
func (d *handles) restart(context.Context) error {
	d.mu.Lock()
	opened := slices.Clone(d.opened)
	d.boots++
	d.mu.Unlock()
	for _, h := range opened {
		if err := h.Backend.Close(); err != nil {
			return err
		}
	}
	if d.crash != nil {
		d.crash(d)
	}
	return nil
}

// hold writes events that have their positions and that ReadAll does not show.
func (d *handles) hold(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
	d.mu.Lock()
	d.held[part.Stream] = true
	d.mu.Unlock()
	results, err := d.log.Open(nil).Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
	if err != nil {
		return nil, err
	}
	return func() (eventstore.AppendResult, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.held, part.Stream)
		return toResult(part.Stream, part.Events, results[0]), nil
	}, nil
}

func classMutants() []classMutant {
	return slices.Concat(sizeMutants(), batchMutants(), behindMutants(), filterAfterMutants(), timeMutants(), crashMutants(), nameMutants(), contentMutants(), sealMutants(), leaseMutants(), retriedMutants(), placeMutants(), expectationOnlyMutants(), absentMutants())
}

// atOnce calls run with 0 to n-1, many at once: most of them wait, and go test runs
// only so many parallel tests as there are processors.
func atOnce(n int, run func(i int)) {
	const most = 6 // more would disturb those that measure time
	var running sync.WaitGroup
	tickets := make(chan struct{}, most)
	for i := range n {
		tickets <- struct{}{}
		running.Go(func() {
			defer func() { <-tickets }()
			run(i)
		})
	}
	running.Wait()
}

func TestEveryMutantOfAClassIsKilledAtItsNamedCheck(t *testing.T) {
	mutants := classMutants()
	reports, errs := make([]conformance.Report, len(mutants)), make([]error, len(mutants))
	atOnce(len(mutants), func(i int) {
		m := mutants[i]
		reports[i], errs[i] = conformance.RunAll(t.Context(), classHarness(m.name, m.wrap), conformance.Options{Match: "^" + regexp.QuoteMeta(m.killed) + "$", Timeout: 30 * time.Second})
	})
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			require.NoError(t, errs[i])
			require.Len(t, reports[i].Results, 1)
			result := reports[i].Results[0]
			require.Equal(t, conformance.Failed, result.Status, "the mutant survived %s: %s", m.killed, result.Reason)
			require.Regexp(t, m.says, result.Failure)
		})
	}
}

func TestTheChecksOfTheClassesPassOnASoundBackend(t *testing.T) {
	checks := make(map[string]bool)
	for _, m := range classMutants() {
		checks[m.killed] = true
	}
	for check := range checks {
		t.Run(check, func(t *testing.T) {
			t.Parallel()
			report, err := conformance.RunAll(t.Context(), classHarness("sound", nil), conformance.Options{Match: "^" + regexp.QuoteMeta(check) + "$"})
			require.NoError(t, err)
			require.Equal(t, conformance.Passed, report.Results[0].Status, "%s%s", report.Results[0].Reason, report.Results[0].Failure)
		})
	}
}
