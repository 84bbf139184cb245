package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/move"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

// asOperator makes the test binary the operator's process, which moves a store and kills itself when
// a phase begins: FROM, TO, the folder for the state and the phase, a line each.
const asOperator = "SWITCHYARD_TEST_AS_OPERATOR"

func TestMain(m *testing.M) {
	if spec := os.Getenv(asOperator); spec != "" {
		fmt.Fprintln(os.Stderr, moveAndDie(context.Background(), strings.Split(spec, "\n")))
		os.Exit(1)
	}
	os.Exit(server.Main(m))
}

func moveAndDie(ctx context.Context, spec []string) error {
	from, err := open(ctx, spec[0])
	if err != nil {
		return err
	}
	to, err := open(ctx, spec[1])
	if err != nil {
		return err
	}
	_, err = move.Move(ctx, from, to, &move.Options{StateDir: spec[2], MaxLag: 10 * time.Second, Phase: func(phase move.Phase) {
		if string(phase) == spec[3] {
			self, _ := os.FindProcess(os.Getpid()) // which is there
			_ = self.Kill()
			select {}
		}
	}})
	return fmt.Errorf("the move ended before its phase %s: %w", spec[3], err)
}

// killedAt is the operator's move in a process that is killed when a phase begins.
func killedAt(t *testing.T, phase move.Phase, from, to, state string) {
	t.Helper()
	operator := exec.CommandContext(t.Context(), os.Args[0])
	operator.Env = append(os.Environ(), asOperator+"="+strings.Join([]string{from, to, state, string(phase)}, "\n"))
	out, err := operator.CombinedOutput()
	require.ErrorContains(t, err, "killed", "%s: %s", phase, out)
}

// diary is what an application told: what was acknowledged, and what was handled.
type diary struct {
	mu                       sync.Mutex
	ordered, billed, waiting []string
}

func (d *diary) tell(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "ordered":
		d.ordered = append(d.ordered, rest)
	case "billed":
		d.billed = append(d.billed, rest)
	default:
		d.waiting = append(d.waiting, line)
	}
}

func (d *diary) count() (ordered, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ordered), len(d.waiting)
}

// different counts the events that were billed, once or more.
func (d *diary) different() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	events := make(map[string]struct{}, len(d.billed))
	for _, id := range d.billed {
		events[id] = struct{}{}
	}
	return len(events)
}

func open(ctx context.Context, url string) (move.Side, error) {
	backend, err := all.Set().OpenBackend(ctx, url)
	if err != nil {
		return move.Side{}, err
	}
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true})
	return move.Side{Store: store, Checkpoints: backend.Records().Checkpoints, Name: all.Set().Redact(url)}, err
}

func side(t *testing.T, url string) move.Side {
	t.Helper()
	s, err := open(t.Context(), url)
	require.NoError(t, err)
	return s
}

// running is the application at work.
type running struct {
	diary
	cancel context.CancelFunc
	ended  chan error
}

// nameStore has the config file in a folder name a store.
func nameStore(t *testing.T, dir, url string) (config string) {
	t.Helper()
	config = filepath.Join(dir, "switchyard.yaml")
	next := config + ".next"
	require.NoError(t, os.WriteFile(next, fmt.Appendf(nil, "stores:\n  orders:\n    url: %q\n", url), 0o600))
	require.NoError(t, os.Rename(next, config))
	return config
}

func start(t *testing.T, dir, url string) *running {
	t.Helper()
	config := nameStore(t, dir, url)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	app := &running{cancel: cancel, ended: make(chan error, 1)}
	go func() {
		app.ended <- run(ctx, config, "memory:", 4, app.tell)
	}()
	return app
}

// orders waits until so many more orders were acknowledged.
func (r *running) orders(t *testing.T, more int) {
	t.Helper()
	before, _ := r.count()
	require.Eventually(t, func() bool {
		now, _ := r.count()
		return now >= before+more || len(r.ended) > 0
	}, 20*time.Second, 5*time.Millisecond)
	require.Empty(t, r.ended)
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	require.NoError(t, <-r.ended)
}

