package shred_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShreddingLinksTheStandardLibraryAndUUIDAlone(t *testing.T) {
	const module = "github.com/switchyard-dev/switchyard/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	own := []string{module + "shred", module + "codec", module + "eventstore", module + "internal/printable", "github.com/google/uuid"}
	var others []string
	for pkg := range strings.FieldsSeq(string(out)) {
		host, _, _ := strings.Cut(pkg, "/")
		if strings.Contains(host, ".") && !slices.Contains(own, pkg) {
			others = append(others, pkg)
		}
	}
	require.Empty(t, others)
}
