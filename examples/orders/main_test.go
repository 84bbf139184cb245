package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const output = `the order has 5 items after 2 events
a decision on version 1 is refused: the order is at version 2
billed the order
`

func TestTheSameProgramRunsOnEachBackendThatAConfigFileNames(t *testing.T) {
	t.Setenv("ORDERS_DB", filepath.Join(t.TempDir(), "orders.db"))
	for _, config := range []string{"memory.yaml", "sqlite.yaml", "sqlite.yaml"} { // SQLite again: it goes on
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), &out, config), config)
		require.Equal(t, output, out.String(), config)
	}
}

func TestTheConfigFilesDifferInOneLine(t *testing.T) {
	lines := func(name string) [][]byte {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		return bytes.Split(content, []byte("\n"))
	}
	memory, sqlite := lines("memory.yaml"), lines("sqlite.yaml")
	require.Len(t, sqlite, len(memory))
	different := 0
	for i := range memory {
		if !bytes.Equal(memory[i], sqlite[i]) {
			different++
		}
	}
	require.Equal(t, 1, different)
}
