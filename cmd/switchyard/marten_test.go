package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// martenURL is a store of Marten's in a new database; parameters say how it is made.
func martenURL(t *testing.T, parameters string) string {
	t.Helper()
	u, err := url.Parse(server.Database(t))
	require.NoError(t, err)
	u.Scheme = "marten"
	u.RawQuery += "&append=quick&create=true&" + parameters
	return u.String()
}

func TestInitMakesAMartenStoreOnce(t *testing.T) {
	raw := martenURL(t, "identity=uuid&tenancy=conjoined&tenant=acme")
	require.Equal(t, exitUsage, call(t, "", "stats", strings.Replace(raw, "&create=true", "", 1)).code, "who only reads makes nothing")
	first := ok(t, "", "init", raw)
	require.Contains(t, first, `"backend":"marten"`)
	require.Equal(t, first, ok(t, "", "init", raw))
	caps := ok(t, "", "caps", raw, "--text")
	require.Contains(t, caps, "marten, exactData: data is jsonb")
	require.Contains(t, caps, "marten, seal: Marten applications would go on writing")
}

func TestStoresAreMovedIntoMartenAndBack(t *testing.T) {
	from, database, back := sqliteURL(t), martenURL(t, ""), sqliteURL(t)
	var text strings.Builder
	for i := range 300 {
		text.WriteString(line([]string{"a", "b", "c"}[i%3], i/3+1))
	}
	ok(t, text.String(), "import", from)
	require.JSONEq(t, `{"read":300,"stored":300,"duplicates":0}`, ok(t, "", "copy", from, database))
	require.JSONEq(t, `{"read":0,"stored":0,"duplicates":0}`, ok(t, "", "copy", from, database), "it goes on where it ended")
	ok(t, "", "copy", database, back)
	for _, pair := range [][2]string{{from, database}, {database, back}} {
		out := ok(t, "", "verify", pair[0], pair[1])
		require.Contains(t, out, `"equal":true`)
		require.Contains(t, out, `"comparedAs":"JSON"`)
		require.Contains(t, ok(t, "", "verify", pair[0], pair[1], "--text"), "\nequal as JSON\n")
	}
	require.Contains(t, ok(t, ok(t, "", "export", database), "import", sqliteURL(t)), `"stored":300`)
	ok(t, line("a", 101), "import", database)
	require.Equal(t, exitFailed, call(t, "", "verify", from, database).code)
}

func TestTheQuickstartRunsOnMarten(t *testing.T) {
	raw, dir := martenURL(t, ""), t.TempDir()
	out := ok(t, "", "quickstart", raw, "--dir", dir, "--repository", dir, "--match", "^(append|expect)/returns|expect/table")
	for _, want := range []string{"version conflict on stream", " 0 failed", "\nequal as JSON\n"} {
		require.Contains(t, out, want)
	}
	u, err := url.Parse(raw)
	require.NoError(t, err)
	u.Scheme, u.RawQuery = "postgres", "sslmode=disable"
	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from pg_namespace where nspname like 'switchyard%' and nspname <> 'switchyard_marten'`).Scan(&left))
	require.Zero(t, left, "the quickstart's store and the suite's are removed")
}

func TestBenchAndConformanceRunBesideAMartenStore(t *testing.T) {
	raw := martenURL(t, "identity=uuid")
	ok(t, "", "init", raw)
	before := ok(t, "", "stats", raw)
	plain := strings.Replace(strings.Replace(raw, "&create=true", "", 1), "&identity=uuid", "", 1) // the store itself says how it is made
	held := ok(t, "", "conformance", plain, "--match", "^order/no-late-arrival-forced$|^append/returns", "--text")
	require.Contains(t, held, " 0 failed, 0 skipped")
	out, err := program(t, "bench", raw, "--prefill", "100", "--rounds", "1", "--duration", "100ms", "--match", "^append 8×1 new streams$|read a category|^Marten's function: append 8×1", "--text").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "8×1")
	require.Regexp(t, `Marten's function: append 8×1 new streams .* [1-9]\d* events/s`, string(out))
	other := martenURL(t, "tenancy=conjoined&tenant=acme&timestamps=server&metadata=off")
	out, err = program(t, "bench", other, "--prefill", "0", "--rounds", "1", "--duration", "50ms", "--match", "^Marten's function: append 8×1|^bare pgx scan", "--text").Output()
	require.NoError(t, err)
	require.Regexp(t, `Marten's function: append 8×1 new streams .* [1-9]\d* events/s`, string(out))
	require.Regexp(t, `bare pgx scan of mt_events .* [1-9]\d* events/s`, string(out))
	require.Equal(t, before, ok(t, "", "stats", raw), "the store is not touched")
}

// What Marten does to streams by its functions and by hand: it archives them, masks events in
// place, and puts one event for a stream's beginning.
func TestArchivedCompactedAndMaskedStreamsAreCopiedAndTold(t *testing.T) {
	raw, target := martenURL(t, ""), sqliteURL(t)
	var text strings.Builder
	for i := range 30 {
		text.WriteString(line([]string{"a", "b", "c"}[i%3], i/3+1))
	}
	ok(t, text.String(), "import", raw)
	u, err := url.Parse(raw)
	require.NoError(t, err)
	u.Scheme, u.RawQuery = "postgres", "sslmode=disable"
	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `select mt_archive_stream('a');
		update mt_events set data = '{"masked": "***"}' where stream_id = 'b' and version = 3;
		delete from mt_events where stream_id = 'c' and version < 7;
		update mt_events set id = gen_random_uuid(), type = 'Compacted<Order>', data = '{"Snapshot": {}}', headers = '{}' where stream_id = 'c' and version = 7;
		update mt_streams set compacted_version = 7 where id = 'c'`)
	require.NoError(t, err)
	require.Contains(t, ok(t, "", "stats", raw), `"archivedStreams":1`)

	stopped := call(t, "", "copy", raw, sqliteURL(t))
	require.Equal(t, exitConflict, stopped.code)
	require.Contains(t, stopped.err, "--on-refused rename", "it says what helps")
	rename := []string{"copy", raw, target, "--on-refused", "rename"}
	out := ok(t, "", rename...)
	require.Contains(t, out, `"read":24,`)
	require.Contains(t, out, `"archivedStreams":1`)
	require.Contains(t, out, `"renumbered":4`)
	require.Contains(t, ok(t, "", "verify", raw, target), `"equal":true`)
	told := call(t, "", "copy", raw, sqliteURL(t), "--on-refused", "rename", "--text")
	require.Equal(t, exitOK, told.code)
	require.Contains(t, told.err, "1 archived streams of")
	read := ok(t, "", "read", target, "c")
	require.Contains(t, read, "Compacted<Order>")
	require.Contains(t, ok(t, "", "read", target, "b"), `masked`)

	ok(t, line("c", 11), "import", raw)
	require.Contains(t, ok(t, "", rename...), `"stored":1`, "it goes on with the copy's numbers")
	require.Contains(t, ok(t, "", "verify", raw, target), `"equal":true`)
}
