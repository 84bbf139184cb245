package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuickstartShowsEverythingAlsoOutsideACheckout(t *testing.T) {
	dir := t.TempDir()
	out := ok(t, "", "quickstart", "--dir", dir, "--repository", dir)
	for _, want := range []string{
		"There is no git history here", "$ switchyard import", "$ switchyard read", "$ switchyard follow", "$ switchyard append",
		"$ switchyard conformance", "--scale small", "at a smaller scale", "$ switchyard copy", "$ switchyard verify", "version conflict on stream", " 0 failed", "\nequal\n",
	} {
		require.Contains(t, out, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "the suite has removed its stores")
}

func TestTheQuickstartRunsInAnyFolderAndHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a#b?c=d%41 e")
	repository := t.TempDir()
	git := func(date string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repository, "-c", "user.name=Ada", "-c", "user.email=a@example.com"}, args...)...)
		cmd.Env = append(cmd.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	git("", "init", "-q")
	for i, date := range []string{"@1000000000 +0200", "@1000000001 -10039", "@1000000002 +5146", "@1000000003 +2400"} {
		name := filepath.Join(repository, string(rune('a'+i)))
		require.NoError(t, exec.CommandContext(t.Context(), "cp", "quickstart.go", name).Run())
		git(date, "add", ".")
		git(date, "commit", "-q", "-m", date)
	}
	out := ok(t, "", "quickstart", "--dir", dir, "--repository", repository, "--match", "^append/returns")
	require.Contains(t, out, "4 changes of files in 4 commits")
	require.Contains(t, out, "\nequal\n")
	require.FileExists(t, filepath.Join(dir, "quickstart.db"))
}
