//go:build unix

package testservers

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var server SharedPostgres

func TestMain(m *testing.M) {
	if os.Getenv(builderVariable) != "" {
		os.Exit(buildAndWaitToBeKilled())
	}
	switch os.Getenv(orphanVariable) {
	case "":
		os.Exit(server.Main(m))
	case "postgres":
		os.Exit(startAndWaitToBeKilled(func() (pid int, dir string, err error) {
			p, err := StartPostgres(context.Background(), PostgresOptions{Private: true})
			if err != nil {
				return 0, "", err
			}
			return p.cluster.postmaster.pid, p.cluster.dir, nil
		}))
	case "kafka":
		os.Exit(startAndWaitToBeKilled(func() (pid int, dir string, err error) {
			k, err := StartKafka(context.Background(), KafkaOptions{Private: true})
			if err != nil {
				return 0, "", err
			}
			return k.cluster.brokers[0].process.pid, k.cluster.brokers[0].dir, nil
		}))
	}
}

// orphanVariable makes the test program start a server of that kind and wait to
// be killed.
const orphanVariable = "TESTSERVERS_ORPHAN"

func startAndWaitToBeKilled(start func() (pid int, dir string, err error)) int {
	pid, dir, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(pid)
	fmt.Println(dir)
	select {}
}

// startOrphan starts this test program anew with a server of its own.
func startOrphan(t *testing.T, kind string) (pid int, dir string, orphan *exec.Cmd) {
	t.Helper()
	orphan = exec.CommandContext(t.Context(), os.Args[0])
	orphan.Env = append(os.Environ(), orphanVariable+"="+kind)
	orphan.Stderr = os.Stderr
	out, err := orphan.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, orphan.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	pid, err = strconv.Atoi(lines.Text())
	require.NoError(t, err)
	require.True(t, lines.Scan())
	dir = lines.Text()
	require.DirExists(t, dir)
	require.False(t, gone(stateOf(pid)))
	return pid, dir, orphan
}

// requireEnds waits for the end of a server and of its folder.
func requireEnds(t *testing.T, pid int, dir string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err) && gone(stateOf(pid))
	}, 20*time.Second, 10*time.Millisecond)
}

// listeningSocket is a socket of Linux's /proc/net/tcp that waits for connections.
type listeningSocket struct{ address, inode string }

func listeningSockets(t *testing.T, file string) []listeningSocket {
	t.Helper()
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	var list []listeningSocket
	for line := range strings.Lines(string(text)) {
		// sl local_address rem_address st … inode …
		if fields := strings.Fields(line); len(fields) > 9 && fields[3] == "0A" {
			address, _, _ := strings.Cut(fields[1], ":")
			list = append(list, listeningSocket{address, fields[9]})
		}
	}
	return list
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), statement)
	require.NoError(t, err)
}

func query[T any](t *testing.T, conn *pgx.Conn, statement string) T {
	t.Helper()
	var v T
	require.NoError(t, conn.QueryRow(t.Context(), statement).Scan(&v))
	return v
}
