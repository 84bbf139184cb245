//go:build unix

package testservers

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEachTestGetsAnEmptyDatabaseOfItsOwn(t *testing.T) {
	a, b := connect(t, server.Database(t)), connect(t, server.Database(t))
	execute(t, a, "CREATE TABLE mine (n int)")
	execute(t, b, "CREATE TABLE mine (n int)")
	require.True(t, query[bool](t, a, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
}

func TestADatabaseIsDroppedWithItsTest(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) {
		conn := connect(t, server.Database(t))
		name = query[string](t, conn, "SELECT current_database()")
	})
	conn := connect(t, server.Server(t).URL())
	var found int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&found))
	require.Zero(t, found)
}

func TestAServerIsLocalAndDurableUnlessToldOtherwise(t *testing.T) {
	private := PrivatePostgres(t, PostgresOptions{})
	u, err := url.Parse(private.URL())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", u.Hostname())
	conn := connect(t, private.URL())
	require.Equal(t, "127.0.0.1", query[string](t, conn, "SHOW listen_addresses"))
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		require.Equal(t, "on", query[string](t, conn, "SHOW "+setting), setting)
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	private := PrivatePostgres(t, PostgresOptions{Settings: map[string]string{
		"synchronous_commit": "off",
		"max_connections":    "17",
		"application_name":   "with a space",
	}})
	conn := connect(t, private.URL())
	require.Equal(t, "off", query[string](t, conn, "SHOW synchronous_commit"))
	require.Equal(t, "17", query[string](t, conn, "SHOW max_connections"))
	require.Equal(t, "with a space", query[string](t, conn, "SHOW application_name"))
}

func TestAWrongSettingFailsWithTheServersOwnWords(t *testing.T) {
	dir := t.TempDir()
	makeReachable(t, dir)
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir, Settings: map[string]string{"no_such": "1"}})
	require.ErrorContains(t, err, `unrecognized configuration parameter "no_such"`)
	requireEmpty(t, dir)
}

func TestAKilledServerComesBackWithWhatItAcknowledged(t *testing.T) {
	private := PrivatePostgres(t, PostgresOptions{})
	port, dataDir := private.Port(), private.DataDir()
	conn := connect(t, private.URL())
	execute(t, conn, "CREATE TABLE kept (n int)")
	for round := range 3 {
		conn := connect(t, private.URL())
		execute(t, conn, "INSERT INTO kept VALUES (1)")

		pid := int(conn.PgConn().PID())
		require.NoError(t, private.Kill())
		require.True(t, gone(stateOf(pid)), "a backend survived")
		require.Error(t, conn.Ping(t.Context()))
		require.Error(t, private.Kill(), "nothing to kill")

		require.NoError(t, private.Start(t.Context()))
		require.Equal(t, port, private.Port())
		require.Equal(t, dataDir, private.DataDir())
		require.Equal(t, round+1, query[int](t, connect(t, private.URL()), "SELECT count(*) FROM kept"))
	}
	require.Contains(t, private.LogTail(), "database system was not properly shut down")
}

func TestAStoppedServerComesBackInOrder(t *testing.T) {
	private := PrivatePostgres(t, PostgresOptions{})
	conn := connect(t, private.URL())
	execute(t, conn, "CREATE TABLE kept (n int)")
	require.NoError(t, private.Stop(), "with a client connected")
	require.NoError(t, private.Stop(), "already stopped")
	require.Error(t, conn.Ping(t.Context()))
	require.NoError(t, private.Start(t.Context()))
	require.Error(t, private.Start(t.Context()), "already started")
	execute(t, connect(t, private.URL()), "INSERT INTO kept VALUES (1)")
	require.NotContains(t, private.LogTail(), "not properly shut down")
}

