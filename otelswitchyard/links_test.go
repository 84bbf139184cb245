package otelswitchyard_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// linking returns those of the packages that link a package whose path has a part.
func linking(t *testing.T, part string, packages ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-f", `{{.ImportPath}} {{join .Deps " "}}`}, packages...)...).Output()
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(out)) {
		pkg, deps, _ := strings.Cut(line, " ")
		if strings.Contains(deps, part) {
			found = append(found, pkg)
		}
	}
	return found
}

func TestOnlyThisPackageLinksOpenTelemetryAndOnlyItsAPI(t *testing.T) {
	const own, program = "github.com/switchyard-dev/switchyard/otelswitchyard", "github.com/switchyard-dev/switchyard/examples/shop"
	require.Equal(t, []string{program, own}, linking(t, "go.opentelemetry.io/otel", "github.com/switchyard-dev/switchyard/..."))
	require.Empty(t, linking(t, "go.opentelemetry.io/otel/sdk", own), "providers are the application's")
	require.Empty(t, linking(t, "github.com/switchyard-dev/switchyard/backends", own))
}
