package conformance

import (
	"context"
	"sync"
	"time"
)

// tick is how much a countdown counts for each time that its timer fires, however
// late that is.
const tick = 10 * time.Millisecond

// countdown is a context that ends with DeadlineExceeded when the time that begin
// gives it has passed. On a machine that is busy with other things time is not
// counted in which this process got no turn: nothing that is expected of a backend
// could happen in it.
type countdown struct {
	context.Context //nolint:containedctx // it is a context
	done            chan struct{}
	once            sync.Once
	err             error // read it after done
}

// newCountdown returns a countdown that has not begun, and the function that frees it.
func newCountdown(parent context.Context) (*countdown, context.CancelFunc) {
	c := &countdown{Context: parent, done: make(chan struct{})}
	stop := context.AfterFunc(parent, func() { c.end(parent.Err()) })
	return c, func() {
		stop()
		c.end(context.Canceled)
	}
}

func (c *countdown) end(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
	})
}

// begin lets the context end after so long.
func (c *countdown) begin(d time.Duration) {
	go func() {
		timer := time.NewTimer(min(d, tick))
		defer timer.Stop()
		for left := d; ; left -= tick {
			select {
			case <-c.done:
				return
			case <-timer.C:
			}
			if left <= tick {
				c.end(context.DeadlineExceeded)
				return
			}
			timer.Reset(min(left-tick, tick))
		}
	}()
}

// Deadline says that it is not known: the countdown may not have begun.
func (c *countdown) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *countdown) Done() <-chan struct{} { return c.done }

func (c *countdown) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// within is a context for what must happen in so long.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c, cancel := newCountdown(ctx)
	c.begin(d)
	return c, cancel
}