func TestAPausedBackendAnswersAfterResume(t *testing.T) {
	private := PrivatePostgres(t, PostgresOptions{})
	conn := connect(t, private.URL())
	pid := int(conn.PgConn().PID())
	require.NoError(t, private.Pause(pid))

	answer := make(chan error, 1)
	go func() { answer <- conn.Ping(context.Background()) }()
	select {
	case err := <-answer:
		require.Fail(t, "a paused backend answered", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	require.Equal(t, 1, query[int](t, connect(t, private.URL()), "SELECT 1"), "the others go on")

	require.NoError(t, private.Resume(pid))
	require.NoError(t, <-answer)
}

func TestOnlyProcessesOfTheServerArePaused(t *testing.T) {
	private := PrivatePostgres(t, PostgresOptions{})
	require.ErrorContains(t, private.Pause(os.Getpid()), "not a process of the server")
	require.ErrorContains(t, private.Resume(1), "not a process of the server")
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	for name, before := range map[string]func(*Postgres) error{
		"running": func(*Postgres) error { return nil },
		"stopped": (*Postgres).Stop,
		"killed":  (*Postgres).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			makeReachable(t, dir)
			p, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
			require.NoError(t, err)
			require.Equal(t, dir, filepath.Dir(filepath.Dir(p.DataDir())))
			pid := p.cluster.postmaster.pid
			segment := segmentOf(t, p)
			require.NoError(t, before(p))

			require.NoError(t, p.Close())
			require.NoError(t, p.Close(), "twice")
			require.True(t, gone(stateOf(pid)))
			requireEmpty(t, dir)
			requireSharedMemoryFreed(t, segment)
			require.Error(t, p.Start(t.Context()), "after Close")
		})
	}
}

func TestAServerEndsWithATestProcessThatIsKilled(t *testing.T) {
	pid, dir, orphan := startOrphan(t, "postgres")
	require.NoError(t, orphan.Process.Signal(syscall.SIGKILL))
	require.Error(t, orphan.Wait())
	requireEnds(t, pid, dir)
}

func TestAServerOfYoursIsUsedAndLeftAlone(t *testing.T) {
	yours := PrivatePostgres(t, PostgresOptions{})
	t.Setenv(downloadVariable, "")
	t.Setenv(urlVariable, yours.URL())
	p, err := StartPostgres(t.Context(), PostgresOptions{})
	require.NoError(t, err)
	require.Equal(t, yours.URL(), p.URL())

	execute(t, connect(t, p.Database(t)), "CREATE TABLE here (n int)")
	for _, refused := range []error{p.Kill(), p.Stop(), p.Start(t.Context()), p.Pause(1), p.Resume(1)} {
		require.ErrorIs(t, refused, errNotOurs)
	}
	require.NoError(t, p.Close())
	require.Equal(t, 1, query[int](t, connect(t, yours.URL()), "SELECT 1"), "Close left it running")

	require.NotEqual(t, yours.URL(), PrivatePostgres(t, PostgresOptions{}).URL(), "a private server is another one")
}

func TestAServerOfYoursThatDoesNotAnswerIsAnErrorWithoutThePassword(t *testing.T) {
	t.Setenv(downloadVariable, "")
	for _, yours := range []string{
		"postgres://me:s3cret@127.0.0.1:1/db?sslmode=disable",
		"postgres://me:s3cret@127.0.0.1:port/db",
	} {
		t.Setenv(urlVariable, yours)
		_, err := StartPostgres(t.Context(), PostgresOptions{})
		require.ErrorContains(t, err, urlVariable)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// makeReachable opens a test's folder to the user that a server runs as.
func makeReachable(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // made for the test too
	require.NoError(t, os.Chmod(dir, 0o755))
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// requireSharedMemoryFreed looks for the System V segment that a server has noted
// in its lock file, where /proc shows segments. Others' segments come and go.
func requireSharedMemoryFreed(t *testing.T, segment string) {
	t.Helper()
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if os.IsNotExist(err) {
		return
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		require.NotEqual(t, segment, strings.Join(strings.Fields(line)[:2], " "))
	}
}

// segmentOf returns a running server's segment as "key ID".
func segmentOf(t *testing.T, p *Postgres) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.DataDir(), "postmaster.pid"))
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	require.Greater(t, len(lines), 6)
	return strings.Join(strings.Fields(lines[6]), " ")
}
