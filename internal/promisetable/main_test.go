package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
)

func TestTheTableIsCheckedAndPutRight(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range columns() {
		var b bytes.Buffer
		require.NoError(t, conformance.Report{Backend: name, Results: []conformance.Result{
			{Check: "append/x", Promise: 1, Status: conformance.Passed},
		}}.WriteJSON(&b))
		path := filepath.Join(dir, name+".json")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
		paths = append(paths, path)
	}
	readme := filepath.Join(dir, "README.md")
	require.NoError(t, os.WriteFile(readme, []byte("# Title\n"+begin+"old\n"+end+"the rest\n"), 0o600))
	args := append([]string{readme}, paths...)

	require.ErrorContains(t, run(false, args), "is not what the suite found")
	require.NoError(t, run(true, args))
	require.NoError(t, run(false, args))
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	require.Contains(t, string(text), "| 1 | An append is atomic and contiguous | ✓ 1 | ✓ 1 | ✓ 1 |")
	require.Contains(t, string(text), "the rest\n")

	require.ErrorContains(t, run(false, args[:2]), "reports of 1 backends")
	whole, err := os.ReadFile(paths[0])
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, conformance.Report{Backend: columns()[0], Scale: "at a smaller scale"}.WriteJSON(&b))
	require.NoError(t, os.WriteFile(paths[0], b.Bytes(), 0o600))
	require.ErrorContains(t, run(false, args), "whole runs only")
	require.NoError(t, os.WriteFile(paths[0], whole, 0o600))
	withoutKafka := args[:len(args)-1]
	t.Setenv("CI", "")
	require.NoError(t, run(false, withoutKafka), "a machine without Kafka may test the rest")
	require.ErrorContains(t, run(true, withoutKafka), "no report of kafka")
	t.Setenv("CI", "true")
	require.ErrorContains(t, run(false, withoutKafka), "no report of kafka")
	require.NoError(t, os.WriteFile(readme, []byte("no table"), 0o600))
	require.ErrorContains(t, run(false, args), "there is no table")
}
