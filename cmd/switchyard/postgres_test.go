package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestTheQuickstartRunsOnPostgres(t *testing.T) {
	url, dir := server.Database(t), t.TempDir()
	out := ok(t, "", "quickstart", url, "--dir", dir, "--repository", dir, "--match", "^(append|expect)/")
	for _, want := range []string{"$ switchyard import postgres://", "--match '^(append|expect)/'\n", "version conflict on stream", " 0 failed", "\nequal\n"} {
		require.Contains(t, out, want)
	}
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	if password := conn.Config().Password; password != "" {
		require.NotContains(t, out, password)
	}
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from pg_namespace where nspname like 'switchyard%'`).Scan(&left))
	require.Zero(t, left, "the quickstart's store and the suite's are removed")

	got := call(t, "", "quickstart", "memory:")
	require.Equal(t, exitUsage, got.code)
}

func TestStoresAreMovedIntoPostgresAndBack(t *testing.T) {
	from, database, back := sqliteURL(t), server.Database(t), sqliteURL(t)
	var text strings.Builder
	for i := range 300 {
		text.WriteString(line([]string{"a", "b", "c"}[i%3], i/3+1))
	}
	ok(t, text.String(), "import", from)
	require.JSONEq(t, `{"read":300,"stored":300,"duplicates":0}`, ok(t, "", "copy", from, database))
	require.JSONEq(t, `{"read":0,"stored":0,"duplicates":0}`, ok(t, "", "copy", from, database), "it goes on where it ended")
	ok(t, "", "copy", database, back)
	require.Contains(t, ok(t, "", "verify", from, database), `"equal":true`)
	require.Contains(t, ok(t, "", "verify", database, back), `"equal":true`)

	ok(t, line("a", 101), "import", database)
	require.Equal(t, exitFailed, call(t, "", "verify", from, database).code)
}

func TestBenchAndConformanceRunBesideAPostgresStore(t *testing.T) {
	url := server.Database(t)
	ok(t, line("a", 1), "import", url)
	before := ok(t, "", "stats", url)
	require.Contains(t, ok(t, "", "conformance", url, "--match", "^append/returns", "--text"), " 0 failed")
	held := ok(t, "", "conformance", url, "--match", "^order/no-late-arrival-forced$", "--text")
	require.Contains(t, held, "1 passed, 0 failed, 0 skipped", "a writer is held by a transaction of the caller's")
	out, err := program(t, "bench", url, "--processes", "2", "--prefill", "100", "--rounds", "1", "--duration", "100ms", "--match", "^append 8×1 new streams$|read a category", "--text").Output()
	require.NoError(t, err)
	require.Regexp(t, `8×1 .*100 events before, 2 processes +\d+ events/s +\d+\.\d\d×`, string(out))
	require.Equal(t, before, ok(t, "", "stats", url), "the store is not touched")
}
