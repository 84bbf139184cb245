package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheSameProgramRunsOnEachBackendThatAConfigFileNames(t *testing.T) {
	postgres := server.Database(t)
	t.Setenv("SHOP_POSTGRES", postgres)
	t.Setenv("SHOP_MARTEN", strings.Replace(server.Database(t), "postgres:", "marten:", 1)+"&append=quick&create=true")
	configs := map[string]string{}
	for _, name := range []string{"memory.yaml", "sqlite.yaml", "postgres.yaml", "marten.yaml"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		configs[name] = string(text)
	}
	t.Chdir(t.TempDir()) // sqlite.yaml names a file there
	for name, text := range configs {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	depot := openDepot(t)
	lists := map[string]string{"postgres.yaml": postgres} // rows beside the events; the others make the list anew
	for name := range configs {
		for _, order := range []string{"first", "second"} { // again: it goes on
			t.Run(name+", the "+order+" time", func(t *testing.T) {
				shop := start(t, settings{config: name, list: lists[name], warehouse: depot.url})
				order += "-" + strings.TrimSuffix(name, ".yaml")
				path := "/orders/" + order
				placed := shop.ok("PUT", path, `{"customer":"ann","cents":500}`, "Idempotency-Key: k")
				require.Equal(t, placed, shop.ok("PUT", path, `{"customer":"ann","cents":500}`, "Idempotency-Key: k"))
				require.EqualValues(t, 500, shop.due("ann", placed)["order-"+order])
				paid := shop.ok("POST", path+"/payments", `{"cents":500,"payment":"p1"}`, "X-Correlation-ID: c")
				require.NotContains(t, shop.due("ann", paid), "order-"+order)
				require.Equal(t, "c", depot.await(t, order).CorrelationID)
				shop.stop()
			})
		}
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
