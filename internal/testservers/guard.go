//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guardScript ends the last process it was told of, by the signal of its first
// argument, and removes the folders of the others as soon as its input ends, which it does whenever the test process ends: in order,
// by a panic, or by SIGKILL.
const guardScript = `
signal=$1
shift
pid=0
while read -r line; do pid=$line; done
if [ "$pid" -gt 0 ]; then
  kill -"$signal" "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
fi
rm -rf -- "$@"
`

// guard is a shell that cleans up after a private server.
type guard struct {
	input io.WriteCloser
	shell *process
}

// startGuard starts a guard that ends the server by the signal of that name, such
// as QUIT.
func startGuard(signal string, folders []string) (*guard, error) {
	args := append([]string{"-c", guardScript, "guard", signal}, folders...)
	cmd := exec.CommandContext(context.Background(), "/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // outlives a Ctrl-C
	cmd.Dir = "/"
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	shell, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	return &guard{input: input, shell: shell}, nil
}

// watch makes pid the process to end, 0 none.
func (g *guard) watch(pid int) { fmt.Fprintln(g.input, pid) }

// end removes the folder, and the process that is being watched if there is one.
func (g *guard) end() error {
	if err := g.input.Close(); err != nil {
		return err
	}
	<-g.shell.ended
	if !g.shell.cmd.ProcessState.Success() {
		return errors.New("testservers: the server's folders could not be removed")
	}
	return nil
}
