package tcpproxy_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// parrot is a server that answers each line with "got: " and the line.
type parrot struct {
	addr string

	mu    sync.Mutex
	heard []string
}

func startParrot(t *testing.T) *parrot {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &parrot{addr: listener.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() { listener.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.talk(conn) })
		}
	})
	return p
}

func (p *parrot) talk(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		p.mu.Lock()
		p.heard = append(p.heard, lines.Text())
		p.mu.Unlock()
		if _, err := io.WriteString(conn, "got: "+lines.Text()+"\n"); err != nil {
			return
		}
	}
}

func (p *parrot) hasHeard(line string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.heard {
		if h == line {
			return true
		}
	}
	return false
}

func dial(t *testing.T, p *tcpproxy.Proxy) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

func hear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// ending reads to the connection's end and returns what came before and how it ended.
func ending(conn net.Conn) (string, error) {
	rest, err := io.ReadAll(conn)
	return string(rest), err
}

func requireReset(t *testing.T, conn net.Conn) {
	t.Helper()
	rest, err := ending(conn)
	require.Empty(t, rest)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func requireClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	rest, err := ending(conn)
	require.Empty(t, rest)
	require.NoError(t, err) // EOF
}

func soon(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, what)
}

func TestBytesPassBothWays(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	conn := dial(t, p)
	say(t, conn, "hello\n")
	hear(t, conn, "got: hello\n")
	require.Equal(t, 1, p.Connections())

	conn.Close()
	soon(t, "the connection is forgotten", func() bool { return p.Connections() == 0 })
	require.Zero(t, p.Cuts())
}

func TestAClientThatHasFinishedSendingStillHears(t *testing.T) {
	conn := dial(t, tcpproxy.New(t, startParrot(t).addr))
	say(t, conn, "last words\n")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	rest, err := ending(conn)
	require.NoError(t, err)
	require.Equal(t, "got: last words\n", rest)
}

func TestARequestCanBeCutBeforeTheServerSeesIt(t *testing.T) {
	server := startParrot(t)
	p := tcpproxy.New(t, server.addr)
	conn := dial(t, p)
	say(t, conn, "begin\n")
	hear(t, conn, "got: begin\n")

	p.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("commit\n"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
	say(t, conn, "commit\n")
	requireReset(t, conn)
	require.Equal(t, 1, p.Cuts())
	require.False(t, server.hasHeard("commit"))
}

func TestAnAnswerCanBeCutAfterTheServerHasActed(t *testing.T) {
	for name, how := range map[string]tcpproxy.Cut{"by RST": tcpproxy.Reset, "by FIN": tcpproxy.Close} {
		for rule, newRule := range map[string]func() tcpproxy.Rule{
			"the answer itself": tcpproxy.On(tcpproxy.FromServer, tcpproxy.Contains("got: commit"), tcpproxy.Verdict{Cut: how}),
			"what follows":      tcpproxy.OnAnswer(tcpproxy.Contains("commit\n"), tcpproxy.Verdict{Cut: how}),
		} {
			t.Run(rule+" "+name, func(t *testing.T) {
				server := startParrot(t)
				p := tcpproxy.New(t, server.addr)
				p.SetRule(newRule)
				conn := dial(t, p)
				say(t, conn, "begin\n")
				hear(t, conn, "got: begin\n")
				say(t, conn, "commit\n")
				if how == tcpproxy.Reset {
					requireReset(t, conn)
				} else {
					requireClosed(t, conn)
				}
				require.True(t, server.hasHeard("commit"))
				require.Equal(t, 1, p.Cuts())
			})
		}
	}
}

func TestAMatchMayBeSpreadOverChunks(t *testing.T) {
	server := startParrot(t)
	p := tcpproxy.New(t, server.addr)
	p.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("commit"), tcpproxy.Verdict{Cut: tcpproxy.Close}))
	conn := dial(t, p)
	say(t, conn, "first\ncom")
	hear(t, conn, "got: first\n")
	say(t, conn, "mit\n")
	requireClosed(t, conn)
	require.Equal(t, 1, p.Cuts())
}

