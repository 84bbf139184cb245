package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestEachBackendHasAWayToBeHeldToTheContract(t *testing.T) {
	known := isolates()
	for _, scheme := range all.Set() {
		require.Contains(t, known, scheme.Names[0])
	}
	require.Len(t, known, len(all.Set()))
}

func TestAURLThatCannotBeIsolatedIsRefusedAsOpeningItWouldBe(t *testing.T) {
	for raw, says := range map[string]string{
		"":                                  "does not start with a scheme",
		"mysql://root:s3cr3t@db/orders":     `unknown scheme "mysql"`,
		"memory:orders":                     "takes no name and no parameters",
		"memory:?poll=1s":                   "takes no name and no parameters",
		"sqlite:":                           "names no file",
		"sqlite:a.db?cache=shared":          `unknown parameter "cache"`,
		"sqlite://orders.db":                "taken for a host",
		"sqlite://orders.db/x":              "taken for a host",
		"sqlite:a.db#x":                     "fragment",
		"sqlite:%zz":                        "not percent-encoded",
		"postgres://a:s3cr3t@db/x?shema=y":  `unknown parameter "shema"`,
		"esdb://a:s3cr3t@db?tls=true&a=b":   `unknown parameter "a"`,
		"esdb://a:s3cr3t@db:2113?tls=false": "password",
		"kafka://a:s3cr3t@db/x?sasl=s3cr3":  "none of plain",
		"kafka://a:s3cr3t@db/x?acks=1":      `unknown parameter "acks"`,
		"dynamodb://a:s3cr3t@local/orders":  "credentials come from the environment",
		"dynamodb://local/orders?table=x":   `unknown parameter "table"`,
	} {
		t.Run(raw, func(t *testing.T) {
			isolated, err := isolate(t.Context(), raw)
			if err == nil {
				_, err = isolated.Open(t.Context())
			}
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, says)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}

func TestAnIsolatedStoreHasManyHandlesOnOneLog(t *testing.T) {
	folder := t.TempDir()
	for _, raw := range []string{"memory:", "sqlite:" + folder + "/orders.db"} {
		t.Run(raw, func(t *testing.T) {
			isolated, err := isolate(t.Context(), raw)
			require.NoError(t, err)
			first, err := isolated.Open(t.Context())
			require.NoError(t, err)
			second, err := isolated.OpenPolling(t.Context())
			require.NoError(t, err)

			writer, err := eventstore.New(first, nil)
			require.NoError(t, err)
			reader, err := eventstore.New(second, nil)
			require.NoError(t, err)
			_, err = writer.Append(t.Context(), "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte("{}")})
			require.NoError(t, err)
			version, err := reader.StreamVersion(t.Context(), "order-1")
			require.NoError(t, err)
			require.EqualValues(t, 1, version)
			require.NoError(t, writer.Close())
			require.NoError(t, reader.Close())
			require.NoError(t, isolated.Remove(t.Context()))
			left, err := os.ReadDir(folder)
			require.NoError(t, err)
			require.Empty(t, left, "nothing is left behind, and the URL's own store was not touched")
		})
	}
}
