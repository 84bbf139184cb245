package relay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/linktest"
)

func TestARelayLinksTheStandardLibraryAndUUIDAlone(t *testing.T) {
	const module = linktest.Module
	others, err := linktest.Others(t.Context(), ".",
		module+"relay", module+"eventstore", module+"internal/cloudevents", module+"internal/printable", "github.com/google/uuid")
	require.NoError(t, err)
	require.Empty(t, others, "no backend, no broker's client and no parser is among them")
}
