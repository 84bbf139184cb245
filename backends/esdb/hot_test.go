package esdb_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
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
	store := adapter(b, srv)
	reads, _ := slowed(srv, takes)
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
				conflicts, err := readAndAppend(store)
				if err != nil {
					b.Error(err)
					return
				}
				lost.Add(conflicts)
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
	b.ReportMetric(float64(reads.Load())/float64(max(1, won.Load())), "reads/append")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// slowed makes each call take so long, and counts the reads and the appends.
func slowed(srv *esdbtest.Server, takes time.Duration) (reads, appends *atomic.Int64) {
	reads, appends = new(atomic.Int64), new(atomic.Int64)
	hook := func(count *atomic.Int64) esdbtest.Hook {
		return func(ctx context.Context, _ esdbtest.Call) error {
			count.Add(1)
			if takes > 0 {
				pause(ctx, takes)
			}
			return nil
		}
	}
	srv.SetHooks(esdbtest.Hooks{BeforeCommit: hook(appends), BeforePage: hook(reads)})
	return reads, appends
}

// readAndAppend reads a stream's version and appends with it, until that succeeds.
func readAndAppend(store *eventstore.Store) (conflicts int64, err error) {
	for ; ; conflicts++ {
		version, err := store.StreamVersion(context.Background(), "hot")
		if err == nil {
			_, err = store.Append(context.Background(), "hot", eventstore.Exactly(version), happened())
		}
		if !errors.Is(err, eventstore.ErrConflict) {
			return conflicts, err
		}
	}
}

// Writers of one handle who read the version and append with it take turns: what can
// only be refused is not sent, and what an append's answer tells is not asked for.
func TestAHotStreamCostsTheServerOneAppendForEachSuccess(t *testing.T) {
	const writers, each = 8, 25
	srv := startServer(t)
	store := openStore(t, srv.URL(), nil)
	reads, appends := slowed(srv, time.Millisecond)
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				if _, err := readAndAppend(store); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	t.Logf("%d reads and %d appends for %d successes", reads.Load(), appends.Load(), writers*each)
	require.LessOrEqual(t, appends.Load(), int64(writers*each), "appends that were sent")
	require.LessOrEqual(t, reads.Load(), int64(writers*each), "reads; each writer for himself makes several for each success")
	require.Len(t, read(t, store, "hot"), writers*each)
}

// Writers of two handles race for the versions of one stream, and each handle knows of
// the other's appends from the server alone. What one was told, whoever asks later is
// told too: reads are of the stream as it is, conflicts name its version, and what one
// handle stored the other recognises.
func TestNobodyIsToldOfAHotStreamAsItWas(t *testing.T) {
	srv := startServer(t)
	srv.SetHooks(esdbtest.Hooks{AfterCommit: func(ctx context.Context, _ esdbtest.Call) error {
		pause(ctx, time.Duration(rand.N(int64(2*time.Millisecond)))) // answers come out of order
		return nil
	}})
	stores := []*eventstore.Store{openStore(t, srv.URL(), nil), openStore(t, srv.URL(), nil)}
	r := &race{t: t}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var writing sync.WaitGroup
	for w := range 8 {
		writing.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				r.once(stores[w%2], stores[(w+1)%2])
			}
		})
	}
	writing.Wait()
	stored := read(t, stores[0], "hot")
	require.Len(t, stored, int(r.won.Load()))
	require.Greater(t, r.won.Load(), int64(20))
	t.Logf("%d appends, %d conflicts", r.won.Load(), r.lost.Load())
}

// race is what the writers of a hot stream have been told.
type race struct {
	t         *testing.T
	told      atomic.Uint64 // the highest version
	won, lost atomic.Int64
}

// hold holds a version against what was known before it was asked for.
func (r *race) hold(what string, version, before uint64) {
	if version < before {
		r.t.Errorf("%s tells version %d, after %d was told", what, version, before)
	}
	for {
		known := r.told.Load()
		if known >= version || r.told.CompareAndSwap(known, version) {
			return
		}
	}
}

// once reads the version and appends with it; now and then the other handle is given
// the same events again.
func (r *race) once(store, other *eventstore.Store) {
	before := r.told.Load()
	version, err := store.StreamVersion(context.Background(), "hot")
	if err != nil {
		r.t.Errorf("read: %v", err)
		return
	}
	r.hold("a read", version, before)
	event := happened()
	event.ID = uuid.New()
	before = r.told.Load()
	result, err := store.Append(context.Background(), "hot", eventstore.Exactly(version), event)
	var conflict *eventstore.ConflictError
	switch {
	case errors.As(err, &conflict):
		r.lost.Add(1)
		r.hold("a conflict", conflict.Actual, before)
		return
	case err != nil:
		r.t.Errorf("append: %v", err)
		return
	}
	r.won.Add(1)
	r.hold("an append", result.Version, before)
	if result.Version%5 == 0 {
		again, err := other.Append(context.Background(), "hot", eventstore.Exactly(version), event)
		if err != nil || !again.Duplicate || again.Version != result.Version {
			r.t.Errorf("what the other handle stored at version %d is answered with %+v, %v", result.Version, again, err)
		}
	}
}
