package esdbtest

import (
	"net"
	"sync"
)

// conns is a listener that knows its open connections, so that they can be cut.
type conns struct {
	net.Listener

	mu   sync.Mutex
	open map[string]net.Conn // by remote address
}

func listen(address string) (*conns, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &conns{Listener: l, open: make(map[string]net.Conn)}, nil
}

// Accept implements net.Listener.
func (c *conns) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn.RemoteAddr().String()] = conn
	return &trackedConn{Conn: conn, owner: c}, nil
}

// cut closes the connection from that remote address, or all when it is empty,
// without the farewell of the protocol.
func (c *conns) cut(remote string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, conn := range c.open {
		if remote == "" || remote == addr {
			_ = conn.Close() // the peer learns of it by itself
			delete(c.open, addr)
		}
	}
}

type trackedConn struct {
	net.Conn
	owner *conns
}

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	remote := t.RemoteAddr().String()
	t.owner.mu.Lock()
	if t.owner.open[remote] == t.Conn { // a successor may have the same port
		delete(t.owner.open, remote)
	}
	t.owner.mu.Unlock()
	return t.Conn.Close()
}
