package backends_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goTool runs the go command in this package's folder.
func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stderr = &strings.Builder{}
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), cmd.Stderr)
	return string(out)
}

// dependencies returns the packages that a program or package links.
func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	return strings.Fields(goTool(t, "list", "-deps", pkg))
}

// linked returns those of the packages that are, or are below, one of the paths.
func linked(packages []string, paths ...string) []string {
	var found []string
	for _, pkg := range packages {
		for _, path := range paths {
			if pkg == path || strings.HasPrefix(pkg, path+"/") {
				found = append(found, pkg)
			}
		}
	}
	return found
}

const module = "github.com/switchyard-dev/switchyard"

// The drivers of the adapters, by what their packages begin with.
var (
	grpc     = []string{"google.golang.org", "github.com/EventStore", "github.com/kurrent-io"}
	aws      = []string{"github.com/aws"}
	kafka    = []string{"github.com/segmentio/kafka-go", "github.com/twmb/franz-go"}
	sqlite   = []string{"modernc.org"}
	postgres = []string{"github.com/jackc"}
	// tests are what checks and benchmarks need and no application does.
	tests = []string{module + "/conformance", "github.com/stretchr/testify", "testing"}
)

func TestAProgramLinksTheBackendsOfItsSetAndNoOther(t *testing.T) {
	for program, unwanted := range map[string][][]string{
		"./testdata/links/memory":   {grpc, aws, kafka, sqlite, postgres, tests},
		"./testdata/links/postgres": {grpc, aws, kafka, sqlite, tests},
	} {
		packages := dependencies(t, program)
		require.NotEmpty(t, linked(packages, module+"/backends/memory"), "the program is read")
		for _, paths := range unwanted {
			require.Empty(t, linked(packages, paths...), program)
		}
	}
	require.NotEmpty(t, linked(dependencies(t, "./testdata/links/postgres"), postgres...))
}

func TestPackageBackendsLinksNoAdapterAndAllLinksNoTests(t *testing.T) {
	own := linked(dependencies(t, "."), module)
	require.ElementsMatch(t, []string{module + "/backends", module + "/eventstore"}, linked(own, module+"/backends", module+"/eventstore"))
	all := dependencies(t, "./all")
	require.Empty(t, linked(all, tests...))
	for _, paths := range [][]string{grpc, kafka, sqlite, postgres} {
		require.NotEmpty(t, linked(all, paths...), "these paths are how the drivers are found")
	}
}

func TestABackendLinksNoOtherAndItsTestPackageOnlyItsOwn(t *testing.T) {
	for backend, own := range map[string]string{"memory": "memorytest", "sqlite": "sqlitetest", "postgres": "postgrestest", "esdb": "esdbharness", "marten": "martentest", "kafka": "kafkaharness", "dynamodb": "dynamodbharness"} {
		path := module + "/backends/" + backend
		parts := linked(dependencies(t, path), path) // the backend's own packages
		packages := dependencies(t, path)
		require.ElementsMatch(t, append([]string{module + "/backends"}, parts...), linked(packages, module+"/backends"))
		require.Empty(t, linked(packages, tests...), path)
		require.ElementsMatch(t, append([]string{module + "/backends", path + "/" + own}, parts...), linked(dependencies(t, path+"/"+own), module+"/backends"))
	}
}

func TestASmallProgramOfMemoryAndPostgreSQLIsAtMost12MB(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	goTool(t, "build", "-ldflags=-s -w", "-o", program, "./testdata/links/postgres")
	info, err := os.Stat(program)
	require.NoError(t, err)
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	require.LessOrEqual(t, info.Size(), int64(12_000_000))
}
