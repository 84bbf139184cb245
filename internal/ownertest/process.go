package ownertest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// variable names the part that a test binary plays when a test starts it as another
// process.
const variable = "SWITCHYARD_TEST_PROCESS"

// ready is the line with which a process says that it has begun.
const ready = "ready"

// Part returns the part that this process is to play; empty where it is to run tests.
func Part() string { return os.Getenv(variable) }

// Process is the test binary as another process.
type Process struct {
	*exec.Cmd
	ended chan struct{} // its output has
}

// Line is what a process wrote: a word and what follows it.
type Line struct {
	By         *Process
	Word, Text string
}

// Start starts this test binary once more, to play a part, and waits up to a minute
// until it has written the line "ready". Its other lines go to lines. It is killed at
// the end of the test.
func Start(t *testing.T, part, argument string, lines chan<- Line) *Process {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	p := &Process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary, argument), ended: make(chan struct{})}
	p.Env = append(os.Environ(), variable+"="+part)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	began := make(chan struct{})
	go func() {
		defer close(p.ended)
		begin := sync.OnceFunc(func() { close(began) })
		for scan := bufio.NewScanner(out); scan.Scan(); {
			word, text, _ := strings.Cut(scan.Text(), " ")
			if word == ready {
				begin()
				continue
			}
			lines <- Line{p, word, text}
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
		_ = p.Wait()
	})
	select {
	case <-began:
	case <-p.ended:
		t.Fatalf("the process that plays %q ended before it was ready", part)
	case <-time.After(time.Minute):
		t.Fatalf("the process that plays %q is not ready within a minute", part)
	}
	return p
}

// Ended is closed when a process has said its last.
func (p *Process) Ended() <-chan struct{} { return p.ended }
