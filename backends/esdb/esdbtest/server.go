package esdbtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Server is a running double. Its methods may be called concurrently.
type Server struct {
	opts  Options
	store *store
	hooks atomic.Pointer[Hooks]
	role  role
	auth  *auth // nil when insecure

	address string                // set once, by Start; a restart finds the same port again
	conns   atomic.Pointer[conns] // nil when stopped

	lifecycle sync.Mutex // one Start, Stop or Restart at a time; never taken by a call
	grpc      *grpc.Server
	served    chan struct{} // closed when grpc's accept loop ended
}

// Start starts a double on the options' address; nil options are the defaults.
// Stop it when done.
func Start(opts *Options) (*Server, error) {
	o := opts.withDefaults()
	s := &Server{opts: o, store: newStore(o.Now), address: o.Address}
	s.hooks.Store(&Hooks{})
	s.role.ready = true
	if o.Secure {
		host, _, err := net.SplitHostPort(o.Address)
		if err != nil {
			return nil, fmt.Errorf("esdbtest: address %q: %w", o.Address, err)
		}
		if s.auth, err = newAuth(o, host); err != nil {
			return nil, err
		}
	}
	s.store.writeFirstSystemEvents()
	s.store.writeHistory(o.History)
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if err := s.listenAndServe(); err != nil {
		return nil, err
	}
	return s, nil
}

// Address returns the host:port the server listens on, also while stopped.
func (s *Server) Address() string {
	return s.address
}

// URL returns the connection string for the client: esdb://127.0.0.1:port with
// tls=false, or with the admin's credentials when the server is secure. The
// latter sets tlsVerifyCert=false; see [Server.VerifiedURL] for one that verifies.
func (s *Server) URL() string {
	if s.auth == nil {
		return s.url("tls=false")
	}
	return s.url("tls=true&tlsVerifyCert=false")
}

// VerifiedURL is the URL of a secure server whose authority's certificate, see
// [Server.CertificatePEM], is in that file.
func (s *Server) VerifiedURL(authorityFile string) string {
	return s.url("tls=true&tlsCAFile=" + url.QueryEscape(authorityFile))
}

func (s *Server) url(query string) string {
	u := url.URL{Scheme: "esdb", Host: s.endpoint(), RawQuery: query}
	if s.auth != nil {
		u.User = url.UserPassword(adminName, defaultPassword)
	}
	return u.String()
}

// CertificatePEM returns the certificate of the authority that signed a secure
// server's, nil otherwise. A client that trusts it can verify the server.
func (s *Server) CertificatePEM() []byte {
	if s.auth == nil {
		return nil
	}
	return s.auth.authorityPEM
}

// Stop cuts all connections, ends all calls and frees the port. The log is
// kept for [Server.Restart]. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stop()
}

// Restart stops the server if it runs and starts it again on the same port,
// with the log it had. As on the real server the cache of event ids, by which
// appends with Any are recognised as repeated, starts empty, and one more
// system event is written.
func (s *Server) Restart() error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stop()
	s.store.restart()
	return s.listenAndServe()
}

// DropConnections cuts every client's connection; the server goes on and
// clients may connect anew.
func (s *Server) DropConnections() {
	s.dropConnection("")
}

func (s *Server) dropConnection(remote string) {
	if c := s.conns.Load(); c != nil {
		c.cut(remote)
	}
}

// endpoint is the address told to clients: one they can dial.
func (s *Server) endpoint() string {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return s.address
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func (s *Server) listenAndServe() error {
	c, err := listen(s.address)
	if err != nil {
		return fmt.Errorf("esdbtest: listen: %w", err)
	}
	if s.grpc == nil {
		s.address = c.Addr().String()
	}
	s.conns.Store(c)

	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(s.opts.MaxMessageSize),
		grpc.MaxConcurrentStreams(maxCalls),
		// The real server answers any number of pings. grpc-go by default
		// hangs up on a client that pings every 10 s, as this one does, with
		// too_many_pings; a minimum of 1 ns never strikes.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Nanosecond, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.ForceServerCodecV2(codec{}),
		grpc.WaitForHandlers(true), // so that Stop leaves no goroutine behind
	}
	if s.auth != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{s.auth.cert},
			MinVersion:   tls.VersionTLS12,
		})), grpc.UnaryInterceptor(s.authenticateUnary), grpc.StreamInterceptor(s.authenticateStream))
	}
	server, served := grpc.NewServer(options...), make(chan struct{})
	streams.RegisterStreamsServer(server, &streamsService{srv: s})
	gossip.RegisterGossipServer(server, &gossipService{srv: s})
	serverfeatures.RegisterServerFeaturesServer(server, &featuresService{opts: &s.opts})
	s.grpc, s.served = server, served
	go func() {
		defer close(served)
		// Serve ends when stop closes the listener; nobody is left to tell.
		if err := server.Serve(c); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			c.cut("")
		}
	}()
	return nil
}

func (s *Server) stop() {
	c := s.conns.Swap(nil)
	if c == nil {
		return
	}
	_ = c.Close() // nobody connects while the rest is cut
	c.cut("")     // a hard end: no farewell, as when a machine dies
	s.grpc.Stop()
	<-s.served
}

// conns is a listener that knows its open connections, so that they can be cut.
type conns struct {
	net.Listener

	mu   sync.Mutex
	open map[string]net.Conn // by remote address
}

func listen(address string) (*conns, error) {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", address)
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
