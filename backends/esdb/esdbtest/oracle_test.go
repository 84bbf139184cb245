package esdbtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

// A double tested with one client only may share that client's errors. The
// official Node client was written apart from the Go one, so what it finds is
// a second opinion; oracle/oracle.mjs has the rows.
func TestTheOfficialNodeClientAgrees(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			const remedy = "the second opinion on the double was NOT asked: %s is not on the PATH; install Node.js 20 or later"
			if os.Getenv("CI") != "" {
				t.Fatalf(remedy, tool)
			}
			t.Skipf(remedy, tool)
		}
	}
	dir := installOracle(t)

	plain, follower := start(t, nil), start(t, nil)
	tls := secure(t, esdbtest.Options{})
	require.NoError(t, follower.FollowLeader(plain.Address()))
	_, leaderPort, err := net.SplitHostPort(plain.Address())
	require.NoError(t, err)
	ca := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, tls.CertificatePEM(), 0o600))
	verified := strings.Replace(tls.URL(), "tlsVerifyCert=false", "tlsCAFile="+ca, 1)

	output := runIn(t, dir, "node", "oracle.mjs", plain.URL(), verified, follower.URL(), leaderPort)
	rows := 0
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); rows++ {
		var result struct {
			Row   string
			Error *string
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &result), "line: %s", lines.Text())
		t.Run(result.Row, func(t *testing.T) {
			if result.Error != nil {
				t.Fatal(*result.Error)
			}
		})
	}
	script, err := os.ReadFile(filepath.Join(dir, "oracle.mjs"))
	require.NoError(t, err)
	require.Equal(t, bytes.Count(script, []byte("\nrow(")), rows, "rows reported")
}

// installOracle copies the script to a directory of its own and installs the
// client there, so that the checkout stays as it is.
func installOracle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc", "oracle.mjs"} {
		content, err := os.ReadFile(filepath.Join("oracle", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	runIn(t, dir, "npm", "ci", "--prefer-offline", "--no-progress")
	return dir
}

// runIn runs a command to its end and returns what it printed.
func runIn(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	require.NoError(t, cmd.Run(), "%s %v\n%s\n%s", name, args, &out, &errs)
	return out.Bytes()
}
