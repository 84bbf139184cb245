package shred_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/linktest"
)

func TestShreddingLinksTheStandardLibraryAndUUIDAlone(t *testing.T) {
	const module = linktest.Module
	others, err := linktest.Others(t.Context(), ".",
		module+"shred", module+"codec", module+"eventstore", module+"internal/printable", "github.com/google/uuid")
	require.NoError(t, err)
	require.Empty(t, others)
}
