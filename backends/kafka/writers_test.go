package kafka_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writerProcess is a process that writes, and what it has said.
type writerProcess struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu    sync.Mutex
	lines []said
}

// fleet is processes that write to one store.
type fleet struct {
	t            *testing.T
	url          string
	seed         uint64
	all, running []*writerProcess
	stored       atomic.Int64 // parts that were acknowledged
}

func (f *fleet) start() {
	f.t.Helper()
	f.seed++
	p := &writerProcess{ended: make(chan struct{})}
	self, err := os.Executable()
	require.NoError(f.t, err)
	p.cmd = exec.Command(self, f.url, fmt.Sprint(f.seed)) //nolint:noctx // it is told to end, or killed
	p.cmd.Env = append(os.Environ(), writerVariable+"=1")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	require.NoError(f.t, err)
	require.NoError(f.t, p.cmd.Start())
	f.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	go func() {
		defer close(p.ended)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 256<<20)
		for scanner.Scan() {
			var line said
			if json.Unmarshal(scanner.Bytes(), &line) != nil {
				continue // cut by a kill
			}
			if line.Part != nil && line.Part.Outcome == "stored" {
				f.stored.Add(1)
			}
			if line.Failed != "" || line.Stale != "" {
				fmt.Fprintf(os.Stderr, "writer %d: %s%s\n", p.cmd.Process.Pid, line.Failed, line.Stale)
			}
			p.mu.Lock()
			p.lines = append(p.lines, line)
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	f.all, f.running = append(f.all, p), append(f.running, p)
}

// kill ends the oldest process as a crash does.
func (f *fleet) kill() {
	f.t.Helper()
	p := f.running[0]
	f.running = f.running[1:]
	require.NoError(f.t, p.cmd.Process.Kill())
	<-p.ended
}

// end has the processes end in order.
func (f *fleet) end() {
	f.t.Helper()
	for _, p := range f.running {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			f.t.Errorf("a writer ended before it was told: %v", err)
		}
	}
	for _, p := range f.running {
		select {
		case <-p.ended:
		case <-time.After(2 * time.Minute):
			require.FailNow(f.t, "a writer does not end")
		}
	}
}

// waitForStored waits until so many more parts were acknowledged.
func (f *fleet) waitForStored(ctx context.Context, more int64, within time.Duration) {
	f.t.Helper()
	until := f.stored.Load() + more
	for deadline := time.Now().Add(within); f.stored.Load() < until; wait(ctx, 20*time.Millisecond) {
		require.True(f.t, time.Now().Before(deadline), "only %d of %d parts were acknowledged in %s", f.stored.Load()-until+more, more, within)
	}
}
