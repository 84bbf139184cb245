package esdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// maxCalls bounds the calls under way on one handle, and so the goroutines that
// an unreachable server can hold.
const maxCalls = 1024

// connection keeps the client's defects inside. The client ignores contexts
// while it connects, dies when discovery fails its last attempt, and panics when
// it is closed with calls outstanding. So each call runs in a goroutine that the
// caller can leave behind, a spent client is replaced, and the last call out
// closes it.
type connection struct {
	dial     func() (*client.Client, error) // nil: the client is the caller's
	lifetime context.Context                //nolint:containedctx // ends at close, and every call with it
	end      context.CancelFunc
	slots    chan struct{}

	mu     sync.Mutex
	closed bool
	client *client.Client
	uses   map[*client.Client]int // calls and subscriptions on each client
	idle   chan struct{}          // closed when the connection is, and nothing uses it
}

func newConnection(c *client.Client, dial func() (*client.Client, error)) *connection {
	lifetime, end := context.WithCancel(context.Background())
	return &connection{
		dial: dial, client: c, lifetime: lifetime, end: end,
		slots: make(chan struct{}, maxCalls),
		uses:  make(map[*client.Client]int),
		idle:  make(chan struct{}),
	}
}

// use returns the client and keeps it from being closed until release.
func (c *connection) use() (*client.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, eventstore.ErrClosed
	}
	c.uses[c.client]++
	return c.client, nil
}

func (c *connection) release(used *client.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.uses[used]--; c.uses[used] > 0 {
		return
	}
	delete(c.uses, used)
	if c.closed || used != c.client {
		c.drop(used)
	}
	if c.closed && len(c.uses) == 0 {
		close(c.idle)
	}
}

// drop closes a client that nothing uses.
func (c *connection) drop(unused *client.Client) {
	if c.dial != nil {
		_ = unused.Close() // it always returns nil
	}
}

// replace puts a new client in the place of one that is spent.
func (c *connection) replace(spent *client.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dial == nil || c.closed || c.client != spent {
		return
	}
	if fresh, err := c.dial(); err == nil {
		c.client = fresh // the old one is closed by its last release
	}
}

// close refuses further calls, ends those under way and gives them a moment. A
// call that the client holds on to, because the server is gone, closes the
// client when it comes back.
func (c *connection) close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	if c.uses[c.client] == 0 {
		c.drop(c.client)
	}
	if len(c.uses) == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	c.end()
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-c.idle:
	case <-grace.C:
	}
}

// bound returns a context that also ends when the connection is closed.
func (c *connection) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.lifetime, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// errNotSent marks a failure before the call began.
var errNotSent = errors.New("not sent")

// do calls fn with the client and returns when fn does, or when ctx is done or
// the connection closed, whichever is first. fn gets a context that ends with
// both. A panic of the client becomes an error. A variable that fn writes may be
// read only if do's error is nil or fn's own: a call that was left behind may
// still be writing.
func do[T any](ctx context.Context, c *connection, fn func(context.Context, *client.Client) (T, error)) (T, error) {
	var none T
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", errNotSent, ctx.Err())
	case <-c.lifetime.Done():
		return none, eventstore.ErrClosed
	}
	using, err := c.use()
	if err != nil {
		<-c.slots
		return none, err
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	bound, cancel := c.bound(ctx)
	go func() {
		var a answer
		defer func() {
			if reason := recover(); reason != nil {
				a = answer{err: fmt.Errorf("esdb: the client panicked: %v", reason)}
			}
			if isSpent(a.err) {
				c.replace(using)
			}
			done <- a // before cancel, so that the caller finds it
			cancel()
			c.release(using)
			<-c.slots
		}()
		a.value, a.err = fn(bound, using)
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-bound.Done():
	}
	select {
	case a := <-done: // it ended at the same moment, and knows more
		return a.value, a.err
	default:
	}
	if ctx.Err() != nil {
		return none, ctx.Err()
	}
	return none, errClosing
}

// isSpent tells whether a client is to be replaced after an error: because it is
// dead, or because it is about to connect anew, which leaks its old connection
// for half an hour, while closing the client closes it.
func isSpent(err error) bool {
	var failed *client.Error
	if !errors.As(err, &failed) {
		return false
	}
	return failed.Code() == client.ErrorCodeConnectionClosed || failed.Code() == client.ErrorUnavailable
}

// errClosing ends a call because the handle was closed under it.
var errClosing = fmt.Errorf("%w while the call was under way", eventstore.ErrClosed)
