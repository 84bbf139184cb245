package adapter

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// GroupedAppend is one append in a group.
type GroupedAppend struct {
	// AppendRequest is what to append. It is the caller's: the flush reads it.
	eventstore.AppendRequest
	// Prepared is what the caller gave to AppendPrepared; nil in an Append.
	Prepared any
	// Results or Err is the flush's verdict on this append.
	Results []eventstore.PartResult
	Err     error

	ctx      context.Context //nolint:containedctx // the caller's: whoever does not wait any more is not written
	deadline time.Time       // of ctx; zero where it has none
	weight   int
	done     chan struct{}

	queued   bool
	previous *GroupedAppend
	next     *GroupedAppend
}

// FlushFunc writes a group of appends in its order and sets the verdict of each.
// ctx is not any caller's: it ends at the configured timeout only, so that one
// impatient caller cannot spoil the group. With [GroupCommitOptions].CallerFlushes,
// the ctx of a group of one may be that append's own, without a timeout.
//
// A flush that panics does not end the process: it may have written anything, so
// every append of its group gets an error that matches
// [eventstore.ErrUnknownOutcome] and holds an [eventstore.PanicError].
type FlushFunc func(ctx context.Context, group []*GroupedAppend)

// GroupCommitOptions bounds the groups. Zero fields mean the defaults.
type GroupCommitOptions struct {
	// MaxWeight is the most that a group weighs; 0 means 4 MiB. One append that
	// is heavier forms a group of its own.
	MaxWeight int
	// Weigh tells what an append weighs, in whatever bounds the backend's write:
	// bytes of frames, items, events. It is called once for each append, in its
	// caller's goroutine. nil means WeighEvents(4 KiB), which with the default
	// MaxWeight is at most 1024 events and 4 MiB.
	Weigh func(req eventstore.AppendRequest) int
	// Flushes is how many groups may be under way at once; 0 means 1.
	Flushes int
	// Timeout bounds a flush; 0 means 30 s.
	Timeout time.Duration
	// CallerFlushes makes a caller that finds nobody under way flush its append
	// itself, alone, which saves handing it to another goroutine and back. The
	// caller cannot leave meanwhile: the flush must heed its ctx wherever it may
	// wait for long, and must not where that could spoil what it has begun. It
	// bounds its waits itself: a timer for each append would cost what is saved.
	// It is for databases inside the process, and needs Flushes to be 1.
	CallerFlushes bool
}

// WeighEvents returns a [GroupCommitOptions].Weigh that adds up the sizes of an
// append's events, in bytes, counting an event that is smaller than least bytes
// as least. A MaxWeight of n × least is thus n events at most, and no more bytes.
func WeighEvents(least int) func(req eventstore.AppendRequest) int {
	return func(req eventstore.AppendRequest) int {
		weight := 0
		for _, part := range req.Parts {
			for _, event := range part.Events {
				weight += max(least, event.Size())
			}
		}
		return weight
	}
}

// GroupCommit lets the concurrent appends of one process travel to the database
// together, each with its own verdict. A totally ordered store pays for its order
// with one lock; a group pays once for many appends.
//
// There is no timer and no waiting for company: an append that finds nobody under
// way leaves at once, and those that come while it is on its way form the next
// group.
//
// Where more appends come than can be written, those whose callers' deadlines
// leave no time for a flush wait behind those that have time, so that the
// database's work goes into appends whose callers hear of it. How many may wait is
// not bounded: each has a caller that waits, and a deadline to give up at.
type GroupCommit struct {
	flush FlushFunc
	opts  GroupCommitOptions

	mu      sync.Mutex
	queue   groupQueue
	flushes int           // how many flushers there may be
	flying  int           // flushers under way
	usual   time.Duration // a flush takes, lately
	closed  bool
	flights sync.WaitGroup
}

// NewGroupCommit returns a GroupCommit. It starts no goroutine until there is work.
func NewGroupCommit(flush FlushFunc, opts GroupCommitOptions) *GroupCommit {
	opts.MaxWeight = cmp.Or(opts.MaxWeight, 4<<20)
	if opts.Weigh == nil {
		opts.Weigh = WeighEvents(4 << 10)
	}
	opts.Flushes = cmp.Or(opts.Flushes, 1)
	opts.Timeout = cmp.Or(opts.Timeout, 30*time.Second)
	return &GroupCommit{flush: flush, opts: opts, flushes: opts.Flushes}
}

// SetFlushes changes how many groups may be under way at once, which is 1 at
// least. Groups that are under way are not disturbed.
func (c *GroupCommit) SetFlushes(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushes = max(1, n)
}

// Append sends an append with the next group and returns its verdict. If ctx is
// done before the group leaves, the append is withdrawn and the error is the
// context's; afterwards it is ErrUnknownOutcome too.
func (c *GroupCommit) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	return c.AppendPrepared(ctx, req, nil)
}

