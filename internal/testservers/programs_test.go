//go:build unix

package testservers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func install(t *testing.T, dir string, programs ...string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, program := range programs {
		require.NoError(t, os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o755))
	}
	return dir
}

func TestProgramsInPATHComeFirst(t *testing.T) {
	dir := t.TempDir()
	inPath := install(t, filepath.Join(dir, "path"), "postgres", "initdb")
	install(t, filepath.Join(dir, "17", "bin"), "postgres", "initdb")
	bin, ok := installedPrograms("/nowhere:"+inPath, filepath.Join(dir, "*", "bin"))
	require.True(t, ok)
	require.Equal(t, inPath, bin)
}

func TestTheHighestVersionWins(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"9.6", "15", "16"} {
		install(t, filepath.Join(dir, version, "bin"), "postgres", "initdb")
	}
	install(t, filepath.Join(dir, "18", "bin"), "psql", "pg_dump") // clients only
	bin, ok := installedPrograms("", filepath.Join(dir, "*", "bin"))
	require.True(t, ok)
	require.Equal(t, filepath.Join(dir, "16", "bin"), bin)
}

func TestClientProgramsAloneAreNoServer(t *testing.T) {
	dir := install(t, t.TempDir(), "psql", "initdb")
	_, ok := installedPrograms(dir, dir)
	require.False(t, ok)
}

func TestWithoutAnyPostgreSQLTheErrorNamesTheThreeRemedies(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // nobody listens there
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	_, _, err := findPrograms(t.Context(), true)
	require.ErrorContains(t, err, urlVariable)
	require.ErrorContains(t, err, "install the PostgreSQL server")
	require.ErrorContains(t, err, "download")
}
