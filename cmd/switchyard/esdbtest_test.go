package main

import (
	"bufio"
	"net/url"
	"os"
	"path/filepath"
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
	require.Contains(t, ok(t, "", "stats", double), `"events":0`, "all that is on the server can be read, without a mark of ours")
	got := call(t, "", "stats", double+"&namespace=mistyped")
	require.Equal(t, exitUsage, got.code, "a namespace has to be made")
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

func TestTheDoubleIsServedWithTLSUsersAndTheVersionAndSizesThatAreAskedFor(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	double, end := serveDouble(t, "esdbtest", "--tls-ca", ca, "--user", "clerk:secret", "--user", "chief:secret:$admins,clerks",
		"--server-version", "24.6.0", "--max-append-size", "2000")
	require.FileExists(t, ca)
	u, err := url.Parse(double)
	require.NoError(t, err)
	require.Equal(t, ca, u.Query().Get("tlsCAFile"), "the URL verifies the server")
	ok(t, "", "init", double)
	ok(t, `{}`, "append", double, "a", "--type", "T", "--expect", "0")

	as := func(name, password string) string {
		other := *u
		other.User = url.UserPassword(name, password)
		return other.String()
	}
	require.Contains(t, ok(t, "", "read", as("chief", "secret"), "a", "--text"), "a@1 T")
	require.NotEqual(t, exitOK, call(t, "", "stats", as("clerk", "secret")).code, "only an administrator reads everything")
	require.NotEqual(t, exitOK, call(t, "", "read", as("chief", "wrong"), "a").code)

	text := func(length int) string { return `"` + strings.Repeat("x", length-2) + `"` }
	ok(t, text(2000), "append", double, "a", "--type", "T") // 24.6 counts nothing but data
	require.NotEqual(t, exitOK, call(t, text(2001), "append", double, "a", "--type", "T").code)
	require.NoError(t, end())

	for name, flags := range map[string][]string{
		"a user without TLS":        {"--user", "clerk:s3cr3t"},
		"a user without a password": {"--tls-ca", ca, "--user", "clerk"},
		"a user with too much":      {"--tls-ca", ca, "--user", "clerk:s3cr3t:a:b"},
		"a user without a name":     {"--tls-ca", ca, "--user", ":s3cr3t"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"esdbtest", "--listen", "127.0.0.1:0"}, flags...)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, "--user")
			require.NotContains(t, got.err, "s3cr3t")
		})
	}
	got := call(t, "", "esdbtest", "--listen", "127.0.0.1:0", "--tls-ca", filepath.Join(t.TempDir(), "missing", "ca.pem"))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "certificate")
}
