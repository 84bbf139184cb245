package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuickstartShowsEverythingAlsoOutsideACheckout(t *testing.T) {
	dir := t.TempDir()
	out := ok(t, "", "quickstart", "--dir", dir, "--repository", dir)
	for _, want := range []string{
		"There is no git history here", "$ switchyard import", "$ switchyard read", "$ switchyard follow", "$ switchyard append",
		"$ switchyard conformance", "$ switchyard copy", "$ switchyard verify", "version conflict on stream", " 0 failed", "\nequal\n",
	} {
		require.Contains(t, out, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "the suite has removed its stores")
}
