package decider_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/linktest"
)

func TestTheDeciderLinksTheStandardLibraryAndUUIDAlone(t *testing.T) {
	const module = linktest.Module
	others, err := linktest.Others(t.Context(), ".",
		module+"decider", module+"codec", module+"eventstore", module+"internal/printable", module+"internal/sleep", "github.com/google/uuid")
	require.NoError(t, err)
	require.Empty(t, others)
}
