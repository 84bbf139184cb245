package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuickstartOutsideACheckoutUsesTheSample(t *testing.T) {
	dir := t.TempDir()
	out := ok(t, "", "quickstart", "--dir", dir, "--repository", dir)
	for _, want := range []string{
		"the first commits of Switchyard", "$ switchyard import", "$ switchyard read", "$ switchyard follow", "$ switchyard conformance",
		"$ switchyard copy", "$ switchyard verify", "version conflict on stream \"tour-decision\"", "0 failed", "\nequal\n",
	} {
		require.Contains(t, out, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "the suite has removed its stores")
}

func TestQuickstartTwiceInARepositoryStoresItsHistoryOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the conformance suite twice")
	}
	dir, repository := t.TempDir(), t.TempDir()
	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repository, "-c", "user.name=A", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "empty")
	for i := range 3 {
		require.NoError(t, appendTo(filepath.Join(repository, "a.txt"), strings.Repeat("x\n", i+1)))
		git("add", "-A")
		git("commit", "-q", "-m", "more")
	}
	first := ok(t, "", "quickstart", "--dir", dir, "--repository", repository)
	require.Contains(t, first, "3 events of this repository's last commits, 0 were there already")
	second := ok(t, "", "quickstart", "--dir", dir, "--repository", repository)
	require.Contains(t, second, "0 events of this repository's last commits, 3 were there already")
}