func TestEachConnectionHasARuleOfItsOwn(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	p.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("commit"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
	a, b := dial(t, p), dial(t, p)
	say(t, a, "com")
	say(t, b, "mit\n")
	hear(t, b, "got: mit\n")
	say(t, a, "mit\n")
	requireReset(t, a)
	say(t, b, "still here\n")
	hear(t, b, "got: still here\n")
}

func TestARemovedRuleCutsNothing(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	p.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("x"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
	conn := dial(t, p)
	p.SetRule(nil)
	say(t, conn, "x\n")
	hear(t, conn, "got: x\n")
}

func TestARuleMayForwardAndThenCut(t *testing.T) {
	server := startParrot(t)
	p := tcpproxy.New(t, server.addr)
	p.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("commit\n"),
		tcpproxy.Verdict{Forward: true, Cut: tcpproxy.Close}))
	conn := dial(t, p)
	say(t, conn, "commit\n")
	requireClosed(t, conn)
	soon(t, "the server hears it", func() bool { return server.hasHeard("commit") })
}

func TestCutAllEndsEveryConnectionAndNewOnesWork(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	var conns []net.Conn
	for range 5 {
		conn := dial(t, p)
		say(t, conn, "hi\n")
		hear(t, conn, "got: hi\n")
		conns = append(conns, conn)
	}
	p.CutAll(tcpproxy.Reset)
	for _, conn := range conns {
		requireReset(t, conn)
	}
	conn := dial(t, p)
	say(t, conn, "again\n")
	hear(t, conn, "got: again\n")
	p.CutAll(tcpproxy.Close)
	requireClosed(t, conn)
	require.Zero(t, p.Cuts(), "only rules are counted")
}

func TestAStallHoldsBytesUntilResume(t *testing.T) {
	server := startParrot(t)
	p := tcpproxy.New(t, server.addr)
	conn := dial(t, p)
	say(t, conn, "one\n")
	hear(t, conn, "got: one\n")

	p.Stall()
	say(t, conn, "two\n")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.False(t, server.hasHeard("two"))

	p.Resume()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	hear(t, conn, "got: two\n")
}

func TestAStalledConnectionCanBeCut(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	conn := dial(t, p)
	soon(t, "it is served", func() bool { return p.Connections() == 1 })
	p.Stall()
	say(t, conn, "never heard\n")
	p.CutAll(tcpproxy.Reset)
	requireReset(t, conn)
}

func TestSwallowedBytesArriveNowhere(t *testing.T) {
	server := startParrot(t)
	p := tcpproxy.New(t, server.addr)
	p.SetRule(tcpproxy.Swallow)
	conn := dial(t, p)
	soon(t, "it is served", func() bool { return p.Connections() == 1 })
	say(t, conn, "lost\n")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, server.hasHeard("lost"))
	require.Equal(t, 1, p.Connections())
}

func TestDownResetsOldAndNewConnectionsUntilUp(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	old := dial(t, p)
	soon(t, "it is served", func() bool { return p.Connections() == 1 })
	p.Down()
	requireReset(t, old)

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	if err == nil { // accepted by the system before the proxy saw it
		defer conn.Close()
		requireReset(t, conn)
	}

	p.Up()
	conn = dial(t, p)
	say(t, conn, "back\n")
	hear(t, conn, "got: back\n")
}

func TestADeadTargetResetsTheClient(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := tcpproxy.New(t, listener.Addr().String())
	listener.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	if err == nil {
		defer conn.Close()
		requireReset(t, conn)
	}
}

func TestManyConnectionsUnderCutsLeakNothing(t *testing.T) {
	p := tcpproxy.New(t, startParrot(t).addr)
	p.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("cut"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
	var clients sync.WaitGroup
	for i := range 32 {
		conn := dial(t, p)
		clients.Go(func() {
			defer conn.Close()
			for range 20 {
				if _, err := io.WriteString(conn, "talk\n"); err != nil {
					return
				}
			}
			if i%2 == 0 {
				_, _ = io.WriteString(conn, "cut\n")
			} else {
				p.CutAll(tcpproxy.Close) // which may come too early for this one
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	clients.Wait()
	soon(t, "all connections end", func() bool { return p.Connections() == 0 })
}

func TestForURLKeepsEverythingButTheHost(t *testing.T) {
	server := startParrot(t)
	p, through := tcpproxy.ForURL(t, "postgres://me:secret@"+server.addr+"/db?sslmode=disable")
	require.Equal(t, "postgres://me:secret@"+p.Addr()+"/db?sslmode=disable", through)
}

func TestTheProxyEndsWithItsTest(t *testing.T) {
	server := startParrot(t)
	var addr string
	t.Run("inner", func(t *testing.T) {
		p := tcpproxy.New(t, server.addr)
		addr = p.Addr()
		p.Stall()
		say(t, dial(t, p), strings.Repeat("x", 1<<20)+"\n")
	})
	_, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
