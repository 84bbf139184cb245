package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
)

func TestACopyThatIsKilledGoesOn(t *testing.T) {
	from, to := sqliteURL(t), sqliteURL(t)
	const events = 8000
	var text strings.Builder
	for i := range events {
		text.WriteString(line(fmt.Sprintf("counter-%d", i%100), i/100+1))
	}
	ok(t, text.String(), "import", from)
	target, err := all.Open(t.Context(), to, nil)
	require.NoError(t, err)
	kills := 0
	for _, copied := range []int{1, 2000, 5000} {
		cmd := program(t, "copy", from, to)
		require.NoError(t, cmd.Start())
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		require.Eventually(t, func() bool {
			// Each of the 100 streams holds as much as the first, or one event less.
			version, err := target.StreamVersion(t.Context(), "counter-0")
			return len(done) > 0 || err == nil && int(version)*100 >= copied
		}, time.Minute, time.Millisecond)
		_ = cmd.Process.Kill() // kill -9: it may have ended already
		if <-done != nil {
			kills++
		}
	}
	require.NoError(t, target.Close())
	require.Positive(t, kills, "at least one copy was killed in the middle")
	ok(t, "", "copy", from, to)
	require.Contains(t, ok(t, "", "verify", from, to), `"equal":true`)
	require.Equal(t, events, strings.Count(ok(t, "", "export", to), "\n"))
}

func TestFollowEndsCleanlyWithCtrlC(t *testing.T) {
	for name, args := range map[string][]string{"without a name": nil, "with a name": {"--name", "me"}} {
		t.Run(name, func(t *testing.T) {
			url := sqliteURL(t)
			ok(t, line("a", 1)+line("a", 2), "import", url)
			first := startFollow(t, url, args)
			require.Contains(t, first.line(t), `"version":"1"`)
			require.Contains(t, first.line(t), `"version":"2"`)
			ok(t, line("a", 3), "import", url) // another process writes
			require.Contains(t, first.line(t), `"version":"3"`)
			first.interrupt(t)

			ok(t, line("a", 4), "import", url)
			second := startFollow(t, url, args)
			want := `"version":"1"`
			if args != nil {
				want = `"version":"4"`
			}
			require.Contains(t, second.line(t), want, "with a name it goes on, without it starts anew")
			second.interrupt(t)
		})
	}
}

// follower is a follow command in a process.
type follower struct {
	cmd    *exec.Cmd
	lines  *bufio.Reader
	errors bytes.Buffer
}

func startFollow(t *testing.T, url string, args []string) *follower {
	t.Helper()
	f := &follower{cmd: program(t, append([]string{"follow", url}, args...)...)}
	f.cmd.Stderr = &f.errors
	out, err := f.cmd.StdoutPipe()
	require.NoError(t, err)
	f.lines = bufio.NewReader(out)
	require.NoError(t, f.cmd.Start())
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	return f
}

func (f *follower) line(t *testing.T) string {
	t.Helper()
	text, err := f.lines.ReadString('\n')
	require.NoError(t, err)
	return text
}

func (f *follower) interrupt(t *testing.T) {
	t.Helper()
	require.NoError(t, f.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, f.cmd.Wait(), "exit code 0; it said %q", f.errors.String())
	require.Empty(t, f.errors.String())
}

func TestASecondFollowerOfANameWaitsAndSaysSo(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1), "import", url)
	first := startFollow(t, url, []string{"--name", "me"})
	require.Contains(t, first.line(t), `"version":"1"`)

	second := &follower{cmd: program(t, "follow", url, "--name", "me")}
	out, err := second.cmd.StdoutPipe()
	require.NoError(t, err)
	told, err := second.cmd.StderrPipe()
	require.NoError(t, err)
	second.lines = bufio.NewReader(out)
	require.NoError(t, second.cmd.Start())
	t.Cleanup(func() { _ = second.cmd.Process.Kill() })
	said := bufio.NewReader(told)
	text, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, text, "waiting: subscription me is followed by another process")
	require.Contains(t, text, fmt.Sprintf("process %d", first.cmd.Process.Pid))

	first.interrupt(t)
	text, err = said.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, text, "subscription me is this process's now")
	ok(t, line("a", 2), "import", url)
	require.Contains(t, second.line(t), `"version":"2"`, "what the first one printed is not printed again")
	require.NoError(t, second.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, second.cmd.Wait())
}

func TestFollowTellsThatTheStoreIsSealed(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1), "import", url)
	cmd := program(t, "follow", url)
	told, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	ok(t, "", "seal", url, "--reason", "moved")
	text, err := bufio.NewReader(told).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, text, "the store is sealed")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
}

func TestACopyFollowsUntilCtrlC(t *testing.T) {
	from, to := sqliteURL(t), sqliteURL(t)
	ok(t, line("a", 1), "import", from)
	cmd := program(t, "copy", from, to, "--follow")
	told, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	text, err := bufio.NewReader(told).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, text, "copied 1 event; following")
	ok(t, line("a", 2)+line("b", 1), "import", from)
	require.Eventually(t, func() bool {
		return call(t, "", "verify", from, to).code == exitOK
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
}

func TestTheSecondCtrlCKills(t *testing.T) {
	// import from a pipe that nobody writes to ends at the first Ctrl-C already;
	// the disposition after it is the system's own, so that a second one kills.
	cmd := program(t, "import", sqliteURL(t))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer func() { _ = in.Close() }()
	var told bytes.Buffer
	cmd.Stderr = &told
	require.NoError(t, cmd.Start())
	deadline := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			status, isUnix := exit.Sys().(syscall.WaitStatus)
			require.True(t, isUnix)
			require.True(t, status.Signaled() && status.Signal() == syscall.SIGINT || exit.ExitCode() == exitFailed, "%s: %s", err, told.String())
			return
		case <-tick.C:
			err := cmd.Process.Signal(os.Interrupt)
			require.True(t, err == nil || errors.Is(err, os.ErrProcessDone), "%v", err)
		}
	}
}
