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
)

func TestACopyThatIsKilledGoesOn(t *testing.T) {
	from, to := sqliteURL(t), sqliteURL(t)
	var text strings.Builder
	const events = 30_000
	for i := range events {
		text.WriteString(line(fmt.Sprintf("counter-%d", i%100), i/100+1))
	}
	ok(t, text.String(), "import", from)
	kills := 0
	for attempt := range 20 {
		cmd := program(t, "copy", from, to)
		var out bytes.Buffer
		cmd.Stderr, cmd.Stdout = &out, &out
		require.NoError(t, cmd.Start())
		// The moment of the kill moves through the copy.
		kill := time.AfterFunc(time.Duration(attempt+2)*40*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out.String())
		require.Equal(t, -1, exit.ExitCode(), "it was killed: %s", out.String())
		kills++
	}
	require.Positive(t, kills, "at least one copy was killed")
	ok(t, "", "copy", from, to)
	require.Contains(t, ok(t, "", "verify", from, to), `"equal":true`)
	require.Equal(t, strings.Count(ok(t, "", "export", from), "\n"), events)
	t.Logf("killed %d times", kills)
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
	require.Contains(t, text, "copied 1 events; following")
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
