//go:build unix

package testservers

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var server SharedPostgres

func TestMain(m *testing.M) {
	if os.Getenv(orphanVariable) != "" {
		os.Exit(startAndWaitToBeKilled())
	}
	if os.Getenv(builderVariable) != "" {
		os.Exit(buildAndWaitToBeKilled())
	}
	os.Exit(server.Main(m))
}

// orphanVariable makes the test program start a server and wait to be killed.
const orphanVariable = "TESTSERVERS_ORPHAN"

func startAndWaitToBeKilled() int {
	p, err := StartPostgres(context.Background(), PostgresOptions{Private: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(p.cluster.postmaster.pid)
	fmt.Println(p.cluster.dir)
	select {}
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
