package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A full disk is a definite error wherever within a COMMIT it strikes: the append
// is in no later read, and a crash does not bring it back. The small disk is
// mounted for one process alone.
func TestAFullDiskIsADefiniteError(t *testing.T) {
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, t.TempDir(), t.TempDir())
	cmd.Env = append(os.Environ(), childVariable+"=full")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), errNoMount.Error()) {
		t.Skipf("a process may not mount a disk of its own here: %v %s", err, out)
	}
	t.Logf("%s", out)
	require.NoError(t, err)
}

var errNoMount = errors.New("no disk could be mounted")

const diskBytes = 2 << 20

func childFillsDisk(disk, outside string) error {
	if err := syscall.Mount("none", disk, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		return fmt.Errorf("%w: %w", errNoMount, err)
	}
	ctx := context.Background()
	path, filler := filepath.Join(disk, "events.db"), filepath.Join(disk, "filler")
	backend, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	store, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1})
	if err != nil {
		return err
	}
	defer store.Close()
	failed, version := 0, uint64(0)
	for room := range 16 { // pages, of which an append takes about ten
		next := numbered("s-1", version+1)
		next.Data = []byte(`"` + strings.Repeat("x", 12000) + `"`)
		if err := fillDisk(disk, filler, room); err != nil {
			return err
		}
		_, err := store.Append(ctx, "s-1", eventstore.Exactly(version), next)
		if err == nil {
			version++
		} else {
			failed++
			if err := isDefinitelyFull(err); err != nil {
				return fmt.Errorf("with %d pages: %w", room, err)
			}
			// What a crash at this moment would leave.
			crashed := filepath.Join(outside, fmt.Sprintf("crashed-%d.db", room))
			if err := runChild(ctx, "copy", path, crashed); err != nil {
				return err
			}
			if err := hasVersion(ctx, crashed, version); err != nil {
				return fmt.Errorf("after a crash with %d pages: %w", room, err)
			}
		}
		if err := os.Remove(filler); err != nil {
			return err
		}
		if err := hasVersion(ctx, path, version); err != nil {
			return fmt.Errorf("with %d pages: %w", room, err)
		}
		if err != nil { // now there is room for it
			result, err := store.Append(ctx, "s-1", eventstore.Exactly(version), next)
			if err != nil || result.Duplicate {
				return fmt.Errorf("repeated: %+v, %w", result, err)
			}
			version++
		}
	}
	fmt.Printf("%d of 16 appends met a full disk\n", failed)
	if failed < 5 || failed > 15 {
		return errors.New("the disk was to be filled up at every page of a COMMIT")
	}
	return nil
}

// fillDisk leaves so many pages.
func fillDisk(disk, filler string, pages int) error {
	var free syscall.Statfs_t
	if err := syscall.Statfs(disk, &free); err != nil {
		return err
	}
	return os.WriteFile(filler, make([]byte, (int64(free.Bavail)-int64(pages))*free.Bsize), 0o600)
}

func isDefinitelyFull(err error) error {
	if !errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome) ||
		!strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "commit") {
		return fmt.Errorf("not a definite error of a COMMIT on a full disk: %w", err)
	}
	return nil
}

func hasVersion(ctx context.Context, path string, want uint64) error {
	backend, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	page, err := backend.ReadAll(ctx, eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 100, MaxBytes: 1 << 20}})
	if err == nil && uint64(len(page.Events)) != want {
		err = fmt.Errorf("%s holds %d events instead of %d", path, len(page.Events), want)
	}
	return errors.Join(err, backend.Close())
}
