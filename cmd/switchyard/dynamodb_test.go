package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
)

// dynamoURL is a table of a double, made by whoever opens it first.
func dynamoURL(t *testing.T) (*dynamodbtest.Server, string) {
	t.Helper()
	srv, err := dynamodbtest.Start(nil)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	return srv, dynamodbharness.TableURL(srv.URL(), "events")
}

func TestTheQuickstartRunsOnDynamoDB(t *testing.T) {
	_, url := dynamoURL(t)
	dir := t.TempDir()
	out := ok(t, "", "quickstart", url, "--dir", dir, "--repository", dir, "--match", "^(append|expect)/")
	for _, want := range []string{"$ switchyard import dynamodb://", "version conflict on stream", " 0 failed", "\nequal\n"} {
		require.Contains(t, out, want)
	}
}

func TestStoresAreMovedIntoDynamoDBAndBack(t *testing.T) {
	_, table := dynamoURL(t)
	from, back := sqliteURL(t), sqliteURL(t)
	var text strings.Builder
	for i := range 300 {
		text.WriteString(line([]string{"a", "b", "c"}[i%3], i/3+1))
	}
	ok(t, text.String(), "import", from)
	require.JSONEq(t, `{"read":300,"stored":300,"duplicates":0}`, ok(t, "", "copy", from, table))
	require.JSONEq(t, `{"read":0,"stored":0,"duplicates":0}`, ok(t, "", "copy", from, table), "it goes on where it ended")
	ok(t, "", "copy", table, back)
	require.Contains(t, ok(t, "", "verify", from, table), `"equal":true`)
	require.Contains(t, ok(t, "", "verify", table, back), `"equal":true`)
	require.Equal(t, 300, strings.Count(ok(t, "", "export", table), "\n"))

	ok(t, line("a", 101), "import", table)
	require.Equal(t, exitFailed, call(t, "", "verify", from, table).code)
}

func TestBenchAndConformanceRunBesideADynamoDBStore(t *testing.T) {
	_, url := dynamoURL(t)
	ok(t, line("a", 1), "import", url)
	before := ok(t, "", "stats", url)
	require.Contains(t, ok(t, "", "conformance", url, "--match", "^append/returns", "--text"), " 0 failed")
	out := ok(t, "", "bench", url, "--rounds", "1", "--duration", "100ms", "--match", "^append 8×1 new streams$", "--text")
	require.Regexp(t, `8×1 .* events/s.* an event: \d\.\d\d write and \d+\.\d+ read units; a call: \d\.\d\d requests; \$\d\.\d\d a million events at \$0\.625 and \$0\.125`, out)
	require.Equal(t, before, ok(t, "", "stats", url), "the store is not touched")
}

func TestWhatAnOperatorNeedsIsPrinted(t *testing.T) {
	out := ok(t, "", "init", "dynamodb://eu-central-1/orders", "--print")
	require.Contains(t, out, "aws dynamodb create-table --region eu-central-1 --table-name orders")
	require.Contains(t, out, "Type: AWS::DynamoDB::Table")
	require.Equal(t, exitUsage, call(t, "", "init", "memory:", "--print").code)
}

func TestARestoredTableIsChecked(t *testing.T) {
	srv, url := dynamoURL(t)
	ok(t, line("a", 1), "import", url)
	srv.SetTableState("events", dynamodbtest.TableState{RestoredAt: time.Now()})
	refused := call(t, "", "stats", url)
	require.Equal(t, exitFailed, refused.code)
	require.Contains(t, refused.err, "run switchyard check on it")
	require.Contains(t, ok(t, "", "check", url, "--text"), "is whole: 1 event in 1 log item")
	require.Contains(t, ok(t, "", "check", url), `"problems":[]`)
	ok(t, "", "stats", url)
	require.Equal(t, exitUsage, call(t, "", "check", "memory:").code)
}
