package eventtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/linktest"
)

func TestEventtestLinksNoDriverAndNoTestLibrary(t *testing.T) {
	const module = linktest.Module
	others, err := linktest.Others(t.Context(), ".",
		module+"eventtest", module+"decider", module+"codec", module+"eventstore", module+"eventstore/adapter", module+"backends", module+"backends/memory",
		module+"internal/transfer", module+"internal/cloudevents", module+"internal/printable", module+"internal/sleep", // of the one decoder of exports
		"github.com/google/uuid",
		"github.com/go-json-experiment/json/", "golang.org/x/sync/", "go.yaml.in/yaml/", // its parsers
	)
	require.NoError(t, err)
	require.Empty(t, others)
}
