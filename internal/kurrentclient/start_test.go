package kurrentclient

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// start builds a program and runs it.
func start(t *testing.T, program string) (output string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, program).CombinedOutput()
	require.NoError(t, err, string(built))
	out, err := exec.CommandContext(t.Context(), path).CombinedOutput()
	return string(out), err
}

func TestAProgramWithKurrentDBsClientStartsBesideEveryOtherAdapter(t *testing.T) {
	output, err := start(t, "./compatible")
	require.NoError(t, err, output)
	require.Equal(t, "both are here: memory localhost:2113\n", output)
}

// A backend that is new is linked by package all, and has to be tried too.
func TestTheProgramHasEveryAdapterButEsdb(t *testing.T) {
	const backends = "github.com/switchyard-dev/switchyard/backends/"
	adapters := func(pkg string) (found []string) {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .Imports "\n"}}`, pkg).Output()
		require.NoError(t, err)
		for path := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(path, backends) && path != backends+"esdb" {
				found = append(found, path)
			}
		}
		return found
	}
	require.ElementsMatch(t, adapters(backends+"all"), adapters("./compatible"))
	require.Greater(t, len(adapters("./compatible")), 3)
}

// The README of backends/esdb says so. It is also what shows that the test above
// can fail.
func TestAProgramWithKurrentDBsClientDoesNotStartBesideTheEsdbAdapter(t *testing.T) {
	output, err := start(t, "./incompatible")
	require.Error(t, err, "they can share a program now: say so in the README, and add esdb to the other program")
	require.Contains(t, output, "name conflict")
}
