//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildTimeout bounds a start of dynoxide, including the one build.
const buildTimeout = 15 * time.Minute

// DynoxideOptions say how to start dynoxide. The zero value keeps its tables in
// memory.
type DynoxideOptions struct {
	// Persistent keeps the tables in a file, so that they survive Kill.
	Persistent bool
}

// Dynoxide is a running server that speaks DynamoDB's protocol, by other authors
// than ours.
type Dynoxide struct {
	program    string
	dir        string
	port       int
	persistent bool
	guard      *guard

	mu     sync.Mutex
	server *process // the last one started
	closed bool
}

// PrivateDynoxide starts a dynoxide for one test alone. It ends with the test; if
// the test has failed, the end of the server's log is shown. Where it cannot be
// had the test is skipped, which is counted, and fails in CI.
func PrivateDynoxide(t testing.TB, opts DynoxideOptions) *Dynoxide {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	program, err := findDynoxide(ctx)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("the second opinion was NOT asked: %v", err)
	}
	d, err := startDynoxide(ctx, program, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log ends:\n%s", d.logTail())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func startDynoxide(ctx context.Context, program string, opts DynoxideOptions) (_ *Dynoxide, err error) {
	dir, err := os.MkdirTemp("", "switchyard-dynoxide-")
	if err != nil {
		return nil, err
	}
	d := &Dynoxide{program: program, dir: dir, persistent: opts.Persistent}
	if d.guard, err = startGuard("KILL", []string{dir}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	for { // a port that was free a moment ago may be taken
		if d.port, err = freePort(ctx); err != nil {
			return nil, err
		}
		err = d.Start(ctx)
		if err == nil || !strings.Contains(d.logTail(), "already in use") {
			return d, err
		}
		if err := os.Remove(d.logFile()); err != nil {
			return nil, err
		}
	}
}

// URL is the endpoint for clients. They need a region and credentials, any will
// do.
func (d *Dynoxide) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", d.port) }

// Start starts the server again after Kill, on the same port, and returns when
// it answers.
func (d *Dynoxide) Start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("testservers: the server is closed")
	}
	if d.server.alive() {
		return errors.New("testservers: the server runs already")
	}
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"serve", "--host", "127.0.0.1", "--port", fmt.Sprint(d.port)}
	if d.persistent {
		args = append(args, "--db-path", filepath.Join(d.dir, "tables.db"))
	}
	// The context bounds the start, and must not end the server.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C reaches the tests and not the server
	if d.server, err = startProcess(cmd); err != nil {
		return err
	}
	d.guard.watch(d.server.pid)
	return d.server.ready(ctx, pollEvery, d.ping, d.logTail)
}

func (d *Dynoxide) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := direct().Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// direct makes a client that asks no proxy, nor looks for one in the environment,
// which net/http does once a process, to the surprise of tests that change it.
func direct() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// Kill ends the server as a crash does: SIGKILL. It returns when it is gone.
func (d *Dynoxide) Kill() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.server.alive() {
		return errors.New("testservers: the server does not run")
	}
	return d.kill()
}

func (d *Dynoxide) kill() error {
	if !d.server.alive() {
		return nil
	}
	if err := d.server.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-d.server.ended
	d.guard.watch(0)
	return nil
}

// Close ends the server and removes its folder. A second Close does nothing.
func (d *Dynoxide) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return errors.Join(d.kill(), d.guard.end())
}

func (d *Dynoxide) logFile() string { return filepath.Join(d.dir, "server.log") }

func (d *Dynoxide) logTail() string {
	text, err := os.ReadFile(d.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(text, 60)
}