func TestAStoreThatWasRestoredInTheMiddleOfItsMoveIsRefusedAndStaysInUse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "orders.db")
	from, to := "sqlite:"+filepath.ToSlash(path), server.Database(t)
	app := start(t, dir, from)
	app.orders(t, 50)
	app.stop(t)
	backup, err := os.ReadFile(path)
	require.NoError(t, err)

	app = start(t, dir, from)
	app.orders(t, 50)
	killedAt(t, move.PhaseFollow, from, to, dir)
	app.stop(t)
	for _, end := range []string{"-wal", "-shm"} { // of the store that is replaced, if they are there
		_ = os.Remove(path + end)
	}
	require.NoError(t, os.WriteFile(path, backup, 0o600))

	app = start(t, dir, from) // and lives on
	app.orders(t, 100)
	a, b := side(t, from), side(t, to)
	report, err := move.Move(t.Context(), a, b, &move.Options{StateDir: dir})
	require.ErrorIs(t, err, move.ErrRefused)
	require.ErrorContains(t, err, "restored from a backup")
	require.False(t, report.Sealed)
	app.orders(t, 50)
	app.stop(t)
	require.NoError(t, a.Store.Close())
	require.NoError(t, b.Store.Close())
}

func TestAnApplicationStaysUpWhileItsStoreIsMovedThereAndBack(t *testing.T) {
	for name, killed := range map[string]struct{ there, back []move.Phase }{
		"in one run": {},
		"and each phase is killed once": {
			[]move.Phase{move.PhaseFits, move.PhaseCopy, move.PhaseFollow, move.PhaseSeal, move.PhaseDrain, move.PhaseVerify, move.PhaseTranslate},
			[]move.Phase{move.PhaseFits, move.PhaseSeal, move.PhaseCopy, move.PhaseDrain, move.PhaseVerify, move.PhaseTranslate},
		},
	} {
		t.Run(name, func(t *testing.T) { stayUp(t, killed.there, killed.back) })
	}
}

// stayUp runs the application while its operator moves its store there and back, and each time
// is killed when these phases begin before he comes to the end.
func stayUp(t *testing.T, there, back []move.Phase) {
	t.Helper()
	dir := t.TempDir()
	first, second := "sqlite:"+filepath.ToSlash(filepath.Join(dir, "orders.db")), server.Database(t)
	app := start(t, dir, first)
	told := &app.diary
	operator := func(from, to string, killed []move.Phase) (moved int) {
		t.Helper()
		app.orders(t, 100)
		for _, phase := range killed {
			killedAt(t, phase, from, to, dir)
			if phase == move.PhaseSeal { // from the next phase on FROM is sealed
				app.orders(t, 20)
			}
		}
		a, b := side(t, from), side(t, to)
		report, err := move.Move(t.Context(), a, b, &move.Options{StateDir: dir})
		require.NoError(t, err)
		require.True(t, report.Done)
		require.NotEmpty(t, report.Checkpoints)
		require.NoError(t, a.Store.Close())
		require.NoError(t, b.Store.Close())
		t.Logf("%d events; closed for %s", report.To.Summary.Events, report.Closed)
		nameStore(t, dir, to)
		app.orders(t, 100)
		return report.To.Summary.Events
	}
	operator(first, second, there)
	moved := operator(second, first, back)
	require.Eventually(t, func() bool { return told.different() > moved }, 20*time.Second, 5*time.Millisecond, "billing comes through both moves")
	app.stop(t)

	final := side(t, first)
	defer func() { require.NoError(t, final.Store.Close()) }()
	versions := make(map[string]uint64)
	var stored []string
	for event, err := range final.Store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		versions[event.Stream]++
		require.Equal(t, versions[event.Stream], event.Version)
		stored = append(stored, event.ID.String())
	}
	place := make(map[string]int, len(stored))
	for i, id := range stored {
		place[id] = i
	}
	require.Len(t, place, len(stored), "once")
	for _, id := range told.ordered {
		require.Contains(t, place, id, "every acknowledged append is there")
	}
	require.LessOrEqual(t, len(stored)-len(told.ordered), 4, "and nothing else but what was under way at the end")
	require.Len(t, told.waiting, 2)
	require.Contains(t, told.waiting[0], "moved to postgres://")

	// The subscriptions have seen every event, in the order of the store, whatever came again.
	next := 0
	for _, id := range told.billed {
		require.Contains(t, place, id)
		require.LessOrEqual(t, place[id], next, "no gap")
		next = max(next, place[id]+1)
	}
	require.Greater(t, next, moved)
}
