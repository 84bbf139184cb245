package kafka_test

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
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
// loop of the same client that fetches the same records in the same rounds; a start with
// an index file; and the memory that an open handle holds beside the last records. Events
// have about 200 bytes, 10 to a stream. Logs differ by how many records a batch has, which
// is how many appends its writers had at the same time; the one of lone writers has a
// twentieth of the events. Figures are medians of the rounds.
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
	for batch, events := range map[int]int{1000: events, 30: events, 1: events / 20} {
		b.Run(fmt.Sprintf("batches of %d", batch), func(b *testing.B) {
			p, dir := place{brokers: server.Addresses(), store: server.Name()}, b.TempDir()
			fillForFigures(b, p, events, batch)
			before := heap()
			backend, err := kafka.Open(b.Context(), p.brokers, p.store, &kafka.Options{Index: dir, Logger: quiet()})
			require.NoError(b, err)
			held := heap() - before - int64(backend.KeptBytes())
			require.NoError(b, backend.Close())
			var cold, indexed, bare []time.Duration
			for b.Loop() {
				bare = append(bare, timed(func() { fetchAll(b, p) }))
				cold = append(cold, timed(func() { openAndClose(b, p, "") }))
				indexed = append(indexed, timed(func() { openAndClose(b, p, dir) }))
			}
			b.ReportMetric(float64(events)/middle(cold).Seconds(), "events/s-cold")
			b.ReportMetric(float64(events)/middle(bare).Seconds(), "events/s-bare-fetch")
			b.ReportMetric(middle(bare).Seconds()/middle(cold).Seconds(), "×bare")
			b.ReportMetric(middle(indexed).Seconds()*1000, "ms-with-index")
			b.ReportMetric(float64(held)/float64(events), "B/event")
		})
	}
}

func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
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

// fillForFigures makes a store and writes events to its log, in batches of so many.
func fillForFigures(b *testing.B, p place, events, batch int) {
	b.Helper()
	openAndClose(b, p, "") // makes it
	empty := fold.New()
	_, err := empty.Fold(0, fold.Genesis(uuid.New(), uuid.New()))
	require.NoError(b, err)
	c := connection.New(p.brokers, []string{p.topic()}, nil)
	defer c.Close()
	var records []connection.Record
	for i := range events {
		request, err := fold.NewRequest(uuid.New(), []eventstore.StreamAppend{{
			Stream: fmt.Sprint("order-", i%(events/10)), Expected: eventstore.Any(),
			Events: []eventstore.Event{{ID: uuid.New(), Type: "OrderPlaced", ContentType: eventstore.JSONContentType, Data: []byte(bench.Payload)}},
		}})
		require.NoError(b, err)
		records = append(records, connection.Record{Value: empty.Check(request).Frame(time.Now())})
		if len(records) == batch || i == events-1 {
			_, err := c.Produce(b.Context(), p.topic(), records)
			require.NoError(b, err)
			records = records[:0]
		}
	}
}

// BenchmarkFigures prints the figures that this backend is held to, as switchyard bench
// does, with others' beside them in the same rounds, each right after what it is compared
// with: what each writer can produce alone by the bare client, and grouped as the backend
// groups; what franz-go can; and what the leader's word alone costs, beside a view.
//
//	SWITCHYARD_FIGURES_ROUNDS=5 go test ./backends/kafka -run '^$' -bench '^BenchmarkFigures$' -benchtime 1x -timeout 60m
//
// SWITCHYARD_FIGURES_BROKERS=3 measures three brokers, SWITCHYARD_FIGURES_FSYNC=on topics
// that are flushed, and SWITCHYARD_FIGURES_MATCH some of the cases. Without the first
// there is one short round, which means nothing.
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
		u.RawQuery = url.Values{"fsync": {cmp.Or(os.Getenv("SWITCHYARD_FIGURES_FSYNC"), "off")}}.Encode()
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
		cases := beside(slices.Concat(bench.Cases(), viewCases(b, server, peers)), slices.Concat(peers.Cases(), franzCases(b, server, peers)))
		results, err := bench.Run(b.Context(), []bench.Target{{Name: "kafka", Open: open, Cases: cases}}, opts)
		require.NoError(b, err)
		var table strings.Builder
		require.NoError(b, bench.WriteTable(&table, results))
		fmt.Print("\n" + table.String() + "\n" + ratios(results))
		require.NoError(b, peers.Close(b.Context()))
		require.NoError(b, isolated.Remove(b.Context()))
	}
}

// beside puts each baseline, "NAME: CASE", right after the case that it is for.
func beside(cases, baselines []bench.Case) []bench.Case {
	var all []bench.Case
	for _, c := range cases {
		all = append(all, c)
		for _, baseline := range baselines {
			if strings.HasSuffix(baseline.Name, ": "+c.Name) {
				all = append(all, baseline)
			}
		}
	}
	return all
}

// ratios are those of the medians, of what was measured to its baselines.
func ratios(results []bench.Result) string {
	var text strings.Builder
	for _, own := range results {
		for _, other := range results {
			baseline, ok := strings.CutSuffix(other.Case, ": "+own.Case)
			if ok && other.Rate > 0 {
				fmt.Fprintf(&text, "%s: %.2f × %s\n", own.Case, own.Rate/other.Rate, baseline)
			}
		}
	}
	return text.String()
}

// franzCases are what another client of Kafka does with the same records: one call for
// each append, which it groups itself; idempotent, and without lingering.
func franzCases(b *testing.B, server *testservers.Kafka, peers *kafkaharness.Peers) []bench.Case {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(server.Addresses()...), kgo.DefaultProduceTopic(peers.Topic()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.NoError(b, err)
	b.Cleanup(client.Close)
	var cases []bench.Case
	for _, shape := range bench.Shapes() {
		writers, size := shape[0], shape[1]
		cases = append(cases, bench.Case{
			Name: fmt.Sprintf("franz-go: append %d×%d new streams", writers, size),
			Run: func(ctx context.Context, _ *eventstore.Store, d time.Duration) (bench.Result, error) {
				return bench.Writers(ctx, writers, size, d, func(ctx context.Context, _ int) error {
					frame, err := peers.Frame(size)
					if err != nil {
						return err
					}
					return client.ProduceSync(ctx, &kgo.Record{Value: frame}).FirstErr()
				})
			},
		})
	}
	return cases
}

// viewCases are a view, by the version of a stream, and what its leader's word alone
// costs.
func viewCases(b *testing.B, server *testservers.Kafka, peers *kafkaharness.Peers) []bench.Case {
	b.Helper()
	c := connection.New(server.Addresses(), []string{peers.Topic()}, nil)
	b.Cleanup(c.Close)
	one := func(name string, ask func(ctx context.Context, store *eventstore.Store) error) bench.Case {
		return bench.Case{Name: name, Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (bench.Result, error) {
			return bench.Writers(ctx, 1, 1, d, func(ctx context.Context, _ int) error { return ask(ctx, store) })
		}}
	}
	return []bench.Case{
		one("view", func(ctx context.Context, store *eventstore.Store) error {
			_, err := store.StreamVersion(ctx, "order-of-nobody")
			return err
		}),
		one("the leader's word: view", func(ctx context.Context, _ *eventstore.Store) error {
			_, err := leadersWord(ctx, c, peers.Topic())
			return err
		}),
	}
}
