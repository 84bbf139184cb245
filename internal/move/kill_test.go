package move

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// asMove makes the test binary a process that moves a store and kills itself at a
// point: FROM|TO|STATE|POINT, paths of SQLite files.
const asMove = "SWITCHYARD_TEST_AS_MOVE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(asMove); spec != "" {
		if err := moveAndDie(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func die() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// dying is a backend, and its checkpoints, that kill the process before or after
// the n-th time that something is written.
type dying struct {
	eventstore.Backend
	eventstore.Checkpoints
	mu   sync.Mutex // the copy and the move write at once
	left map[string]int
}

func (d *dying) at(point string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left[point]--; d.left[point] == 0 {
		die()
	}
}

func (d *dying) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	d.at("append")
	results, err := d.Backend.Append(ctx, req)
	d.at("appended")
	return results, err
}

func (d *dying) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if transfer.OwnCheckpoint(req.Checkpoint.Name) { // the copy's, which come as time passes
		return d.Checkpoints.Save(ctx, req)
	}
	d.at("save")
	err := d.Checkpoints.Save(ctx, req)
	d.at("saved")
	return err
}

func (d *dying) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	d.at("delete")
	err := d.Checkpoints.Delete(ctx, req)
	d.at("deleted")
	return err
}

func (d *dying) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	if !req.Lift {
		return d.Backend.Seal(ctx, req)
	}
	d.at("unseal")
	info, err := d.Backend.Seal(ctx, req)
	d.at("unsealed")
	return info, err
}

func moveAndDie(spec string) error {
	parts := strings.Split(spec, "|")
	kind, point, _ := strings.Cut(parts[3], ":")
	ctx := context.Background()
	from, err := sqliteSide(ctx, parts[0])
	if err != nil {
		return err
	}
	backend, err := sqlite.Open(ctx, parts[1], nil)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(point) // of a phase it is 0, which kills nowhere
	d := &dying{Backend: backend, Checkpoints: backend.Records().Checkpoints, left: map[string]int{kind: n}}
	to, err := open(d, "sqlite:"+parts[1])
	if err != nil {
		return err
	}
	to.Checkpoints = d
	_, err = Move(ctx, from, to, &Options{
		StateDir: parts[2], StateEvery: time.Millisecond,
		Phase: func(phase Phase) {
			if kind == "phase" && string(phase) == point {
				die()
			}
		},
	})
	return err
}

// moveInProcess moves a store in a process that ends at a point.
func moveInProcess(t *testing.T, from, to, dir, point string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asMove+"="+strings.Join([]string{from, to, filepath.Join(dir, "state"), point}, "|"))
	out, err := cmd.CombinedOutput()
	require.Empty(t, string(out), point)
	return err
}

func TestAMoveThatIsKilledAtAnyPointGoesOn(t *testing.T) {
	dir := t.TempDir()
	fromPath, toPath := filepath.Join(dir, "from.db"), filepath.Join(dir, "to.db")
	from, err := sqliteSide(t.Context(), fromPath)
	require.NoError(t, err)
	defer func() { require.NoError(t, from.Store.Close()) }()
	add(t, from, 300)
	handled := handle(t, from, "billing", 100)
	require.NoError(t, from.Store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "other"}))

	run := func(point string) error { return moveInProcess(t, fromPath, toPath, dir, point) }
	open := true
	for _, point := range []string{
		"phase:fits", "phase:copy", "append:1", "appended:1", "phase:follow", "phase:seal", "phase:drain",
		"phase:verify", "phase:translate", "save:1", "saved:1", "save:3", "saved:3", "save:4", "saved:4", "delete:1", "deleted:1",
	} {
		require.ErrorContains(t, run(point), "killed", point)
		info, err := from.Store.Info(t.Context())
		require.NoError(t, err)
		if open = open && !info.Sealed; open {
			add(t, from, 30) // the application goes on meanwhile
		}
	}
	require.False(t, open)
	require.NoError(t, run("nowhere:0"), "it was killed after its last step: it is done")

	to, err := sqliteSide(t.Context(), toPath)
	require.NoError(t, err)
	defer func() { require.NoError(t, to.Store.Close()) }()
	requireMoved(t, from, to)
	rest := handle(t, to, "billing", 10_000)
	require.Len(t, append(handled, rest...), len(all(t, from)))
	require.Equal(t, all(t, from)[100].ID, rest[0].ID)
}

func TestAWayBackThatIsKilledLeavesNoTwoStoresOpenAndGoesOn(t *testing.T) {
	for _, point := range []string{
		"save:1", "saved:1", "phase:seal", "unseal:1", "unsealed:1", "phase:copy", "append:1", "appended:1",
		"phase:drain", "phase:verify", "phase:translate", "save:3", "saved:3", "delete:1", "deleted:1",
	} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			oldPath, newPath := filepath.Join(dir, "old.db"), filepath.Join(dir, "new.db")
			former, err := sqliteSide(t.Context(), oldPath)
			require.NoError(t, err)
			defer func() { require.NoError(t, former.Store.Close()) }()
			current, err := sqliteSide(t.Context(), newPath)
			require.NoError(t, err)
			defer func() { require.NoError(t, current.Store.Close()) }()
			add(t, former, 10)
			require.Len(t, handle(t, former, "billing", 10), 10)
			_, err = Move(t.Context(), former, current, nil)
			require.NoError(t, err)
			add(t, current, 5)
			require.NoError(t, current.Store.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing"})) // to be handled anew

			for range 2 { // killed again where it goes on
				if err := moveInProcess(t, newPath, oldPath, dir, point); err != nil {
					require.ErrorContains(t, err, "killed")
				}
				require.False(t, !sealed(t, former) && !sealed(t, current), "both take appends")
			}
			if sealed(t, current) == sealed(t, former) { // in the middle of it
				_, err = Move(t.Context(), former, current, nil)
				require.ErrorIs(t, err, ErrRefused, "the wrong way")
			}
			require.NoError(t, moveInProcess(t, newPath, oldPath, dir, "nowhere:0"))
			require.True(t, sealed(t, current))
			require.False(t, sealed(t, former))
			requireMoved(t, current, former)
			require.Len(t, handle(t, former, "billing", 100), 15)
			_, begun, err := unfinished(t.Context(), former, infoOf(t, current).ID)
			require.NoError(t, err)
			require.False(t, begun)
		})
	}
}
