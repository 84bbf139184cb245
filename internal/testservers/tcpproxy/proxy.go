package tcpproxy

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Proxy forwards connections to one target. Its methods may be called at any
// time, from any goroutine.
type Proxy struct {
	target   string
	listener *net.TCPListener
	pumps    sync.WaitGroup

	mu      sync.Mutex
	conns   map[*conn]struct{}
	newRule func() Rule
	ruleSet int           // how often SetRule was called: connections renew their rule by it
	flowing chan struct{} // closed while bytes flow
	down    bool
	closed  bool
	cuts    int
}

// New starts a proxy to target ("host:port") on a free port of 127.0.0.1. It ends
// with the test, and every connection with it.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Listen("127.0.0.1:0", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Listen starts a proxy to target at an address, both "host:port". Close ends it.
func Listen(address, target string) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("tcpproxy: %w", err)
	}
	p := &Proxy{
		target:   target,
		listener: listener.(*net.TCPListener),
		conns:    map[*conn]struct{}{},
		newRule:  passAll,
		flowing:  make(chan struct{}),
	}
	close(p.flowing)
	p.pumps.Go(p.accept)
	return p, nil
}

// ForURL starts a proxy to the host of rawURL and returns it with the same URL
// leading through it.
func ForURL(t testing.TB, rawURL string) (proxy *Proxy, through string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil || u.Port() == "" {
		t.Fatalf("tcpproxy: want a URL with host and port") // and keep its password out of the log
	}
	proxy = New(t, u.Host)
	u.Host = proxy.Addr()
	return proxy, u.String()
}

// Addr is the address to connect to, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetRule applies newRule from now on: each connection, open or new, gets a rule
// of its own from it. Nil removes the rule.
func (p *Proxy) SetRule(newRule func() Rule) {
	if newRule == nil {
		newRule = passAll
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newRule = newRule
	p.ruleSet++
}

// Cuts returns how many connections rules have cut so far.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Connections returns how many connections are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// CutAll cuts every open connection. New ones are served.
func (p *Proxy) CutAll(how Cut) {
	for _, c := range p.open() {
		c.cut(how)
	}
}

// Stall holds back all bytes in both directions, connections stay open. Bytes
// already handed to the system still arrive.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
		p.flowing = make(chan struct{})
	default: // stalled already
	}
}

// Resume ends a Stall: what was held back goes on its way.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
}

// Down resets every connection, and each new one at once, until Up.
func (p *Proxy) Down() {
	p.setDown(true)
	p.CutAll(Reset)
}

// Up ends Down.
func (p *Proxy) Up() { p.setDown(false) }

func (p *Proxy) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *Proxy) open() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c)
	}
	return all
}

// Close ends the proxy and every connection.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.CutAll(Reset)
	p.pumps.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.AcceptTCP()
		if err != nil {
			return // closed
		}
		p.pumps.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	server, err := p.dial()
	if err != nil {
		reset(client)
		return
	}
	c := &conn{proxy: p, client: client, server: server, gone: make(chan struct{})}
	if !p.add(c) {
		c.cut(Reset)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.pump(FromClient, client, server) })
	both.Go(func() { c.pump(FromServer, server, client) })
	both.Wait()
	client.Close()
	server.Close()
	p.remove(c)
}

func (p *Proxy) dial() (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (p *Proxy) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func passAll() Rule {
	return func(Side, []byte) Verdict { return Pass() }
}
