//go:build unix

package testservers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	superuser      = "postgres"
	stopTimeout    = 30 * time.Second
	reclaimTimeout = 5 * time.Second
	pollEvery      = 5 * time.Millisecond
)

// cluster is a private server: a folder with data, log and password, and the
// process that serves it.
type cluster struct {
	dir      string
	bin      string
	user     *syscall.Credential // nil: as ourselves
	port     int
	password string
	settings map[string]string
	guard    *guard

	mu         sync.Mutex
	postmaster *process // the last one started
	killed     bool     // and left shared memory behind
	closed     bool
}

func newCluster(ctx context.Context, opts PostgresOptions, download bool) (_ *cluster, err error) {
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	bin, downloaded, err := findPrograms(ctx, download)
	if err != nil {
		return nil, err
	}
	var folders []string // of ours, to be removed
	if downloaded && user != nil {
		if bin, err = copyForOthers(bin); err != nil {
			return nil, err
		}
		folders = append(folders, filepath.Dir(bin))
	}
	if opts.Dir == "" {
		opts.Dir = os.TempDir()
	}
	dir, err := os.MkdirTemp(opts.Dir, "switchyard-postgres-")
	if err != nil {
		return nil, errors.Join(err, removeAll(folders))
	}
	folders = append(folders, dir)
	c := &cluster{dir: dir, bin: bin, user: user, password: rand.Text(), settings: opts.Settings}
	if c.guard, err = startGuard("QUIT", folders); err != nil {
		return nil, errors.Join(err, removeAll(folders))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := c.initialise(ctx); err != nil {
		return nil, err
	}
	return c, c.startOnFreePort(ctx)
}

func removeAll(folders []string) error {
	var err error
	for _, folder := range folders {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return err
}

func (c *cluster) dataDir() string { return filepath.Join(c.dir, "data") }
func (c *cluster) logFile() string { return filepath.Join(c.dir, "server.log") }

func (c *cluster) url() string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=disable", superuser, c.password, c.port)
}

// initialise creates the data folder.
func (c *cluster) initialise(ctx context.Context) error {
	passwordFile := filepath.Join(c.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(c.password+"\n"), 0o600); err != nil {
		return err
	}
	if c.user != nil {
		for _, name := range []string{c.dir, passwordFile} {
			if err := os.Chown(name, int(c.user.Uid), int(c.user.Gid)); err != nil {
				return err
			}
		}
	}
	// Not synced to disk here, once: the server's own writes are.
	cmd := c.command(ctx, "initdb", "--pgdata", c.dataDir(), "--username", superuser, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("testservers: initdb: %w\n%s", err, out)
	}
	return nil
}

// command prepares one of PostgreSQL's programs, in a process group of its own so
// that a Ctrl-C reaches the tests and not the server.
func (c *cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "LC_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user, Setpgid: true}
	return cmd
}

// startOnFreePort is the first start. A port that was free a moment ago may be
// taken, and then another one is tried.
func (c *cluster) startOnFreePort(ctx context.Context) error {
	for {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		c.port = port
		err = c.start(ctx)
		if err == nil || !strings.Contains(c.logTail(), "could not create any TCP/IP sockets") {
			return err
		}
		if err := os.Remove(c.logFile()); err != nil {
			return err
		}
	}
}

// start starts the postmaster and returns when it answers.
func (c *cluster) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("testservers: the server is closed")
	}
	return c.launch(ctx)
}

func (c *cluster) launch(ctx context.Context) error {
	if c.postmaster.alive() {
		return errors.New("testservers: the server runs already")
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// The context bounds the start, and must not end the server.
	cmd := c.command(context.WithoutCancel(ctx), "postgres", c.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	if c.postmaster, err = startProcess(cmd); err != nil {
		return err
	}
	c.guard.watch(c.postmaster.pid)
	c.killed = false
	return c.postmaster.ready(ctx, 4*pollEvery, func(ctx context.Context) error { return ping(ctx, c.url()) }, c.logTail)
}

func (c *cluster) arguments() []string {
	args := []string{
		"-D", c.dataDir(), "-p", fmt.Sprint(c.port),
		"-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=",
		"-c", "max_connections=200",
	}
	for name, value := range c.settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

func (c *cluster) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.postmaster.alive()
}

func (c *cluster) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end(syscall.SIGINT) // PostgreSQL's fast shutdown
}

// end asks the postmaster to stop by a signal and waits for it.
func (c *cluster) end(by syscall.Signal) error {
	if !c.postmaster.alive() {
		return nil
	}
	if err := c.postmaster.signal(by); err != nil {
		return err
	}
	select {
	case <-c.postmaster.ended:
		c.guard.watch(0)
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("testservers: the server has not stopped within %v:\n%s", stopTimeout, c.logTail())
	}
}

func (c *cluster) kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.postmaster.alive() {
		return errors.New("testservers: the server does not run")
	}
	err := c.postmaster.killTree()
	c.guard.watch(0)
	c.killed = true
	return err
}

func (c *cluster) pause(pid int) error  { return c.signalBackend(pid, syscall.SIGSTOP) }
func (c *cluster) resume(pid int) error { return c.signalBackend(pid, syscall.SIGCONT) }

func (c *cluster) signalBackend(pid int, sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.postmaster.alive() {
		return errors.New("testservers: the server does not run")
	}
	children, err := childrenOf(c.postmaster.pid)
	if err != nil {
		return err
	}
	for _, child := range children {
		if child == pid {
			return syscall.Kill(pid, sig)
		}
	}
	return fmt.Errorf("testservers: %d is not a process of the server", pid)
}

// close ends the server at once and removes its folder.
func (c *cluster) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if c.killed {
		// Only a server that starts again gives back what the killed one held in
		// shared memory. Where it cannot start, on a full disk say, so be it.
		ctx, cancel := context.WithTimeout(context.Background(), reclaimTimeout)
		defer cancel()
		_ = c.launch(ctx)
	}
	var err error
	if c.postmaster.alive() {
		// An immediate shutdown, not SIGKILL: the postmaster ends its children,
		// the paused ones too, and gives its shared memory back.
		if err = c.end(syscall.SIGQUIT); err != nil {
			err = errors.Join(err, c.postmaster.killTree())
		}
	}
	return errors.Join(err, c.guard.end())
}

func (c *cluster) logTail() string {
	text, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(text, 60)
}

// freePort picks a port below those that systems give to outgoing connections:
// one of those could take the port while the server is down between two starts.
func freePort(ctx context.Context) (int, error) {
	var err error
	for range 100 {
		offset, randErr := rand.Int(rand.Reader, big.NewInt(15000))
		if randErr != nil {
			return 0, randErr
		}
		port := 15000 + int(offset.Int64())
		var listener net.Listener
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("testservers: no free port: %w", err)
}
