package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testscale"
)

// A process is killed at any moment, many times, and the next one goes on. What it
// had acknowledged is there, and what it had not is there once or not at all.
func TestKilledProcessesLoseAndDoubleNothing(t *testing.T) {
	path := file(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	acknowledged := make(map[string]uint64)
	kills, sum := testscale.Of(t, "kills", 25, 10), uint64(0)
	for range kills {
		victim := startChild(t, "append", path, "")
		victim.begin(t)
		require.True(t, victim.out.Scan(), "the first acknowledgement")
		note(t, acknowledged, victim.out.Text())
		kill := time.AfterFunc(time.Duration(chance.Int64N(int64(150*time.Millisecond))), func() { _ = victim.Process.Kill() })
		for victim.out.Scan() {
			note(t, acknowledged, victim.out.Text())
		}
		require.Error(t, victim.Wait())
		kill.Stop()
	}

	store := open(t, path, nil)
	versions := make(map[string]uint64)
	var last eventstore.Position
	for _, event := range collect(t, store) {
		versions[event.Stream]++
		require.Equal(t, versions[event.Stream], event.Version, "no hole and no duplicate in %s", event.Stream)
		require.Equal(t, numbered(event.Stream, event.Version).ID, event.ID)
		require.True(t, last.Before(event.Position))
		last = event.Position
	}
	for stream, version := range acknowledged {
		require.GreaterOrEqual(t, versions[stream], version, "acknowledged events of %s", stream)
		sum += version
	}
	t.Logf("%d kills, %d events acknowledged, 0 lost, 0 doubled", kills, sum)
}

// note keeps the highest acknowledged version of each stream. A line that the
// kill cut short acknowledges nothing.
func note(t *testing.T, acknowledged map[string]uint64, line string) {
	t.Helper()
	var stream string
	var version uint64
	if n, _ := fmt.Sscanf(line, "%s %d", &stream, &version); n == 2 {
		acknowledged[stream] = max(acknowledged[stream], version)
	}
}

func TestProcessesOnOneFileAgree(t *testing.T) {
	const processes = 4
	path := file(t)
	store := open(t, path, nil) // one more handle, which looks on
	racers := make([]*child, processes)
	for i := range racers {
		racers[i] = startChild(t, "race", path, fmt.Sprint(i))
	}
	for _, racer := range racers {
		racer.begin(t)
	}
	winners := make(map[string]int)
	for _, racer := range racers {
		for racer.out.Scan() {
			winners[racer.out.Text()]++
		}
		require.NoError(t, racer.Wait())
	}
	require.Len(t, winners, raceRounds)
	for round, n := range winners {
		require.Equal(t, 1, n, "winners of round %q", round)
	}
	version, err := store.StreamVersion(t.Context(), "counter")
	require.NoError(t, err)
	require.Equal(t, uint64(processes*raceIncrements), version)
	require.Equal(t, collect(t, store), collect(t, open(t, path, nil)), "both handles see one order")
}
