package esdb_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// BenchmarkHotStream has eight writers read one stream's version and append with it,
// on a server that takes as long as the double does, and on one that takes 1 ms for
// each call, as over a network.
func BenchmarkHotStream(b *testing.B) {
	b.Run("at once", func(b *testing.B) { hotStream(b, 0) })
	b.Run("after 1 ms", func(b *testing.B) { hotStream(b, time.Millisecond) })
}

func hotStream(b *testing.B, takes time.Duration) {
	srv, err := esdbtest.Start(nil)
	require.NoError(b, err)
	defer srv.Stop()
	if takes > 0 {
		slow := func(ctx context.Context, _ esdbtest.Call) error {
			pause(ctx, takes)
			return nil
		}
		srv.SetHooks(esdbtest.Hooks{BeforeCommit: slow, BeforePage: slow})
	}
	store := adapter(b, srv)
	defer func() { require.NoError(b, store.Close()) }()
	var won, lost atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var writing sync.WaitGroup
	start := time.Now()
	for range 8 {
		writing.Go(func() {
			for time.Since(start) < 2*time.Second {
				began := time.Now()
				for conflict := true; conflict; {
					version, err := store.StreamVersion(context.Background(), "hot")
					if err == nil {
						_, err = store.Append(context.Background(), "hot", eventstore.Exactly(version), happened())
					}
					if conflict = errors.Is(err, eventstore.ErrConflict); conflict {
						lost.Add(1)
					} else if err != nil {
						b.Error(err)
						return
					}
				}
				won.Add(1)
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	elapsed := time.Since(start)
	slices.Sort(took)
	b.ReportMetric(float64(won.Load())/elapsed.Seconds(), "appends/s")
	b.ReportMetric(float64(lost.Load())/float64(max(1, won.Load())), "conflicts/append")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
