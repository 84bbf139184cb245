package kurrentclient

import (
	"os/exec"
	"path/filepath"
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
	output, err := start(t, "./beside")
	require.NoError(t, err, output)
	require.Equal(t, "both are here: memory localhost:2113\n", output)
}

// The README of backends/esdb says so. It is also what shows that the test above
// can fail.
func TestAProgramWithKurrentDBsClientDoesNotStartBesideTheEsdbAdapter(t *testing.T) {
	output, err := start(t, "./besideesdb")
	require.Error(t, err, "they can share a program now: say so in the README, and add esdb to the other program")
	require.Contains(t, output, "name conflict")
}
