package main

import (
	"context"
	"fmt"
	"os"
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

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

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

func side(t *testing.T, url string) move.Side {
	t.Helper()
	backend, err := all.Set().OpenBackend(t.Context(), url)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true})
	require.NoError(t, err)
	return move.Side{Store: store, Checkpoints: backend.Records().Checkpoints, Name: all.Set().Redact(url)}
}

func TestAnApplicationStaysUpWhileItsStoreIsMovedThereAndBack(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "switchyard.yaml")
	name := func(url string) {
		next := config + ".next"
		require.NoError(t, os.WriteFile(next, fmt.Appendf(nil, "stores:\n  orders:\n    url: %q\n", url), 0o600))
		require.NoError(t, os.Rename(next, config))
	}
	first, second := "sqlite:"+filepath.ToSlash(filepath.Join(dir, "orders.db")), server.Database(t)
	name(first)

	var told diary
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, config, "memory:", 4, told.tell)
	}()
	orders := func(more int) {
		t.Helper()
		before, _ := told.count()
		require.Eventually(t, func() bool {
			now, _ := told.count()
			return now >= before+more || len(ended) > 0
		}, 20*time.Second, 5*time.Millisecond)
		require.Empty(t, ended)
	}
	operator := func(from, to string) (moved int) {
		t.Helper()
		orders(100)
		a, b := side(t, from), side(t, to)
		report, err := move.Move(t.Context(), a, b, &move.Options{StateDir: dir})
		require.NoError(t, err)
		require.True(t, report.Done)
		require.NotEmpty(t, report.Checkpoints)
		require.NoError(t, a.Store.Close())
		require.NoError(t, b.Store.Close())
		t.Logf("%d events; closed for %s", report.To.Summary.Events, report.Closed)
		name(to)
		orders(100)
		return report.To.Summary.Events
	}
	operator(first, second)
	moved := operator(second, first)
	require.Eventually(t, func() bool { return told.different() > moved }, 20*time.Second, 5*time.Millisecond, "billing comes through both moves")
	cancel()
	require.NoError(t, <-ended)

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
