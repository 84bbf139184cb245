package projection_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that keeps read models links the driver that it chose, and no other.
func TestReadModelsLinkNoDriverOfTheirOwn(t *testing.T) {
	const module = "github.com/switchyard-dev/switchyard/"
	shared := []string{
		"github.com/google/uuid", module + "eventstore", module + "internal/printable", module + "codec", module + "projection",
	}
	target := slices.Concat(shared, []string{module + "eventstore/adapter", module + "internal/sleep", module + "projection/internal/target", module + "internal/sqlstate"})
	for name, test := range map[string]struct {
		pkg    string
		allow  []string
		driver string // and what it brings along
	}{
		"projection": {".", shared, ""},
		"sqldb":      {"./sqldb", append(slices.Clone(target), module+"projection/sqldb"), ""},
		"pgxdb":      {"./pgxdb", append(slices.Clone(target), module+"projection/pgxdb", module+"internal/pgdriver"), "github.com/jackc/ golang.org/x/"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", test.pkg).Output()
			require.NoError(t, err)
			var others []string
			for pkg := range strings.FieldsSeq(string(out)) {
				host, _, _ := strings.Cut(pkg, "/")
				ofDriver := slices.ContainsFunc(strings.Fields(test.driver), func(prefix string) bool { return strings.HasPrefix(pkg, prefix) })
				if strings.Contains(host, ".") && !ofDriver && !slices.Contains(test.allow, pkg) {
					others = append(others, pkg)
				}
			}
			require.Empty(t, others)
		})
	}
}
