package main

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// serveDouble runs a command that serves a double, in a process of its own.
func serveDouble(t *testing.T, command string, more ...string) (url string, end func() error) {
	t.Helper()
	cmd := program(t, append([]string{command, "--listen", "127.0.0.1:0"}, more...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, except where the test failed
	url, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(url), func() error {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		return cmd.Wait()
	}
}

func TestTheDoubleOfEventStoreDBIsServedToEveryCommand(t *testing.T) {
	double, end := serveDouble(t, "esdbtest")
	require.Regexp(t, `^esdb://127\.0\.0\.1:\d+\?tls=false$`, double)
	got := call(t, "", "stats", double)
	require.Equal(t, exitUsage, got.code, "there is no store yet")
	require.Contains(t, got.err, "holds no store")

	from, back := sqliteURL(t), sqliteURL(t)
	ok(t, line("a", 1)+line("b", 1)+line("a", 2), "import", from)
	ok(t, "", "copy", from, double)
	require.Contains(t, ok(t, "", "verify", from, double), `"equal":true`)
	require.Equal(t, exitConflict, call(t, `{}`, "append", double, "a", "--type", "T", "--expect", "1").code)
	ok(t, `{}`, "append", double, "a", "--type", "T", "--expect", "2")
	require.Contains(t, ok(t, "", "read", double, "a", "--backward", "--limit", "1", "--text"), "a@3 T")
	ok(t, "", "copy", double, back)
	require.Contains(t, ok(t, "", "verify", double, back), `"equal":true`)

	before := ok(t, "", "stats", double)
	require.Contains(t, ok(t, "", "conformance", double, "--match", "^append/returns", "--text"), " 0 failed")
	require.Equal(t, before, ok(t, "", "stats", double), "the suite works beside the store")
	require.NoError(t, end(), "an interrupt is how it ends")

	got = call(t, "", "esdbtest", "--listen", "nonsense")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "nonsense")
}
