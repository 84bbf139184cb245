package pgdriver

import (
	"context"
	"time"
)

// leftFor is how long a call may still take whose caller does not want it any more.
const leftFor = 100 * time.Millisecond

// Lingering returns a context for a read: it ends with the handle's lifetime, and a
// little after ctx, for a caller that leaves should wait for the read to end. To cut a
// query off is to lose its connection, and to make a new one costs the server more than
// a page, which is bounded and takes milliseconds. A goroutine of its own would let the
// caller go at once, and cost every read that is not left half as much as the read.
func Lingering(ctx, lifetime context.Context) (context.Context, context.CancelFunc) {
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := context.AfterFunc(lifetime, cancel)
	left := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(leftFor, cancel)
		context.AfterFunc(within, func() { timer.Stop() })
	})
	return within, func() {
		left()
		ended()
		cancel()
	}
}
