package tcpproxy

import (
	"errors"
	"io"
	"net"
	"sync"
)

// conn is one connection through the proxy.
type conn struct {
	proxy          *Proxy
	client, server *net.TCPConn
	gone           chan struct{} // closed by the first cut

	mu      sync.Mutex
	rule    Rule
	ruleSet int
	isCut   bool
}

// pump passes on what src sends until either side ends.
func (c *conn) pump(from Side, src, dst *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			c.waitUntilFlowing()
			v := c.decide(from, buf[:n])
			if v.Forward {
				if _, err := dst.Write(buf[:n]); err != nil {
					c.cut(Reset)
				}
			}
			if v.Cut != None {
				c.sever(v.Cut)
			}
		}
		if errors.Is(err, io.EOF) {
			c.waitUntilFlowing()
			_ = dst.CloseWrite() // the other direction may go on
			return
		}
		if err != nil {
			c.cut(Reset)
			return
		}
	}
}

// decide asks the rule. What arrives after a cut is lost.
func (c *conn) decide(from Side, chunk []byte) Verdict {
	newRule, ruleSet := c.proxy.currentRule()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return Verdict{}
	}
	if c.rule == nil || c.ruleSet != ruleSet {
		c.rule, c.ruleSet = newRule(), ruleSet
	}
	v := c.rule(from, chunk)
	if v.Cut != None {
		// From here on nothing else gets through, in either direction, and
		// whoever notices the cut finds it counted.
		c.isCut = true
		close(c.gone)
		c.proxy.countCut()
	}
	return v
}

// cut ends the connection, whatever the rule says.
func (c *conn) cut(how Cut) {
	c.mu.Lock()
	first := !c.isCut
	c.isCut = true
	c.mu.Unlock()
	if first {
		close(c.gone)
	}
	if first || how == Reset { // a reset also ends a connection that is closing
		c.sever(how)
	}
}

func (c *conn) sever(how Cut) {
	if how == Reset {
		reset(c.client)
		reset(c.server)
		return
	}
	// Closing with unread bytes would send RST. So each pump reads on, to
	// nowhere, until its side has closed too.
	_ = c.client.CloseWrite()
	_ = c.server.CloseWrite()
}

func (c *conn) waitUntilFlowing() {
	c.proxy.mu.Lock()
	flowing := c.proxy.flowing
	c.proxy.mu.Unlock()
	select {
	case <-flowing:
	case <-c.gone:
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // makes Close send RST
	_ = c.Close()
}

func (p *Proxy) currentRule() (newRule func() Rule, ruleSet int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newRule, p.ruleSet
}

func (p *Proxy) countCut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
}
