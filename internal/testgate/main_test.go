package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func runGate(t *testing.T, allowed, run string, strict bool) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	allowFile, runFile := filepath.Join(dir, "allowed"), filepath.Join(dir, "run.json")
	require.NoError(t, os.WriteFile(allowFile, []byte(allowed), 0o600))
	require.NoError(t, os.WriteFile(runFile, []byte(run), 0o600))
	var out strings.Builder
	ok, err := gate(&out, allowFile, []string{runFile}, strict)
	require.NoError(t, err)
	return out.String(), ok
}

const passAndSkip = `{"Action":"start","Package":"p"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"skip","Package":"p","Test":"TestB/on_windows"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p"}
{"Action":"skip","Package":"without/tests"}
`

func TestTheCountClosesTheOutput(t *testing.T) {
	out, ok := runGate(t, "", passAndSkip, false)
	require.True(t, ok)
	require.True(t, strings.HasSuffix(out, "\n2 passed, 0 failed, 1 skipped\n"), out)
}

func TestAnUnlistedSkipFailsInCIOnly(t *testing.T) {
	out, ok := runGate(t, "", passAndSkip, true)
	require.False(t, ok)
	require.Contains(t, out, "p TestB/on_windows")

	_, ok = runGate(t, "", passAndSkip, false)
	require.True(t, ok)
}

func TestAListedSkipPassesInCIForTheTestAndItsSubtests(t *testing.T) {
	for _, listed := range []string{"p TestB/on_windows needs symlinks", "# why\n\np TestB needs symlinks\n"} {
		out, ok := runGate(t, listed, passAndSkip, true)
		require.True(t, ok)
		require.Contains(t, out, "needs symlinks")
	}
}

func TestAPrefixOfATestNameDoesNotAllowIt(t *testing.T) {
	_, ok := runGate(t, "p Test too wide", passAndSkip, true)
	require.False(t, ok)
}

func TestAFailedTestCountsOnceAndFails(t *testing.T) {
	out, ok := runGate(t, "", `{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}
`, false)
	require.False(t, ok)
	require.Contains(t, out, "0 passed, 1 failed, 0 skipped\n")
}

func TestAPackageThatDoesNotBuildCountsAsAFailure(t *testing.T) {
	out, ok := runGate(t, "", `{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p"}
{"Action":"pass","Package":"q","Test":"TestA"}
`, false)
	require.False(t, ok)
	require.Contains(t, out, "1 passed, 1 failed, 0 skipped\n")
}

func TestNoTestAtAllFails(t *testing.T) {
	out, ok := runGate(t, "", "", false)
	require.False(t, ok)
	require.Contains(t, out, "no test ran\n0 passed, 0 failed, 0 skipped\n")
}

func TestAnAllowedSkipWithoutAReasonIsAnError(t *testing.T) {
	allowFile := filepath.Join(t.TempDir(), "allowed")
	require.NoError(t, os.WriteFile(allowFile, []byte("# ok\np TestA\n"), 0o600))
	_, err := gate(&strings.Builder{}, allowFile, nil, true)
	require.ErrorContains(t, err, ":2: want PACKAGE TEST REASON")
}
