//go:build unix

package testservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockFile makes processes wait for each other, so that what all of them need is
// fetched or built once. Closing the file releases the lock, once no child has it
// open any more.
func lockFile(ctx context.Context, name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return file, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		}
	}
}

// once has put bring something into the cache folder, which it makes, where there says that
// it is not there yet: once a machine, however many test processes ask for it at once. lock
// names a file in that folder; put is given it, for it runs under it.
func once(ctx context.Context, lock string, there func() bool, put func(lock *os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(lock), 0o755); err != nil {
		return err
	}
	held, err := lockFile(ctx, lock)
	if err != nil {
		return fmt.Errorf("wait for the test process that holds %s: %w", lock, err)
	}
	defer func() { _ = held.Close() }()
	if there() { // another process was faster
		return nil
	}
	return put(held)
}

func isProgram(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

// lastLines returns the end of a program's output.
func lastLines(out []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
