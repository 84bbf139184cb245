package esdb

import (
	"context"
	"fmt"
	"net"
	"slices"
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

// node is one server, with the connections to it and how many calls use them.
type node struct {
	address  string
	channels [kinds][]*channel
	uses     int
}

// channel is a gRPC connection, for calls of one kind.
type channel struct {
	node    *node
	kind    kind
	conn    *grpc.ClientConn
	streams streams.StreamsClient
	uses    int
}

// kind is what a call does. A server serves 100 calls at once on a connection, and
// one more waits until another ends: a connection full of subscriptions would hold
// up appends for good. So each kind has connections of its own.
type kind uint8

const (
	appending kind = iota
	reading
	subscribing
	kinds
)

const (
	// callsEach is how many calls one connection carries, somewhat below what
	// servers allow.
	callsEach = 90
	// maxChannels bounds the connections for appends, and those for reads: their calls
	// are short, and one more can wait. Subscriptions get as many as they need.
	maxChannels = 4
)

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

// use returns a connection for one call, which release gives back.
func (c *connection) use(ctx context.Context, k kind) (*channel, error) {
	for {
		l, s, err := c.ready(k)
		if l != nil || err != nil {
			return l, err
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

// ready returns a connection to the current node, or the search to wait for.
func (c *connection) ready(k kind) (*channel, *search, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, eventstore.ErrClosed
	}
	if c.current == nil && !c.settings.gossips {
		c.adopt(c.settings.seeds[0])
	}
	if c.current != nil {
		l, err := c.channel(c.current, k)
		return l, nil, err
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
		c.adopt(address)
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
func (c *connection) adopt(address string) {
	c.current = &node{address: address}
	c.open[c.current] = struct{}{}
}

// channel takes a place on one of a node's connections, on a new one if all are full.
// It does no I/O either.
func (c *connection) channel(n *node, k kind) (*channel, error) {
	var free *channel
	for _, l := range n.channels[k] {
		if free == nil || l.uses < free.uses {
			free = l
		}
	}
	if free == nil || (free.uses >= callsEach && (k == subscribing || len(n.channels[k]) < maxChannels)) {
		conn, err := grpc.NewClient(n.address, c.settings.options...)
		if err != nil {
			return nil, fmt.Errorf("%w: connect to %q: %w", eventstore.ErrUnavailable, n.address, err)
		}
		free = &channel{node: n, kind: k, conn: conn, streams: streams.NewStreamsClient(conn)}
		n.channels[k] = append(n.channels[k], free)
	}
	free.uses++
	n.uses++
	return free, nil
}

// release gives a connection back. One of several that carry subscriptions is
// closed by its last call, and so are all of a node that was replaced.
func (c *connection) release(l *channel) {
	c.mu.Lock()
	l.uses--
	l.node.uses--
	spent := c.drop(l.node)
	if channels := l.node.channels[subscribing]; l.kind == subscribing && l.uses == 0 && len(channels) > 1 {
		l.node.channels[subscribing] = slices.DeleteFunc(channels, func(other *channel) bool { return other == l })
		spent = append(spent, l)
	}
	c.mu.Unlock()
	closeAll(spent)
}

func closeAll(channels []*channel) {
	for _, l := range channels {
		_ = l.conn.Close() // fails only where it is closed
	}
}

// replace stops using a node for new calls, and goes to the next one if it is known.
func (c *connection) replace(n *node, next string) {
	c.mu.Lock()
	var spent []*channel
	if c.current == n && !c.closed {
		c.current = nil
		spent = c.drop(n)
		if next != "" {
			c.adopt(next)
		}
	}
	c.mu.Unlock()
	closeAll(spent)
}

// drop takes a node's connections, if they are to be closed.
func (c *connection) drop(n *node) []*channel {
	if n == c.current || n.uses > 0 {
		return nil
	}
	if _, ok := c.open[n]; !ok {
		return nil // close had it
	}
	delete(c.open, n)
	return n.take()
}

func (n *node) take() []*channel {
	all := slices.Concat(n.channels[:]...)
	n.channels = [kinds][]*channel{}
	return all
}

// close ends every call and search.
func (c *connection) close() {
	c.mu.Lock()
	c.closed, c.current = true, nil
	var all []*channel
	for n := range c.open {
		all = append(all, n.take()...)
	}
	c.open = nil
	if c.search != nil {
		c.search.cancel()
	}
	c.mu.Unlock()
	closeAll(all)
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
