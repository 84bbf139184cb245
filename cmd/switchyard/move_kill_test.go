package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// killedAt runs the program, which kills itself when it is about to say a text.
func killedAt(t *testing.T, text string, args ...string) {
	t.Helper()
	cmd := program(t, args...)
	cmd.Env = append(cmd.Env, dieAt+"="+text)
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "killed", "%s: %s", text, out)
}

// isSealed tells whether a store refuses appends.
func isSealed(t *testing.T, url string) bool {
	t.Helper()
	var stats struct{ Sealed bool }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "stats", url)), &stats))
	return stats.Sealed
}

// The command itself is killed, in every phase, there and back, with a server as one of
// the two stores.
func TestAMoveToPostgreSQLAndBackThatIsKilledInEveryPhaseLosesNothing(t *testing.T) {
	here, there, state := sqliteURL(t), server.Database(t), t.TempDir()
	versions := make(map[string]int)
	add := func(url string, n int) {
		t.Helper()
		var text strings.Builder
		for i := range n {
			stream := fmt.Sprintf("order-%d", i%7)
			versions[stream]++
			text.WriteString(line(stream, versions[stream]))
		}
		ok(t, text.String(), "import", url)
	}
	add(here, 3)
	billing := []string{"--name", "billing"}
	first := startFollow(t, here, billing)
	for range 3 {
		first.line(t)
	}
	first.interrupt(t)
	add(here, 300)

	for _, phase := range []string{"fits:", "copy:", "follow:", "seal:", "drain:", "verify:", "translate:"} {
		killedAt(t, phase, "move", here, there, "--state", state)
		if !isSealed(t, here) {
			add(here, 20) // the application goes on
		}
	}
	require.True(t, isSealed(t, here))
	require.False(t, isSealed(t, there))
	ok(t, "", "move", here, there, "--state", state)
	require.Contains(t, ok(t, "", "verify", here, there), `"equal":true`)
	exported := ok(t, "", "export", there)

	add(there, 30)
	for _, phase := range []string{"fits:", "seal:", "copy:", "drain:", "verify:", "translate:"} {
		killedAt(t, phase, "move", there, here, "--state", state)
		require.True(t, isSealed(t, here) || isSealed(t, there), "both take appends when it was killed at %s", phase)
	}
	ok(t, "", "move", there, here, "--state", state)
	require.True(t, isSealed(t, there))
	require.False(t, isSealed(t, here))
	require.Contains(t, ok(t, "", "verify", here, there), `"equal":true`)
	require.Equal(t, 30+strings.Count(exported, "\n"), strings.Count(ok(t, "", "export", here), "\n"))

	cmd := program(t, append([]string{"follow", here}, billing...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	next, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.JSONEq(t, strings.Split(ok(t, "", "export", here), "\n")[3], next, "the subscription goes on where it was, twice moved")
}
