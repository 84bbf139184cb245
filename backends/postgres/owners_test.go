package postgres_test

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
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// owners is processes that run one subscription, and what they handled, in the order in
// which this process heard of it.
type owners struct {
	t    *testing.T
	says chan said

	mu      sync.Mutex
	handled []uint64
	by      []*child
	errors  []string
}

func newOwners(t *testing.T) *owners {
	o := &owners{t: t, says: make(chan said, 1024)}
	go func() {
		for s := range o.says {
			o.mu.Lock()
			position, err := strconv.ParseUint(s.text, 10, 64)
			if s.word == "handled" && err == nil {
				o.handled, o.by = append(o.handled, position), append(o.by, s.by)
			} else {
				o.errors = append(o.errors, s.word+" "+s.text)
			}
			o.mu.Unlock()
		}
	}()
	return o
}

// since returns the child that handled the last event after so many, if there is one.
func (o *owners) since(n int) (owner *child, handled int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if handled = len(o.handled); handled > n {
		owner = o.by[handled-1]
	}
	return owner, handled
}

// next waits until a child other than these handles events.
func (o *owners) next(but ...*child) (owner *child) {
	o.t.Helper()
	_, before := o.since(0)
	begin := time.Now()
	require.Eventually(o.t, func() bool {
		owner, _ = o.since(before)
		for _, c := range but {
			if owner == c {
				return false
			}
		}
		return owner != nil
	}, 2*soon, time.Millisecond, "nobody takes over")
	if len(but) > 0 {
		require.Less(o.t, time.Since(begin), soon, "a takeover takes the lease and little more")
	}
	return owner
}

// An owner that is killed, stopped and woken, or cut off is replaced by the next within
// the lease: every event is handled, in the order, and what is handled twice is what an
// owner had not saved yet.
func TestOwnersThatAreKilledPausedOrCutOffAreReplaced(t *testing.T) {
	t.Parallel()
	rawURL := server.Database(t)
	store := newStore(t, openBackend(t, openPool(t, rawURL), nil), nil)
	writing, stopWriting := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	written := 0
	writer.Go(func() {
		for ; writing.Err() == nil; written++ {
			if _, err := store.Append(context.WithoutCancel(writing), fmt.Sprintf("order-%d", written%7), eventstore.Any(), event("Placed", "{}")); err != nil {
				t.Errorf("append: %v", err)
				return
			}
			pause(writing, 2*time.Millisecond)
		}
	})
	defer writer.Wait()
	defer stopWriting()

	o := newOwners(t)
	proxies := make(map[*child]*tcpproxy.Proxy)
	start := func() *child {
		proxy, through := tcpproxy.ForURL(t, rawURL)
		c := startChild(t, "own", through+"&connect_timeout=2", o.says)
		proxies[c] = proxy
		return c
	}
	start()
	first := o.next()
	for range 2 {
		start()
	}
	takeovers := 0
	replaced := func(gone *child) *child {
		takeovers++
		next := o.next(gone)
		_, before := o.since(0)
		require.Eventually(t, func() bool { _, n := o.since(0); return n > before+60 }, soon, time.Millisecond, "it does not go on")
		return next
	}

	first.signal(t, syscall.SIGKILL)
	second := replaced(first)
	start()

	second.signal(t, syscall.SIGSTOP)
	third := replaced(second)
	_, before := o.since(0)
	second.signal(t, syscall.SIGCONT)
	require.Eventually(t, func() bool { _, n := o.since(0); return n > before+50 }, soon, time.Millisecond)
	o.mu.Lock()
	late := 0
	for _, by := range o.by[before:] {
		if by == second {
			late++
		}
	}
	o.mu.Unlock()
	require.LessOrEqual(t, late, 1, "who was paused handles no more than what was in its hands")

	proxies[third].Stall()
	fourth := replaced(third)
	proxies[third].Resume()
	proxies[fourth].Down()
	replaced(fourth)
	proxies[fourth].Up()

	stopWriting()
	writer.Wait()
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.handled[len(o.handled)-1] == uint64(written)
	}, soon, time.Millisecond, "the last event is handled")
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Empty(t, o.errors)
	last, repeated := uint64(0), 0
	for _, position := range o.handled {
		switch {
		case position == last+1:
			last++
		case position <= last:
			repeated++
		default:
			t.Fatalf("event %d was handled after event %d", position, last)
		}
	}
	require.Equal(t, uint64(written), last)
	// What an owner handled and could not save: for as long as its lease, where it was
	// cut off, and a few checkpoints more.
	most := takeovers * (int(childLease/childPace) + 3*childCheckpoint)
	require.LessOrEqual(t, repeated, most, "handled twice, in %d takeovers", takeovers)
	t.Logf("%d events, %d handled twice in %d takeovers", written, repeated, takeovers)
}
