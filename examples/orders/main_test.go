package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

const output = `the order has 5 items after 2 events
a decision on version 1 is refused: the order is at version 2
billed the order
`

func TestTheSameProgramRunsOnEachBackendThatAConfigFileNames(t *testing.T) {
	t.Setenv("ORDERS_DB", filepath.Join(t.TempDir(), "orders.db"))
	t.Setenv("ORDERS_URL", server.Database(t))
	t.Setenv("ORDERS_MARTEN_URL", strings.Replace(server.Database(t), "postgres:", "marten:", 1)+"&append=quick&create=true")
	for _, config := range []string{"memory.yaml", "sqlite.yaml", "sqlite.yaml", "postgres.yaml", "postgres.yaml", "marten.yaml", "marten.yaml"} { // again: it goes on
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
	memory := lines("memory.yaml")
	for _, config := range []string{"sqlite.yaml", "postgres.yaml", "marten.yaml"} {
		other := lines(config)
		require.Len(t, other, len(memory), config)
		different := 0
		for i := range memory {
			if !bytes.Equal(memory[i], other[i]) {
				different++
			}
		}
		require.Equal(t, 1, different, config)
	}
}
