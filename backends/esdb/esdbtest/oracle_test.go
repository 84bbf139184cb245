package esdbtest_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

// A double tested with one client only may share that client's errors. The official
// clients of other languages were written apart from the Go one, so what they find
// is a second opinion. The scripts in the folder oracle have the rows.

func TestTheOfficialNodeClientAgrees(t *testing.T) {
	needTools(t, "install Node.js 20 or later", "node", "npm")
	plain, follower := start(t, nil), start(t, nil)
	require.NoError(t, follower.FollowLeader(plain.Address()))
	_, leaderPort, err := net.SplitHostPort(plain.Address())
	require.NoError(t, err)
	secure, _ := secureForOracle(t)
	askRows(t, "oracle.mjs", `(?m)^row\(`, inNode(t), "node", "oracle.mjs", plain.URL(), secure, follower.URL(), leaderPort)
}

func TestTheOfficialNodeClientOfKurrentDBAgrees(t *testing.T) {
	needTools(t, "install Node.js 20 or later", "node", "npm")
	secure, _ := secureForOracle(t)
	askRows(t, "kurrent.mjs", `(?m)^row\(`, inNode(t), "node", "kurrent.mjs", start(t, nil).URL(), secure)
}

func TestTheOfficialPythonClientAgrees(t *testing.T) {
	needTools(t, "install Python 3.10 or later with venv and pip", "python3")
	python := filepath.Join(installed(t, []string{"python3", "--version"}, []string{"requirements.txt"}, func(dir string) {
		runIn(t, dir, "python3", "-m", "venv", "venv")
		runIn(t, dir, filepath.Join("venv", "bin", "python"), "-m", "pip", "install", "--quiet",
			"--disable-pip-version-check", "--only-binary", ":all:", "-r", "requirements.txt")
	}), "venv", "bin", "python")
	secure, ca := secureForOracle(t)
	askRows(t, "oracle.py", `(?m)^@row\(`, scripts(t), python, "oracle.py", start(t, nil).URL(), secure, ca)
}

// needTools skips the test, loudly, where a tool is missing. CI has them all.
func needTools(t *testing.T, remedy string, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		const missing = "this opinion on the double was NOT asked: %s is not on the PATH; %s"
		if os.Getenv("CI") != "" {
			t.Fatalf(missing, tool, remedy)
		}
		t.Skipf(missing, tool, remedy)
	}
}

// secureForOracle starts a secure double and writes its authority to a file.
func secureForOracle(t *testing.T) (url, caFile string) {
	t.Helper()
	srv := secure(t, esdbtest.Options{})
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, srv.CertificatePEM(), 0o600))
	return srv.VerifiedURL(caFile), caFile
}

// askRows runs a script and reports each of its rows, which the pattern finds in its
// text, as a test.
func askRows(t *testing.T, script, pattern, dir, program string, args ...string) {
	t.Helper()
	rows := 0
	for lines := bufio.NewScanner(bytes.NewReader(runIn(t, dir, program, args...))); lines.Scan(); rows++ {
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
	text, err := os.ReadFile(filepath.Join(dir, script))
	require.NoError(t, err)
	require.Len(t, regexp.MustCompile(pattern).FindAll(text, -1), rows, "rows reported")
}

// scripts copies the scripts to a folder of the test's own, so that the checkout
// stays as it is.
func scripts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copyFiles(t, dir, "oracle.mjs", "kurrent.mjs", "shared.mjs", "oracle.py")
	return dir
}

// inNode is a folder with the scripts, from which they find the clients.
func inNode(t *testing.T) string {
	t.Helper()
	modules := filepath.Join(installed(t, []string{"node", "--version"}, []string{"package.json", "package-lock.json", ".npmrc"}, func(dir string) {
		runIn(t, dir, "npm", "ci", "--prefer-offline", "--no-progress")
	}), "node_modules")
	dir := scripts(t)
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	return dir
}

// installed is a folder in the user's cache with what the files name, installed
// once per machine. It is named after their contents, and after the version of the
// language that the command tells.
func installed(t *testing.T, version, files []string, install func(dir string)) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	cache = filepath.Join(cache, "switchyard", "esdbtest")
	sum := sha256.New()
	sum.Write(runIn(t, ".", version[0], version[1:]...))
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join("oracle", name))
		require.NoError(t, err)
		sum.Write(content)
	}
	done := filepath.Join(cache, files[0]+"-"+runtime.GOOS+"-"+runtime.GOARCH+"-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(done); err == nil {
		return done
	}
	require.NoError(t, os.MkdirAll(cache, 0o755))
	scratch, err := os.MkdirTemp(cache, "install-") //nolint:usetesting // beside its place, so that a rename is one step
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(scratch)) })
	copyFiles(t, scratch, files...)
	install(scratch)
	// In one step, so that another test process sees all of it or nothing. If it
	// has been faster, its copy serves.
	if err := os.Rename(scratch, done); err != nil {
		require.DirExists(t, done, err)
	}
	return done
}

func copyFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join("oracle", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
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
