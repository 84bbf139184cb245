package dynamodbtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a running double. Its methods may be called concurrently.
type Server struct {
	store   *store
	hooks   atomic.Pointer[Hooks]
	latency atomic.Int64 // nanoseconds

	address string // set once, by Start; a restart finds the same port again

	lifecycle sync.Mutex // one Stop, Restart or DropConnections at a time; never taken by a call
	listening *listening // nil when stopped
}

// listening is the server between a start and a stop.
type listening struct {
	http   *http.Server
	end    context.CancelFunc // of the hooks' context
	served chan struct{}      // closed when the accept loop has ended
	conns  connections

	mu       sync.Mutex
	ended    bool
	requests sync.WaitGroup
}

// begin counts a request in, unless the server has ended.
func (l *listening) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.requests.Add(1)
	}
	return !l.ended
}

// Start starts a double on the options' address; nil options are the defaults.
// Stop it when done.
func Start(opts *Options) (*Server, error) {
	o := opts.withDefaults()
	s := &Server{store: newStore(o), address: o.Address}
	s.hooks.Store(&Hooks{})
	s.SetLatency(o.Latency)
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// Address returns the host:port the server listens on, also while stopped.
func (s *Server) Address() string { return s.address }

// URL returns the endpoint for clients on this machine: http://127.0.0.1:port.
// They need a region and credentials, any will do.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return "http://" + s.address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// SetLatency sets how long each request takes. A TransactWriteItems spends half
// of it holding its items, so that others meet a conflict as they would.
func (s *Server) SetLatency(d time.Duration) { s.latency.Store(int64(d)) }

// Usage returns what the double has been asked for so far.
func (s *Server) Usage() Usage {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.store.usage.clone()
}

// ResetUsage starts counting from nothing.
func (s *Server) ResetUsage() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.usage = newUsage()
}

// HoldReplicas freezes what reads see that do not ask for consistency: the items
// as they are now, until release is called. Consistent reads see everything.
func (s *Server) HoldReplicas() (release func()) {
	s.store.holdReplicas()
	return s.store.releaseReplicas
}

// Stop cuts all connections, ends all calls and frees the port. Tables and
// client tokens are kept for [Server.Restart]. Stopping a stopped server does
// nothing.
func (s *Server) Stop() {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stop()
}

// Restart stops the server if it runs and starts it again on the same port, with
// all it had.
func (s *Server) Restart() error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stop()
	return s.listen()
}

// DropConnections cuts every client's connection; the server goes on, and so do
// the requests it has received.
func (s *Server) DropConnections() {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if s.listening != nil {
		s.listening.conns.cut()
	}
}

func (s *Server) listen() error {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", s.address)
	if err != nil {
		return fmt.Errorf("dynamodbtest: listen on %s: %w", s.address, err)
	}
	s.address = listener.Addr().String()
	ctx, end := context.WithCancel(context.Background())
	l := &listening{end: end, served: make(chan struct{})}
	l.http = &http.Server{
		Handler:           &handler{server: s, listening: l, ctx: ctx},
		ConnState:         l.conns.track,
		ReadHeaderTimeout: time.Minute,
	}
	s.listening = l
	go func() {
		defer close(l.served)
		// Serve ends when stop closes the listener; nobody is left to tell.
		if err := l.http.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			l.conns.cut()
		}
	}()
	return nil
}

func (s *Server) stop() {
	l := s.listening
	if l == nil {
		return
	}
	s.listening = nil
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.end()
	_ = l.http.Close() // cuts all connections; the port is free in any case
	<-l.served
	l.requests.Wait() // so that Stop leaves no goroutine behind
}

// connections are the open ones, so that they can be cut.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if c.open == nil {
			c.open = map[net.Conn]bool{}
		}
		c.open[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	default:
	}
}

func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close() // the peer learns of it by itself
	}
}
