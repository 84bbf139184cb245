//go:build unix

package ownertest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// soon bounds what takes a lease and little more, on a busy machine.
const soon = 10 * time.Second

// owners is processes that run one subscription, and what they handled, in the order
// in which this process heard of it.
type owners struct {
	t     *testing.T
	lines chan Line

	mu      sync.Mutex
	handled []uint64
	by      []*Process
	others  []string
}

func newOwners(t *testing.T) *owners {
	o := &owners{t: t, lines: make(chan Line, 1024)}
	go func() {
		for line := range o.lines {
			o.note(line)
		}
	}()
	return o
}

func (o *owners) note(line Line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	number, err := strconv.ParseUint(line.Text, 10, 64)
	if line.Word != "handled" || err != nil {
		o.others = append(o.others, line.Word+" "+line.Text)
		return
	}
	o.handled, o.by = append(o.handled, number), append(o.by, line.By)
}

// since returns who handled the last event after so many, if there is one.
func (o *owners) since(n int) (owner *Process, handled int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if handled = len(o.handled); handled > n {
		owner = o.by[handled-1]
	}
	return owner, handled
}

// next waits until another process than the one that is gone handles events.
func (o *owners) next(gone *Process) (owner *Process) {
	o.t.Helper()
	_, before := o.since(0)
	require.Eventually(o.t, func() bool {
		owner, _ = o.since(before)
		return owner != nil && owner != gone
	}, 2*soon, time.Millisecond, "nobody takes over")
	return owner
}

// goOn waits until so many more events are handled.
func (o *owners) goOn(more int) {
	o.t.Helper()
	_, before := o.since(0)
	require.Eventually(o.t, func() bool { _, n := o.since(0); return n >= before+more }, 2*soon, time.Millisecond, "it does not go on")
}

// replaced waits until the next owner took over, and went on.
func (o *owners) replaced(gone *Process) *Process {
	o.t.Helper()
	begin := time.Now()
	next := o.next(gone)
	require.Less(o.t, time.Since(begin), soon, "to take over takes the lease and little more")
	o.goOn(60)
	return next
}

// writer appends numbered events, to several streams, until it is stopped.
type writer struct {
	store   *eventstore.Store
	stop    context.CancelFunc
	working sync.WaitGroup
	written uint64
	err     error
}

func startWriter(ctx context.Context, store *eventstore.Store) *writer {
	w := &writer{store: store}
	ctx, w.stop = context.WithCancel(ctx)
	w.working.Go(func() {
		for ctx.Err() == nil && w.err == nil {
			w.err = w.write(context.WithoutCancel(ctx))
			_ = sleep.For(ctx, 2*time.Millisecond)
		}
	})
	return w
}

func (w *writer) write(ctx context.Context) error {
	data := strconv.FormatUint(w.written+1, 10)
	_, err := w.store.Append(ctx, fmt.Sprintf("order-%d", w.written%7), eventstore.Any(), eventstore.Event{Type: "Placed", Data: []byte(data)})
	if err == nil {
		w.written++
	}
	return err
}

// end stops the writer and returns how many events there are.
func (w *writer) end() (written uint64, err error) {
	w.stop()
	w.working.Wait()
	return w.written, w.err
}

// TakeOvers writes to a store, that is empty, while three processes run a subscription
// through proxies to rawURL. The owner is killed, stopped and woken, and its network
// hangs and breaks; each time the next takes over within the lease. Every event is
// handled, in order, and what is handled twice is what an owner had not saved yet.
func TakeOvers(t *testing.T, store *eventstore.Store, rawURL string) {
	t.Helper()
	w := startWriter(t.Context(), store)
	defer func() { _, _ = w.end() }()
	o := newOwners(t)
	proxies := make(map[*Process]*tcpproxy.Proxy)
	start := func() {
		proxy, through := tcpproxy.ForURL(t, rawURL)
		proxies[Start(t, Own, through, o.lines)] = proxy
	}
	start()
	first := o.next(nil)
	start()
	start()

	require.NoError(t, first.Process.Signal(syscall.SIGKILL))
	second := o.replaced(first)
	start()

	require.NoError(t, second.Process.Signal(syscall.SIGSTOP))
	third := o.replaced(second)
	_, before := o.since(0)
	require.NoError(t, second.Process.Signal(syscall.SIGCONT))
	o.goOn(50)
	require.LessOrEqual(t, o.handledBy(second, before), 1, "who was paused handles no more than what was in its hands")

	proxies[third].Stall()
	fourth := o.replaced(third)
	proxies[third].Resume()
	proxies[fourth].Down()
	o.replaced(fourth)
	proxies[fourth].Up()

	written, err := w.end()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.handled[len(o.handled)-1] == written
	}, 2*soon, time.Millisecond, "the last event is handled")
	const takeOvers = 4
	o.check(written, takeOvers)
}

// handledBy counts what a process handled after so many events.
func (o *owners) handledBy(p *Process, after int) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, by := range o.by[after:] {
		if by == p {
			n++
		}
	}
	return n
}

// check holds what was handled against what was written.
func (o *owners) check(written uint64, takeOvers int) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Empty(o.t, o.others)
	last, repeated := uint64(0), 0
	for _, number := range o.handled {
		switch {
		case number == last+1:
			last++
		case number <= last:
			repeated++
		default:
			o.t.Fatalf("event %d was handled after event %d", number, last)
		}
	}
	require.Equal(o.t, written, last)
	// What an owner handled and could not save: for as long as its lease, where it was
	// cut off, and a few checkpoints more.
	most := takeOvers * (int(lease/pace) + 3*checkpointEvery)
	require.LessOrEqual(o.t, repeated, most, "handled twice, in %d take-overs", takeOvers)
	o.t.Logf("%d events, %d handled twice in %d take-overs", written, repeated, takeOvers)
}
