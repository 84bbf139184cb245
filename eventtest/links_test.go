package eventtest_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventtestLinksNoDriverAndNoTestLibrary(t *testing.T) {
	const module = "github.com/switchyard-dev/switchyard/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	own := []string{
		module + "eventtest", module + "decider", module + "codec", module + "eventstore", module + "eventstore/adapter", module + "backends", module + "backends/memory",
		module + "internal/transfer", module + "internal/cloudevents", module + "internal/printable", // of the one decoder of exports
		"github.com/google/uuid",
	}
	var others []string
	for pkg := range strings.FieldsSeq(string(out)) {
		host, _, _ := strings.Cut(pkg, "/")
		parsers := strings.HasPrefix(pkg, "github.com/go-json-experiment/json/") || strings.HasPrefix(pkg, "golang.org/x/sync/") || strings.HasPrefix(pkg, "go.yaml.in/yaml/")
		if strings.Contains(host, ".") && !slices.Contains(own, pkg) && !parsers {
			others = append(others, pkg)
		}
	}
	require.Empty(t, others)
}
