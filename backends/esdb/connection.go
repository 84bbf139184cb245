package esdb

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// connection leads to the node that accepts writes. It dials when it is first
// used. A single host is gRPC's to reconnect to; a leader that a node named, or
// that was found by gossip, is looked for anew when it is lost.
type connection struct {
	settings settings

	mu      sync.Mutex
	closed  bool
	current *node              // nil: to be found
	open    map[*node]struct{} // current, and those replaced that calls still use
	search  *search            // nil: none is under way
}

// node is a gRPC connection to one server, and how many calls use it.
type node struct {
	address string
	conn    *grpc.ClientConn
	streams streams.StreamsClient
	uses    int
}

// search is a discovery under way, for everyone who waits for it.
type search struct {
	waiting   int
	abandoned bool // everyone left, whoever has come since
	cancel    context.CancelFunc
	done      chan struct{}
	err       error // once done
}

func newConnection(s settings) *connection {
	return &connection{settings: s, open: make(map[*node]struct{})}
}

// use returns a node, which release gives back.
func (c *connection) use(ctx context.Context) (*node, error) {
	for {
		n, s, err := c.ready()
		if n != nil || err != nil {
			return n, err
		}
		select {
		case <-s.done:
			if s.err != nil && !s.abandoned {
				return nil, s.err
			}
		case <-ctx.Done():
			c.leave(s)
			return nil, ctx.Err()
		}
	}
}

// ready returns the current node, or the search to wait for.
func (c *connection) ready() (*node, *search, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, eventstore.ErrClosed
	}
	if c.current == nil && !c.settings.gossips {
		if err := c.adopt(c.settings.seeds[0]); err != nil {
			return nil, nil, err
		}
	}
	if c.current != nil {
		c.current.uses++
		return c.current, nil, nil
	}
	if c.search == nil {
		ctx, cancel := context.WithCancel(context.Background())
		c.search = &search{cancel: cancel, done: make(chan struct{})}
		go c.find(ctx, c.search)
	}
	c.search.waiting++
	return nil, c.search, nil
}

// find looks for the leader until it has one, gives up or nobody waits.
func (c *connection) find(ctx context.Context, s *search) {
	address, err := c.settings.discover(ctx)
	s.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !c.closed {
		err = c.adopt(address)
	}
	s.err, s.abandoned = err, s.abandoned || c.closed
	c.search = nil
	close(s.done)
}

// leave is for a caller who no longer waits; the last one ends the search.
func (c *connection) leave(s *search) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.waiting--; s.waiting == 0 && c.search == s {
		s.abandoned = true
		s.cancel()
	}
}

// adopt makes a node current. It does no I/O: gRPC dials at the first call.
func (c *connection) adopt(address string) error {
	conn, err := grpc.NewClient(address, c.settings.options...)
	if err != nil {
		return fmt.Errorf("%w: connect to %q: %w", eventstore.ErrUnavailable, address, err)
	}
	c.current = &node{address: address, conn: conn, streams: streams.NewStreamsClient(conn)}
	c.open[c.current] = struct{}{}
	return nil
}

// release gives a node back. One that was replaced is closed by its last call.
func (c *connection) release(n *node) {
	c.mu.Lock()
	n.uses--
	spent := c.drop(n)
	c.mu.Unlock()
	spent.close()
}

// replace stops using a node for new calls, and goes to the next one if it is known.
func (c *connection) replace(n *node, next string) {
	c.mu.Lock()
	var spent *node
	if c.current == n && !c.closed {
		c.current = nil
		spent = c.drop(n)
		if next != "" {
			_ = c.adopt(next) // one that cannot be dialled is looked for
		}
	}
	c.mu.Unlock()
	spent.close()
}

// drop returns the node if it is to be closed.
func (c *connection) drop(n *node) *node {
	if n == c.current || n.uses > 0 {
		return nil
	}
	if _, ok := c.open[n]; !ok {
		return nil // close had it
	}
	delete(c.open, n)
	return n
}

func (n *node) close() {
	if n != nil {
		_ = n.conn.Close() // fails only where it is closed
	}
}

// close ends every call and search.
func (c *connection) close() {
	c.mu.Lock()
	c.closed, c.current = true, nil
	open := c.open
	c.open = nil
	if c.search != nil {
		c.search.cancel()
	}
	c.mu.Unlock()
	for n := range open {
		n.close()
	}
}

func (c *connection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// failed heeds what a call's failure says of its node, and returns the failure
// with what the trailers tell.
func (c *connection) failed(n *node, err error, trailer metadata.MD) error {
	exception := first(trailer, "exception")
	switch {
	case c.isClosed():
		return fmt.Errorf("%w: %w", errClosing, err)
	case exception == "not-leader":
		leader := ""
		if host := first(trailer, "leader-endpoint-host"); host != "" {
			leader = net.JoinHostPort(host, first(trailer, "leader-endpoint-port"))
		}
		c.replace(n, leader)
		return fmt.Errorf("%w: %w", errNotLeader, err)
	case exception == "stream-deleted":
		return fmt.Errorf("%w: %w", errTombstoned, err)
	case status.Code(err) == codes.Unavailable && (c.settings.gossips || n.address != c.settings.seeds[0]):
		c.replace(n, "")
	}
	return err
}

func first(md metadata.MD, key string) string {
	if values := md.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}
