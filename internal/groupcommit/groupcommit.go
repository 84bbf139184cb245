// Package groupcommit lets the concurrent appends of one process travel to the
// database together, each with its own verdict. A totally ordered store pays for
// its order with one lock; a group pays once for many appends.
//
// There is no timer and no waiting for company: an append that finds nobody
// under way leaves at once, and those that come while it is on its way form the
// next group.
package groupcommit

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Call is one append in a group.
type Call struct {
	// Parts is what to append.
	Parts []eventstore.StreamAppend
	// Results or Err is the flush's verdict on this append.
	Results []eventstore.AppendResult
	Err     error

	events, bytes int
	done          chan struct{}
}

// Flush writes a group of appends in its order and sets the verdict of each
// call. ctx is not any caller's: it ends at the configured timeout only, so that
// one impatient caller cannot spoil the group. With [Options].CallerFlushes, the
// ctx of a group of one may be that append's own, without a timeout.
type Flush func(ctx context.Context, group []*Call)

// Options bounds the groups. Zero fields mean the defaults.
type Options struct {
	// MaxEvents and MaxBytes end a group that reaches them; 0 means 1024 events
	// and 4 MiB. One append that is larger forms a group of its own.
	MaxEvents, MaxBytes int
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

// Committer forms groups.
type Committer struct {
	flush Flush
	opts  Options

	mu      sync.Mutex
	queue   []*Call
	flushes int // how many flushers there may be
	flying  int // flushers under way
	closed  bool
	flights sync.WaitGroup
}

// New returns a Committer. It starts no goroutine until there is work.
func New(flush Flush, opts Options) *Committer {
	opts.MaxEvents = cmp.Or(opts.MaxEvents, 1024)
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 4<<20)
	opts.Flushes = cmp.Or(opts.Flushes, 1)
	opts.Timeout = cmp.Or(opts.Timeout, 30*time.Second)
	return &Committer{flush: flush, opts: opts, flushes: opts.Flushes}
}

// SetFlushes changes how many groups may be under way at once, which is 1 at
// least. Groups that are under way are not disturbed.
func (c *Committer) SetFlushes(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushes = max(1, n)
}

// Append sends an append with the next group and returns its verdict. If ctx is
// done before the group leaves, the append is withdrawn and the error is the
// context's; afterwards it is ErrUnknownOutcome too.
func (c *Committer) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	call := &Call{Parts: req.Parts, done: make(chan struct{})}
	for _, part := range req.Parts {
		call.events += len(part.Events)
		for _, event := range part.Events {
			call.bytes += event.Size()
		}
	}
	alone, err := c.enqueue(ctx, call)
	if err != nil {
		return nil, err
	}
	if alone {
		c.lead(ctx, call)
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
func (c *Committer) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.flights.Wait()
}

// enqueue makes the call wait for the next group. alone is true where it does
// not wait, because the caller is to flush it.
func (c *Committer) enqueue(ctx context.Context, call *Call) (alone bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, eventstore.ErrClosed
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if c.opts.CallerFlushes && c.flying == 0 {
		c.flying++
		c.flights.Add(1)
		return true, nil
	}
	c.queue = append(c.queue, call)
	if c.flying < c.flushes {
		c.flying++
		c.flights.Go(c.fly)
	}
	return false, nil
}

// lead flushes a call in its caller's goroutine, and leaves those that came
// meanwhile to a flusher.
func (c *Committer) lead(ctx context.Context, call *Call) {
	defer c.flights.Done()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.queue) > 0 {
			c.flights.Go(c.fly)
		} else {
			c.flying--
		}
	}()
	c.flush(ctx, []*Call{call})
}

func (c *Committer) withdraw(call *Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.queue, call)
	if i < 0 {
		return false
	}
	c.queue = slices.Delete(c.queue, i, i+1)
	return true
}

// fly flushes group after group until nothing waits.
func (c *Committer) fly() {
	for {
		group := c.next()
		if group == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
		c.flush(ctx, group)
		cancel()
		for _, call := range group {
			close(call.done)
		}
		c.gather()
	}
}

// gather lets run whoever is ready to: those that were just answered come back
// with their next appends, which then leave together and not one first and the
// others after it. It does not wait for anyone: it ends when nobody came.
func (c *Committer) gather() {
	for before := -1; ; runtime.Gosched() {
		c.mu.Lock()
		waiting := len(c.queue)
		c.mu.Unlock()
		if waiting == before {
			return
		}
		before = waiting
	}
}

// next takes the group that leaves now; nil ends the flusher, because nobody
// waits or because there are others enough.
func (c *Committer) next() []*Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || c.flying > c.flushes {
		c.flying--
		return nil
	}
	n, events, bytes := 0, 0, 0
	for n < len(c.queue) {
		events += c.queue[n].events
		bytes += c.queue[n].bytes
		if n > 0 && (events > c.opts.MaxEvents || bytes > c.opts.MaxBytes) {
			break
		}
		n++
	}
	group := slices.Clone(c.queue[:n])
	c.queue = slices.Delete(c.queue, 0, n)
	return group
}
