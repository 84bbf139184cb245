package decider_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
	"github.com/switchyard-dev/switchyard/internal/testscale"
)

const workersOfAProcess = 4 // of two processes

// TestEachCommandCountsOnce repeats commands at random, by 8 goroutines in 2 processes,
// and holds what they heard against what is stored. A process in memory is alone.
func TestEachCommandCountsOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, open := range map[string]func(t *testing.T) (rawURL string){
		"memory": func(*testing.T) string { return "" },
		"sqlite": func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "events.db") },
		"postgres": func(t *testing.T) string {
			return server.Database(t)
		},
		"esdb": func(t *testing.T) string {
			double, err := esdbtest.Start(nil)
			require.NoError(t, err)
			t.Cleanup(double.Stop)
			return double.URL()
		},
	} {
		t.Run(name, func(t *testing.T) {
			rawURL, log := open(t), memory.NewLog()
			var backend eventstore.Backend = log.Open(nil)
			if rawURL != "" {
				var err error
				backend, err = openURL(t.Context(), rawURL)
				require.NoError(t, err)
			}
			store := newStore(t, backend, nil)
			for kind := range kinds() {
				for _, fault := range []string{faultNone, faultLost, faultKills} {
					t.Run(kind+"/"+fault, func(t *testing.T) {
						j := job{URL: rawURL, Name: kind + "." + strings.ReplaceAll(fault, " ", "."), Kind: kind, Fault: fault, Seed: seed}
						r := &run{t: t, job: j, first: make(map[int]answer)}
						if rawURL == "" {
							r.inThisProcess(log)
						} else {
							r.inTwoProcesses()
						}
						r.holdAgainst(store)
					})
				}
			}
		})
	}
}

// run is what came of one combination.
type run struct {
	t *testing.T
	job
	first   map[int]answer // of each command, with events
	answers []answer
}

// enough is how many answers a run ends after.
func (r *run) enough() int { return testscale.Of(r.t, "answers", 15*commands, 4*commands) }

func (r *run) inThisProcess(log *memory.Log) {
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	enough := r.enough()
	var mu sync.Mutex
	var workers sync.WaitGroup
	for i := range 2 { // Deciders, each with a cache of its own
		j := r.job
		j.Worker = i
		work, err := newWorkers(ctx, log.Open(nil), j, workersOfAProcess, func(a answer) {
			mu.Lock()
			defer mu.Unlock()
			if r.answers = append(r.answers, a); len(r.answers) >= enough {
				stop()
			}
		})
		require.NoError(r.t, err)
		workers.Go(func() {
			if err := work(); err != nil {
				r.t.Error(err)
			}
		})
	}
	workers.Wait()
}

func (r *run) inTwoProcesses() {
	lines := make(chan ownertest.Line, 1024)
	var processes [2]*ownertest.Process
	start := func(i int) {
		j := r.job
		j.Worker = i
		processes[i] = ownertest.Start(r.t, partDo, j.argument(r.t), lines)
	}
	start(0)
	start(1)
	kills, each := 0, r.enough()/testscale.Of(r.t, "kills and one", 6, 3)
	deadline := time.After(time.Minute)
	for enough := r.enough(); len(r.answers) < enough; {
		select {
		case line := <-lines:
			require.Equal(r.t, "answer", line.Word, line.Text)
			a, err := parseAnswer(line.Text)
			require.NoError(r.t, err)
			r.answers = append(r.answers, a)
		case <-deadline:
			r.t.Fatalf("%d answers within a minute", len(r.answers))
		}
		if r.Fault == faultKills && len(r.answers) >= (kills+1)*each {
			require.NoError(r.t, processes[kills%2].Process.Kill())
			start(kills % 2)
			kills++
		}
	}
	for _, p := range processes {
		require.NoError(r.t, p.Process.Kill())
	}
	go func() { // what they still had to say
		for range lines {
		}
	}()
	for _, p := range processes {
		<-p.Ended()
	}
}

// holdAgainst checks that each command's events are stored once, that every repetition
// was answered with them, and that every state is what the events add up to.
func (r *run) holdAgainst(store *eventstore.Store) {
	stored := make(map[uuid.UUID][]eventstore.RecordedEvent) // by the command
	states := make(map[string][]Account)                     // by stream and version
	ids := make(map[uuid.UUID]bool)
	for i := range accountsOfARun {
		name := r.account(i)
		states[name] = []Account{{}}
		for e, err := range store.ReadStream(r.t.Context(), name, eventstore.ReadOptions{}) {
			require.NoError(r.t, err)
			require.False(r.t, ids[e.ID], "an ID occurs twice")
			ids[e.ID] = true
			command := uuid.MustParse(e.CausationID())
			if n := len(stored[command]); n > 0 {
				require.Equal(r.t, stored[command][n-1].Version+1, e.Version, "the events of a command are in one place")
			}
			stored[command] = append(stored[command], e)
			value, _, err := accountEvents().Decode(r.t.Context(), e)
			require.NoError(r.t, err)
			states[name] = append(states[name], states[name][e.Version-1].evolve(value))
		}
	}
	repeated := 0
	for _, a := range r.answers {
		require.Equal(r.t, states[a.stream][a.version], a.state, "version %d of %s", a.version, a.stream)
		if a.events == 0 {
			continue
		}
		if _, again := r.first[a.command]; again {
			repeated++
		}
		r.first[a.command] = a
		cmd, _ := r.command(a.command)
		events := stored[cmd.ID]
		require.Len(r.t, events, a.events, "command %d: the first events, and all of them", a.command)
		require.Equal(r.t, events[0].Version, a.first)
		require.Equal(r.t, digest(events), a.digest)
	}
	require.Positive(r.t, repeated)
	r.t.Logf("%d answers, %d commands with events, %d repetitions", len(r.answers), len(stored), repeated)
}
