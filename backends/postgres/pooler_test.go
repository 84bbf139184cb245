package postgres_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// pooler is a double of a transaction pooler such as PgBouncer: a client has a
// server connection while its transaction lasts, and here it never gets the same
// one twice in a row. It knows nothing of prepared statements and refuses startup
// parameters as PgBouncer does. It has no passwords, no TLS and no COPY.
type pooler struct {
	t        testing.TB
	upstream *pgconn.Config
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	idle    []*serverConn // the one that has rested longest comes first
	clients map[uint32]*poolerClient
	entered uint32 // clients, ever
	turns   int    // transactions that were carried
}

type serverConn struct {
	*pgconn.HijackedConn
	reader *bufio.Reader
}

type poolerClient struct {
	net.Conn
	reader *bufio.Reader
	id     uint32
	server *serverConn // while in a transaction; guarded by the pooler's lock
	last   *serverConn
}

// startPooler starts a pooler before a server and returns the URL that leads
// through it.
func startPooler(t testing.TB, upstream string) (p *pooler, through string) {
	t.Helper()
	config, err := pgconn.ParseConfig(upstream)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p = &pooler{t: t, upstream: config, listener: listener, clients: make(map[uint32]*poolerClient)}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, c := range p.clients {
			_ = c.Close()
			if c.server != nil {
				_ = c.server.Conn.Close()
			}
		}
		p.mu.Unlock()
		p.running.Wait()
		p.forget()
	})
	u, err := url.Parse(upstream)
	require.NoError(t, err)
	u.Host = listener.Addr().String()
	return p, u.String()
}

func (p *pooler) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() {
			defer conn.Close()
			c := &poolerClient{Conn: conn, reader: bufio.NewReader(conn)}
			if p.greet(c) == nil {
				_ = p.serve(c) // it ends when either side goes
				p.leave(c)
			}
		})
	}
}

// greet lets a client in, or carries its request to cancel to where its
// transaction is.
func (p *pooler) greet(c *poolerClient) error {
	var length [4]byte
	if _, err := io.ReadFull(c.reader, length[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(length[:])-4)
	if _, err := io.ReadFull(c.reader, body); err != nil {
		return err
	}
	var cancel pgproto3.CancelRequest
	if cancel.Decode(body) == nil {
		p.cancel(cancel.ProcessID)
		return io.EOF
	}
	var startup pgproto3.StartupMessage
	if err := startup.Decode(body); err != nil {
		return err
	}
	answer := pgproto3.NewBackend(nil, c.Conn)
	for name := range startup.Parameters {
		if !slices.Contains([]string{"user", "database", "application_name", "client_encoding"}, name) {
			answer.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: " + name})
			return errors.Join(answer.Flush(), io.EOF)
		}
	}
	p.mu.Lock()
	p.entered++
	c.id = p.entered
	p.clients[c.id] = c
	p.mu.Unlock()
	answer.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"server_version": "15.0", "client_encoding": "UTF8", "standard_conforming_strings": "on"} {
		answer.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	answer.Send(&pgproto3.BackendKeyData{ProcessID: c.id, SecretKey: []byte("none")})
	answer.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return answer.Flush()
}

// serve carries one exchange after the other: what the client sends up to a Query
// or Sync, and the server's answer to it.
func (p *pooler) serve(c *poolerClient) error {
	for {
		kind, frame, err := readFrame(c.reader)
		if err != nil || kind == 'X' {
			return err
		}
		if err := p.take(c); err != nil {
			return err
		}
		if _, err := c.server.Conn.Write(frame); err != nil {
			return err
		}
		if kind != 'Q' && kind != 'S' {
			continue
		}
		for kind = 0; kind != 'Z'; {
			if kind, frame, err = readFrame(c.server.reader); err != nil {
				return err
			}
			if kind == 'Z' && frame[5] == 'I' {
				p.give(c) // before the client knows, for its next words may be quick
			}
			if _, err := c.Write(frame); err != nil {
				return err
			}
		}
	}
}

// readFrame reads a message as it is: its type, its length, its body.
func readFrame(r io.Reader) (kind byte, frame []byte, err error) {
	frame = make([]byte, 5)
	if _, err := io.ReadFull(r, frame); err != nil {
		return 0, nil, err
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame[1:])-4)...)
	_, err = io.ReadFull(r, frame[5:])
	return frame[0], frame, err
}

// take gives a client that has none a server connection, another one than last time.
func (p *pooler) take(c *poolerClient) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.server != nil {
		return nil
	}
	p.turns++
	if i := slices.IndexFunc(p.idle, func(s *serverConn) bool { return s != c.last }); i >= 0 {
		c.server = p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, p.upstream)
	if err != nil {
		return err
	}
	if err := conn.SyncConn(ctx); err != nil { // otherwise the driver may still be reading
		return err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return err
	}
	c.server = &serverConn{hijacked, bufio.NewReader(hijacked.Conn)}
	return nil
}

func (p *pooler) give(c *poolerClient) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.last = c.server
	p.idle = append(p.idle, c.server)
	c.server = nil
}

// leave ends what a client has left unfinished.
func (p *pooler) leave(c *poolerClient) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, c.id)
	if c.server != nil {
		_ = c.server.Conn.Close()
		c.server = nil
	}
}

// cancel holds the lock until the server has heard of it, so that it hits nobody
// else's transaction.
func (p *pooler) cancel(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[id]
	if c == nil || c.server == nil {
		return
	}
	conn, err := (&net.Dialer{Timeout: soon}).Dial("tcp", c.server.Conn.RemoteAddr().String())
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	request, err := (&pgproto3.CancelRequest{ProcessID: c.server.PID, SecretKey: c.server.SecretKey}).Encode(nil)
	if err == nil {
		_, _ = conn.Write(request)
		_, _ = conn.Read(make([]byte, 1)) // the server closes it
	}
}

// forget closes the idle server connections, after a restart of the server.
func (p *pooler) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		_ = s.Conn.Close()
	}
	p.idle = nil
}

// leftovers says what sessions carry on from one transaction to the next.
func (p *pooler) leftovers(ctx context.Context) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		conn, err := pgconn.Construct(s.HijackedConn)
		require.NoError(p.t, err)
		results, err := conn.Exec(ctx, `
			select 'lock ' || objid from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'
			union all select 'listen ' || c from pg_listening_channels() c
			union all select 'prepared ' || name from pg_prepared_statements
			union all select 'setting ' || name || '=' || setting from pg_settings where source = 'session'`).ReadAll()
		require.NoError(p.t, err)
		for _, row := range results[0].Rows {
			found = append(found, string(row[0]))
		}
		require.NoError(p.t, conn.Close(ctx))
	}
	p.idle = nil
	return found
}
