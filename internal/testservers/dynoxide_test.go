//go:build unix

package testservers

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// call sends a request of DynamoDB's protocol and returns the status.
func call(t *testing.T, d *Dynoxide, operation, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL(), strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := direct().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

const createEvents = `{"TableName":"events","BillingMode":"PAY_PER_REQUEST",
"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}`

func TestAKilledDynoxideComesBackWithItsTablesWhereItIsPersistent(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		t.Run(fmt.Sprint(persistent), func(t *testing.T) {
			d := PrivateDynoxide(t, DynoxideOptions{Persistent: persistent})
			require.Equal(t, http.StatusOK, call(t, d, "CreateTable", createEvents))
			require.Error(t, d.Start(t.Context()), "already started")
			url := d.URL()
			require.NoError(t, d.Kill())
			require.Error(t, d.Kill(), "nothing to kill")
			require.NoError(t, d.Start(t.Context()))
			require.Equal(t, url, d.URL())
			want := http.StatusBadRequest
			if persistent {
				want = http.StatusOK
			}
			require.Equal(t, want, call(t, d, "DescribeTable", `{"TableName":"events"}`))
		})
	}
}

func TestCloseOfDynoxideLeavesNothingBehind(t *testing.T) {
	d := PrivateDynoxide(t, DynoxideOptions{Persistent: true})
	pid := d.server.pid
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "twice")
	require.True(t, gone(stateOf(pid)))
	require.NoDirExists(t, d.dir)
	require.Error(t, d.Start(t.Context()), "after Close")
}

func TestWithoutAnyDynoxideTheErrorNamesTheRemedies(t *testing.T) {
	t.Setenv(dynoxideVariable, "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	_, err := findDynoxide(t.Context())
	require.ErrorContains(t, err, "install Rust 1.88 or later with cargo")
	require.ErrorContains(t, err, dynoxideVariable)
}

func TestADynoxideOfYoursIsUsed(t *testing.T) {
	yours := filepath.Join(install(t, t.TempDir(), "mine"), "mine")
	t.Setenv(dynoxideVariable, yours)
	program, err := findDynoxide(t.Context())
	require.NoError(t, err)
	require.Equal(t, yours, program)
	t.Setenv(dynoxideVariable, filepath.Dir(yours))
	_, err = findDynoxide(t.Context())
	require.ErrorContains(t, err, dynoxideVariable)
}

// fakeCargo stands for cargo: it notes each call and puts a program where it is
// told to, or fails.
const fakeCargo = `#!/bin/sh
echo "$@" >>"$FAKE_CARGO_LOG"
while [ -n "$FAKE_CARGO_WAITS" ] && [ ! -e "$FAKE_CARGO_WAITS" ]; do sleep 0.02; done
[ -n "$FAKE_CARGO_FAILS" ] && { echo "no such crate" >&2; exit 101; }
while [ "$1" != --root ]; do shift; done
mkdir -p "$2/bin" && printf '#!/bin/sh\n' >"$2/bin/dynoxide" && chmod 755 "$2/bin/dynoxide"
`

func withFakeCargo(t *testing.T) (log string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cargo"), []byte(fakeCargo), 0o755))
	log = filepath.Join(dir, "log")
	t.Setenv(dynoxideVariable, "")
	t.Setenv("FAKE_CARGO_LOG", log)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir()) // where the cache folder is elsewhere
	return log
}

func TestDynoxideIsBuiltOnceHoweverManyAskForIt(t *testing.T) {
	log := withFakeCargo(t)
	programs := make([]string, 8)
	var all sync.WaitGroup
	for i := range programs {
		all.Go(func() { programs[i], _ = findDynoxide(t.Context()) })
	}
	all.Wait()
	require.True(t, isProgram(programs[0]))
	for _, program := range programs {
		require.Equal(t, programs[0], program)
	}
	calls, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(calls), "\n"), string(calls))
	require.Contains(t, string(calls), "install dynoxide-rs --version "+dynoxideVersion+" --locked ")
	entries, err := os.ReadDir(filepath.Dir(filepath.Dir(filepath.Dir(programs[0]))))
	require.NoError(t, err)
	require.Len(t, entries, 2, "the program's folder and the lock, no scratch")
}

func TestABuildOfDynoxideThatFailsShowsWhyAndLeavesNothing(t *testing.T) {
	withFakeCargo(t)
	t.Setenv("FAKE_CARGO_FAILS", "1")
	_, err := findDynoxide(t.Context())
	require.ErrorContains(t, err, "no such crate")
	t.Setenv("FAKE_CARGO_FAILS", "")
	_, err = findDynoxide(t.Context())
	require.NoError(t, err)
}

// builderVariable makes the test program build dynoxide and wait to be killed.
const builderVariable = "TESTSERVERS_BUILDER"

func buildAndWaitToBeKilled() int {
	if _, err := findDynoxide(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}

func TestABuildOfDynoxideOutlivesATestProcessThatIsKilled(t *testing.T) {
	log := withFakeCargo(t)
	goOn := filepath.Join(t.TempDir(), "go-on")
	builder := exec.CommandContext(t.Context(), os.Args[0])
	builder.Env = append(os.Environ(), builderVariable+"=1", "FAKE_CARGO_WAITS="+goOn)
	builder.Stderr = os.Stderr
	require.NoError(t, builder.Start())
	require.Eventually(t, func() bool { _, err := os.Stat(log); return err == nil }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, builder.Process.Kill())
	require.Error(t, builder.Wait())

	found := make(chan error)
	go func() {
		_, err := findDynoxide(t.Context())
		found <- err
	}()
	select {
	case err := <-found:
		require.Fail(t, "the build was not waited for", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, os.WriteFile(goOn, nil, 0o600))
	require.NoError(t, <-found)
	calls, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(calls), "\n"), "built once")
}

func TestABuildOfDynoxideEndsWithItsContext(t *testing.T) {
	log := withFakeCargo(t)
	t.Setenv("FAKE_CARGO_WAITS", filepath.Join(t.TempDir(), "never"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := findDynoxide(ctx)
		done <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(log); return err == nil }, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.Error(t, <-done)
	entries, err := os.ReadDir(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "switchyard", "dynoxide"))
	require.NoError(t, err)
	require.Len(t, entries, 1, "the lock, no scratch")
}
