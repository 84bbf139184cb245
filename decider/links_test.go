package decider_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheDeciderLinksTheStandardLibraryAndUUIDAlone(t *testing.T) {
	const module = "github.com/switchyard-dev/switchyard/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	var others []string
	for pkg := range strings.FieldsSeq(string(out)) {
		host, _, _ := strings.Cut(pkg, "/")
		own := pkg == module+"decider" || pkg == module+"codec" || pkg == module+"eventstore" || pkg == module+"internal/printable" || pkg == "github.com/google/uuid"
		if strings.Contains(host, ".") && !own {
			others = append(others, pkg)
		}
	}
	require.Empty(t, others)
}
