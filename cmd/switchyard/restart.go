package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// restartWait is how long a server may take to answer after its restart.
const restartWait = time.Minute

// restartable adds to fixtures what ends a server without warning and starts it
// again: a command of the user's, who alone knows how.
func restartable(open func(context.Context) (*conformance.Fixture, error), command string) func(context.Context) (*conformance.Fixture, error) {
	return func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		if err != nil {
			return nil, err
		}
		again := fixture.OpenAgain
		fixture.Restart = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, restartWait)
			defer cancel()
			if err := runShell(ctx, command); err != nil {
				return err
			}
			return untilAnswered(ctx, again)
		}
		return fixture, nil
	}
}

// runShell runs a command line as the user's shell would, and returns what it said
// where it failed.
func runShell(ctx context.Context, command string) error {
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/c"
	}
	cmd := exec.CommandContext(ctx, shell, flag, command) //nolint:gosec // the command is the user's own, from the command line
	// A server that the command leaves running may hold its output open.
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("the restart command: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}

// untilAnswered waits until a store can be opened and read.
func untilAnswered(ctx context.Context, open func(context.Context) (eventstore.Backend, error)) error {
	for {
		err := answers(ctx, open)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the store does not answer within %s of the restart: %w", restartWait, err)
		case <-time.After(restartPause):
		}
	}
}

// restartPause is how long is waited between two looks at a server that restarts.
const restartPause = 50 * time.Millisecond

func answers(ctx context.Context, open func(context.Context) (eventstore.Backend, error)) error {
	backend, err := open(ctx)
	if err != nil {
		return err
	}
	_, err = backend.Info(ctx)
	return errors.Join(err, backend.Close())
}
