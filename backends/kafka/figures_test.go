package kafka_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/bench"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// figuresVariable is how many events BenchmarkOpening fills a store with; 20,000 if it
// is not set, which says little.
const figuresVariable = "SWITCHYARD_FIGURES_EVENTS"

// BenchmarkOpening measures what a start costs: the cold fold of a log, beside a bare
// loop of the same client that fetches the same records; a start with an index file;
// and the memory that an open handle holds beside the last records. Events have about 200 bytes, 10 to a
// stream, in batches of up to 1,000.
//
//	SWITCHYARD_FIGURES_EVENTS=1000000 go test ./backends/kafka -run '^$' -bench Opening -benchtime 5x
func BenchmarkOpening(b *testing.B) {
	events := 20_000
	if set := os.Getenv(figuresVariable); set != "" {
		var err error
		events, err = strconv.Atoi(set)
		require.NoError(b, err)
	}
	server := broker.Server(b)
	p, dir := place{brokers: server.Addresses(), store: server.Name()}, b.TempDir()
	fillForFigures(b, p, events)
	before := heap()
	backend, err := kafka.Open(b.Context(), p.brokers, p.store, &kafka.Options{Index: dir, Logger: quiet()})
	require.NoError(b, err)
	held := heap() - before - int64(backend.KeptBytes())
	require.NoError(b, backend.Close())
	var cold, indexed, bare time.Duration
	for b.Loop() {
		bare += timed(func() { fetchAll(b, p) })
		cold += timed(func() { openAndClose(b, p, "") })
		indexed += timed(func() { openAndClose(b, p, dir) })
	}
	perSecond := func(d time.Duration) float64 { return float64(events) * float64(b.N) / d.Seconds() }
	b.ReportMetric(perSecond(cold), "events/s-cold")
	b.ReportMetric(perSecond(bare), "events/s-bare-fetch")
	b.ReportMetric(bare.Seconds()/cold.Seconds(), "×bare")
	b.ReportMetric(indexed.Seconds()*1000/float64(b.N), "ms-with-index")
	b.ReportMetric(float64(held)/float64(events), "B/event")
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// heap is what the process holds.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func openAndClose(b *testing.B, p place, index string) {
	b.Helper()
	backend, err := kafka.Open(b.Context(), p.brokers, p.store, &kafka.Options{Index: index, Logger: quiet()})
	require.NoError(b, err)
	require.NoError(b, backend.Close())
}

func fetchAll(b *testing.B, p place) {
	b.Helper()
	c := connection.New(p.brokers, []string{p.topic()}, nil)
	defer c.Close()
	end, err := c.HighWatermark(b.Context(), p.topic(), 1)
	require.NoError(b, err)
	for next := int64(0); next < end; {
		fetched, err := c.Fetch(b.Context(), p.topic(), next, connection.FetchOptions{MaxBytes: 4 << 20, Wait: time.Second})
		require.NoError(b, err)
		next = fetched.Records[len(fetched.Records)-1].Offset + 1
	}
}

// fillForFigures appends through 256 writers.
func fillForFigures(b *testing.B, p place, events int) {
	b.Helper()
	backend, err := kafka.Open(b.Context(), p.brokers, p.store, &kafka.Options{Logger: quiet()})
	require.NoError(b, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(b, err)
	const writers = 256
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			for i := w; i < events/10; i += writers {
				for range 10 {
					_, err := store.Append(b.Context(), fmt.Sprint("order-", i), eventstore.Any(), eventstore.Event{ID: uuid.New(), Type: "OrderPlaced", Data: []byte(bench.Payload)})
					if err != nil {
						failed <- err
						return
					}
				}
			}
			failed <- nil
		}()
	}
	for range writers {
		require.NoError(b, <-failed)
	}
	require.NoError(b, store.Close())
}

// BenchmarkFigures prints the figures that this backend is held to, as switchyard bench
// does, with the bare client's beside them in the same rounds: what each of its writers
// can produce alone, and grouped as the backend groups.
//
//	SWITCHYARD_FIGURES_ROUNDS=5 go test ./backends/kafka -run '^$' -bench '^BenchmarkFigures$' -benchtime 1x -timeout 60m
//
// SWITCHYARD_FIGURES_BROKERS=3 measures three brokers, and SWITCHYARD_FIGURES_MATCH some
// of the cases. Without the first there is one short round, which means nothing.
func BenchmarkFigures(b *testing.B) {
	opts := bench.Options{Rounds: 1, Duration: 100 * time.Millisecond, Match: os.Getenv("SWITCHYARD_FIGURES_MATCH")}
	if set := os.Getenv("SWITCHYARD_FIGURES_ROUNDS"); set != "" {
		rounds, err := strconv.Atoi(set)
		require.NoError(b, err)
		opts.Rounds, opts.Duration = rounds, 2*time.Second
	}
	cluster := testservers.KafkaOptions{}
	if os.Getenv("SWITCHYARD_FIGURES_BROKERS") == "3" {
		cluster.Brokers = 3
	}
	server := testservers.PrivateKafka(b, cluster)
	for b.Loop() {
		u := clusterURL(server, "any")
		isolated, err := kafkaharness.Isolate(b.Context(), u)
		require.NoError(b, err)
		peers, err := kafkaharness.NewPeers(b.Context(), u)
		require.NoError(b, err)
		open := func(ctx context.Context) (*eventstore.Store, error) {
			backend, err := isolated.Open(ctx)
			if err != nil {
				return nil, err
			}
			return eventstore.New(backend, nil)
		}
		results, err := bench.Run(b.Context(), []bench.Target{{Name: "kafka", Open: open, Cases: append(bench.Cases(), peers.Cases()...)}}, opts)
		require.NoError(b, err)
		var table strings.Builder
		require.NoError(b, bench.WriteTable(&table, results))
		fmt.Print("\n" + table.String())
		require.NoError(b, peers.Close(b.Context()))
		require.NoError(b, isolated.Remove(b.Context()))
	}
}