// AppendPrepared is Append with something that the caller has computed in its own
// goroutine, so that the flush, which all wait for, need not. It is the flush's to
// change, once it has the group; the caller may look at it again when it has its
// verdict.
func (c *GroupCommit) AppendPrepared(ctx context.Context, req eventstore.AppendRequest, prepared any) ([]eventstore.PartResult, error) {
	call := &GroupedAppend{AppendRequest: req, Prepared: prepared, ctx: ctx, weight: c.opts.Weigh(req), done: make(chan struct{})}
	call.deadline, _ = ctx.Deadline()
	alone, err := c.enqueue(call)
	if err != nil {
		return nil, err
	}
	if alone {
		c.lead(call)
		return call.Results, call.Err
	}
	select {
	case <-call.done:
		return call.Results, call.Err
	case <-ctx.Done():
	}
	if c.withdraw(call) {
		return nil, ctx.Err()
	}
	select {
	case <-call.done: // the verdict came at the same moment, and knows more
		return call.Results, call.Err
	default:
		return nil, fmt.Errorf("%w: the caller left while the append was being written: %w", eventstore.ErrUnknownOutcome, ctx.Err())
	}
}

// Close refuses further appends with ErrClosed and waits for those under way.
func (c *GroupCommit) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.flights.Wait()
}

// enqueue makes the call wait for the next group. alone is true where it does
// not wait, because the caller is to flush it.
func (c *GroupCommit) enqueue(call *GroupedAppend) (alone bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, eventstore.ErrClosed
	}
	if err := call.ctx.Err(); err != nil {
		return false, err
	}
	if c.opts.CallerFlushes && c.flying == 0 {
		c.flying++
		c.flights.Add(1)
		return true, nil
	}
	c.queue.push(call)
	if c.flying < c.flushes {
		c.flying++
		c.flights.Go(c.fly)
	}
	return false, nil
}

// withdraw tells whether the call was still waiting, and ends that.
func (c *GroupCommit) withdraw(call *GroupedAppend) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.remove(call)
}

// lead flushes a call in its caller's goroutine, and leaves those that came
// meanwhile to a flusher.
func (c *GroupCommit) lead(call *GroupedAppend) {
	defer c.flights.Done()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.queue.count > 0 {
			c.flights.Go(c.fly)
		} else {
			c.flying--
		}
	}()
	c.write(call.ctx, []*GroupedAppend{call})
}

// fly flushes group after group until nothing waits.
func (c *GroupCommit) fly() {
	ended := false
	defer func() {
		if !ended { // the flush ended this goroutine: others wait for it
			c.flights.Go(c.fly)
		}
	}()
	for {
		group := c.next()
		if group == nil {
			ended = true
			return
		}
		c.send(group)
		c.gather()
	}
}

// send writes a group and answers its callers.
func (c *GroupCommit) send(group []*GroupedAppend) {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
	defer func() {
		cancel()
		for _, call := range group {
			close(call.done)
		}
	}()
	c.write(ctx, group)
}

// write calls the flush, and turns its panic into the verdict of all appends. So
// it does where the flush ends its goroutine, as a failed test does.
func (c *GroupCommit) write(ctx context.Context, group []*GroupedAppend) {
	began, returned := time.Now(), false
	defer func() {
		c.took(time.Since(began))
		if returned {
			return
		}
		value := recover()
		if value == nil {
			value = "it called runtime.Goexit"
		}
		err := fmt.Errorf("%w: writing the appends: %w", eventstore.ErrUnknownOutcome, &eventstore.PanicError{Value: value, Stack: debug.Stack()})
		for _, call := range group {
			call.Results, call.Err = nil, err
		}
	}()
	c.flush(ctx, group)
	returned = true
}

// took notes how long a flush took: the average of the last few.
func (c *GroupCommit) took(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.usual == 0 {
		c.usual = d
	}
	c.usual += (d - c.usual) / 4
}

// gatherRounds is how often those who are ready to run are let run before a group
// leaves without them.
const gatherRounds = 8

// gather lets run whoever is ready to: those that were just answered come back
// with their next appends, which then leave together and not one first and the
// others after it. It does not wait for anyone: it ends when nobody came, and when
// a group is full. Where callers come without end, so would it: hence the rounds.
func (c *GroupCommit) gather() {
	before := -1
	for range gatherRounds {
		c.mu.Lock()
		waiting, weight := c.queue.count, c.queue.weight
		c.mu.Unlock()
		if waiting == before || weight >= c.opts.MaxWeight {
			return
		}
		before = waiting
		runtime.Gosched()
	}
}

// next takes the group that leaves now; nil ends the flusher, because nobody
// waits or because there are others enough.
func (c *GroupCommit) next() []*GroupedAppend {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying <= c.flushes {
		// Twice the usual time, for a flush may take longer than usual.
		if group := c.queue.take(c.opts.MaxWeight, time.Now(), 2*c.usual); len(group) > 0 {
			return group
		}
	}
	c.flying--
	return nil
}
