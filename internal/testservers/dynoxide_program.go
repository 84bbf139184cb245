//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	// dynoxideVersion is the version that the tests' expectations were written
	// against.
	dynoxideVersion = "3.2.0"
	// dynoxideVariable names a program of yours.
	dynoxideVariable = "SWITCHYARD_TEST_DYNOXIDE"
	// dynoxideJobs leaves a small machine some air while it builds.
	dynoxideJobs = "2"
)

// findDynoxide returns the program: yours, the one in the cache folder, or one
// that is built there now, once per machine. Its error names what can be done.
func findDynoxide(ctx context.Context) (string, error) {
	if program := os.Getenv(dynoxideVariable); program != "" {
		if !isProgram(program) {
			return "", fmt.Errorf("testservers: %s is not a program: %s", dynoxideVariable, program)
		}
		return program, nil
	}
	program, err := builtDynoxide(ctx)
	if err != nil {
		return "", fmt.Errorf("testservers: no dynoxide for the tests. Any of these helps: install Rust 1.88 or later with cargo, "+
			"which builds it once (3 minutes on two cores); or set %s to the program of version %s: %w", dynoxideVariable, dynoxideVersion, err)
	}
	return program, nil
}

func builtDynoxide(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "switchyard", "dynoxide")
	program := filepath.Join(cache, dynoxideVersion, "bin", "dynoxide")
	there := func() bool { return isProgram(program) }
	if there() {
		return program, nil
	}
	cargo, err := exec.LookPath("cargo")
	if err != nil {
		return "", err
	}
	return program, once(ctx, filepath.Join(cache, "lock"), there, func(lock *os.File) error { return buildDynoxide(ctx, cargo, cache, lock) })
}

// buildScript builds beside the place where the program is looked for, and moves
// it there in one step, so that nobody sees half of it. All of it is the script's:
// where the test process is killed meanwhile, by a time limit say, the build goes
// on under the lock that it has inherited, and the next test process finds it.
const buildScript = `
scratch=$1 final=$2
shift 2
cd "$scratch" && nice "$@" --root "$scratch/root" --target-dir "$scratch/target" && mv "$scratch/root" "$final"
status=$?
cd / && rm -rf "$scratch"
exit $status
`

func buildDynoxide(ctx context.Context, cargo, cache string, lock *os.File) error {
	scratch, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", buildScript, "build", scratch, filepath.Join(cache, dynoxideVersion),
		cargo, "install", "dynoxide-rs", "--version", dynoxideVersion, "--locked",
		"--no-default-features", "--features", "native-sqlite,http-server,cli", "--jobs", dynoxideJobs)
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the compilers too
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("cargo install: %w\n%s", err, lastLines(out, 40)), os.RemoveAll(scratch))
	}
	return nil
}
