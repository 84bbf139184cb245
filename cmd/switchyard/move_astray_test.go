package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The remedy of the refusal is run as it is printed.
func TestEventsThatWereWrittenToTheOldStoreAreBroughtOverAsTheRefusalSays(t *testing.T) {
	from, to, state := sqliteURL(t), sqliteURL(t), t.TempDir()
	ok(t, line("a", 1)+line("b", 1), "import", from)
	ok(t, "", "init", to)
	ok(t, "", "move", from, to, "--state", state)
	ok(t, "", "append", to, "a", "--type", "T", "--data", `"new"`)
	refusedToOpen := call(t, "", "unseal", from)
	require.Equal(t, exitFailed, refusedToOpen.code)
	require.Contains(t, refusedToOpen.err, "moved to "+to)
	require.True(t, isSealed(t, from))
	require.Contains(t, call(t, "", "unseal", from, "--although-moved", "--quiet").err, "see that nobody writes to that store")
	for _, stream := range []string{"a", "paid"} {
		ok(t, "", "append", from, stream, "--type", "T", "--data", `"astray"`)
	}
	refused := call(t, "", "move", to, from, "--state", state)
	require.Equal(t, exitFailed, refused.code)
	remedy := regexp.MustCompile(`switchyard (unseal \S+) .*switchyard (export \S+ --after \S+) \| jq -c 'del\(\.version\)' \| switchyard (import \S+)\. TO`).FindStringSubmatch(refused.err)
	require.NotNil(t, remedy, refused.err)
	ok(t, "", strings.Fields(remedy[1])...)
	var events strings.Builder
	for exported := range strings.Lines(ok(t, "", strings.Fields(remedy[2])...)) {
		var event map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(exported), &event))
		delete(event, "version") // as jq does
		text, err := json.Marshal(event)
		require.NoError(t, err)
		events.Write(append(text, '\n'))
	}
	for range 2 { // again changes nothing
		ok(t, events.String(), strings.Fields(remedy[3])...)
	}
	require.Equal(t, 3, strings.Count(ok(t, "", "read", to, "a", "--json"), "\n"))
	require.Equal(t, 1, strings.Count(ok(t, "", "read", to, "paid", "--json"), "\n"))
	again := call(t, "", "move", to, from, "--state", state)
	require.Contains(t, again.err, "move FROM into a fresh store", "and there is no circle")
	fresh := sqliteURL(t)
	ok(t, "", "init", fresh)
	ok(t, "", "move", to, fresh, "--state", state)
}
