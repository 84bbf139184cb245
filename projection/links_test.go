package projection_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/linktest"
)

// A program that keeps read models links the driver that it chose, and no other.
func TestReadModelsLinkNoDriverOfTheirOwn(t *testing.T) {
	const module = linktest.Module
	shared := []string{
		"github.com/google/uuid", module + "eventstore", module + "internal/printable", module + "codec", module + "projection",
	}
	target := slices.Concat(shared, []string{module + "eventstore/adapter", module + "internal/sleep", module + "projection/internal/target", module + "internal/sqlstate"})
	for name, test := range map[string]struct {
		pkg   string
		allow []string
	}{
		"projection": {".", shared},
		"sqldb":      {"./sqldb", append(slices.Clone(target), module+"projection/sqldb")},
		"pgxdb":      {"./pgxdb", append(slices.Clone(target), module+"projection/pgxdb", module+"internal/pgdriver", "github.com/jackc/", "golang.org/x/")},
	} {
		t.Run(name, func(t *testing.T) {
			others, err := linktest.Others(t.Context(), test.pkg, test.allow...)
			require.NoError(t, err)
			require.Empty(t, others)
		})
	}
}
