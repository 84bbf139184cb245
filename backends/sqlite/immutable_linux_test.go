package sqlite_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// makeImmutable takes the right to write a file even from root.
func makeImmutable(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "chattr", "+i", path).CombinedOutput(); err != nil {
		t.Skipf("running as root where chattr cannot make a file immutable: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("chattr", "-i", path).Run()) }) //nolint:noctx // the test's context is done
}
