package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// asProgram makes the test binary be the program itself, so that tests can run
// it as users do: in a process that can be interrupted and killed.
const asProgram = "SWITCHYARD_TEST_AS_PROGRAM"

// dieAt makes the program kill itself, with no chance to clean up, when it is about to
// say a text.
const dieAt = "SWITCHYARD_TEST_DIE_AT"

// deadly is the standard error of such a program.
type deadly struct{ text string }

func (d deadly) Write(p []byte) (int, error) {
	if strings.Contains(string(p), d.text) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return os.Stderr.Write(p)
}

func TestMain(m *testing.M) {
	if text := os.Getenv(dieAt); text != "" {
		os.Exit(run(context.Background(), os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: deadly{text}}))
	}
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(broker.After(server.Main(m)))
}

var (
	server testservers.SharedPostgres
	broker testservers.SharedKafka
)

// program makes a command that runs switchyard in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// outcome is what a command line did.
type outcome struct {
	code     int
	out, err string
}

// call runs a command line in this process.
func call(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return outcome{code, out.String(), errs.String()}
}

// ok is call for what must succeed.
func ok(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	got := call(t, stdin, args...)
	require.Zero(t, got.code, "%v: %s", args, got.err)
	return got.out
}

// sqliteURL returns the URL of a file that does not exist yet.
func sqliteURL(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.ToSlash(filepath.Join(t.TempDir(), "events.db"))
}
