package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// kafkaURL is the URL of a new store.
func kafkaURL(server *testservers.Kafka) string {
	return "kafka://" + strings.Join(server.Addresses(), ",") + "/" + server.Name()
}

func TestEveryCommandWorksOnKafka(t *testing.T) {
	server := testservers.PrivateKafka(t, testservers.KafkaOptions{})
	t.Run("quickstart", func(t *testing.T) {
		dir := t.TempDir()
		out := ok(t, "", "quickstart", kafkaURL(server), "--dir", dir, "--repository", dir, "--match", "^(append|expect)/")
		for _, want := range []string{"$ switchyard import kafka://", "version conflict on stream", " 0 failed", "\nequal\n"} {
			require.Contains(t, out, want)
		}
	})
	t.Run("import, copy, verify, export, seal", func(t *testing.T) {
		from, log, back := sqliteURL(t), kafkaURL(server), sqliteURL(t)
		var text strings.Builder
		for i := range 300 {
			text.WriteString(line([]string{"a", "b", "c"}[i%3], i/3+1))
		}
		ok(t, text.String(), "import", from)
		require.JSONEq(t, `{"read":300,"stored":300,"duplicates":0}`, ok(t, "", "copy", from, log))
		require.JSONEq(t, `{"read":0,"stored":0,"duplicates":0}`, ok(t, "", "copy", from, log), "it goes on where it ended")
		ok(t, "", "copy", log, back)
		require.Contains(t, ok(t, "", "verify", from, log), `"equal":true`)
		require.Contains(t, ok(t, "", "verify", log, back), `"equal":true`)
		ok(t, ok(t, "", "export", log), "import", kafkaURL(server))
		ok(t, "", "seal", log, "--reason", "moved")
		require.NotZero(t, call(t, line("a", 101), "import", log).code)
		ok(t, "", "unseal", log)
		ok(t, line("a", 101), "import", log)
		require.Equal(t, exitFailed, call(t, "", "verify", from, log).code)
	})
	t.Run("bench and conformance beside a store", func(t *testing.T) {
		url := kafkaURL(server)
		ok(t, line("a", 1), "import", url)
		before := ok(t, "", "stats", url)
		require.Contains(t, ok(t, "", "conformance", url, "--match", "^append/returns", "--text"), " 0 failed")
		out, err := program(t, "bench", url, "--processes", "2", "--rounds", "1", "--duration", "100ms", "--match", "append 8×1 new streams$", "--text").Output()
		require.NoError(t, err)
		require.Contains(t, string(out), "bare grouped produce")
		require.Equal(t, before, ok(t, "", "stats", url), "the store is not touched")
	})
	t.Run("a store that is not there is not made by who only reads", func(t *testing.T) {
		got := call(t, "", "stats", kafkaURL(server))
		require.NotZero(t, got.code)
		require.Contains(t, got.err, "there is no store")
	})
}
