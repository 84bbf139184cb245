package esdb_test

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// figure compares the adapter with the bare client, by turns on fresh servers;
// each run returns how many events it moved a second.
type figure struct {
	name          string
	bare, adapted func(b *testing.B, srv *esdbtest.Server) float64
}

const (
	figureTime = time.Second
	figureRead = 20_000
)

// BenchmarkOverhead prints the medians of both, and of the ratios of the rounds,
// whose two halves follow each other. Each writer has a stream of its own, which it
// makes, but for "one stream". There are as many rounds as the benchmark has turns:
//
//	make bench PKG=./backends/esdb BENCH=Overhead BENCHTIME=11x
func BenchmarkOverhead(b *testing.B) {
	var figures []figure
	for _, writers := range []int{1, 64} {
		figures = append(figures,
			figure{fmt.Sprintf("exactly/%d", writers), bareAppend(writers, true, own), adaptedAppend(writers, true, own)},
			figure{fmt.Sprintf("any/%d", writers), bareAppend(writers, false, own), adaptedAppend(writers, false, own)})
	}
	figures = append(figures,
		figure{"any/64/one stream", bareAppend(64, false, shared), adaptedAppend(64, false, shared)},
		figure{"read", bareRead, adaptedRead},
		figure{"subscribe", bareSubscribe, adaptedSubscribe})
	for _, f := range figures {
		b.Run(f.name, func(b *testing.B) {
			sides := []struct {
				run   func(*testing.B, *esdbtest.Server) float64
				rates []float64
			}{{run: f.bare}, {run: f.adapted}}
			for round := range b.N {
				for i := range sides {
					side := &sides[(i+round)%2] // each is the first of every other round
					runtime.GC()
					srv, err := esdbtest.Start(nil)
					require.NoError(b, err)
					side.rates = append(side.rates, side.run(b, srv))
					srv.Stop()
				}
			}
			ratios := make([]float64, b.N)
			for round := range ratios {
				ratios[round] = sides[1].rates[round] / sides[0].rates[round]
			}
			b.ReportMetric(median(sides[0].rates), "bare/s")
			b.ReportMetric(median(sides[1].rates), "adapter/s")
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// appending counts the appends that so many writers make in a while.
func appending(writers int, one func(writer, n int) error) float64 {
	var working sync.WaitGroup
	counts := make([]int, writers)
	start := time.Now()
	for w := range writers {
		working.Go(func() {
			for time.Since(start) < figureTime && one(w, counts[w]) == nil {
				counts[w]++
			}
		})
	}
	working.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(start).Seconds()
}

func figureEvent() client.EventData {
	return client.EventData{EventID: uuid.New(), EventType: "Happened", ContentType: client.ContentTypeJson, Data: payload}
}

var payload = fmt.Appendf(nil, `{"text":"%0180d"}`, 7)

func bareClient(b *testing.B, srv *esdbtest.Server) *client.Client {
	config, err := client.ParseConnectionString(srv.URL())
	require.NoError(b, err)
	config.Logger = client.NoopLogging()
	c, err := client.NewClient(config)
	require.NoError(b, err)
	return c
}

func adapter(b *testing.B, srv *esdbtest.Server) *eventstore.Store {
	u, err := url.Parse(srv.URL())
	require.NoError(b, err)
	backend, err := esdb.OpenURL(b.Context(), u)
	require.NoError(b, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(b, err)
	return store
}

func own(writer int) string { return fmt.Sprintf("s-%d", writer) }

func shared(int) string { return "s" }

func bareAppend(writers int, exact bool, stream func(writer int) string) func(*testing.B, *esdbtest.Server) float64 {
	return func(b *testing.B, srv *esdbtest.Server) float64 {
		c := bareClient(b, srv)
		defer func() { _ = c.Close() }()
		return appending(writers, func(w, n int) error {
			var expected client.ExpectedRevision = client.Any{}
			if exact && n == 0 {
				expected = client.NoStream{}
			} else if exact {
				expected = client.Revision(uint64(n) - 1)
			}
			_, err := c.AppendToStream(b.Context(), stream(w), client.AppendToStreamOptions{ExpectedRevision: expected}, figureEvent())
			return err
		})
	}
}

func adaptedAppend(writers int, exact bool, stream func(writer int) string) func(*testing.B, *esdbtest.Server) float64 {
	return func(b *testing.B, srv *esdbtest.Server) float64 {
		store := adapter(b, srv)
		defer func() { _ = store.Close() }()
		return appending(writers, func(w, n int) error {
			expected := eventstore.Any()
			if exact {
				expected = eventstore.Exactly(uint64(n))
			}
			_, err := store.Append(b.Context(), stream(w), expected, eventstore.Event{Type: "Happened", Data: payload})
			return err
		})
	}
}

// fill writes what the reads read, through the adapter, so both read the same.
func fill(b *testing.B, srv *esdbtest.Server) *eventstore.Store {
	store := adapter(b, srv)
	events := make([]eventstore.Event, 50)
	for i := range events {
		events[i] = eventstore.Event{Type: "Happened", Data: payload}
	}
	for n := range figureRead / len(events) {
		_, err := store.Append(b.Context(), "s", eventstore.Exactly(uint64(n*len(events))), events...)
		require.NoError(b, err)
	}
	return store
}

func bareRead(b *testing.B, srv *esdbtest.Server) float64 {
	require.NoError(b, fill(b, srv).Close())
	c := bareClient(b, srv)
	defer func() { _ = c.Close() }()
	start := time.Now()
	read, err := c.ReadStream(b.Context(), "s", client.ReadStreamOptions{}, figureRead)
	require.NoError(b, err)
	defer read.Close()
	for range figureRead {
		_, err := read.Recv()
		require.NoError(b, err)
	}
	return figureRead / time.Since(start).Seconds()
}

func adaptedRead(b *testing.B, srv *esdbtest.Server) float64 {
	require.NoError(b, fill(b, srv).Close())
	store := adapter(b, srv)
	defer func() { _ = store.Close() }()
	start, n := time.Now(), 0
	for _, err := range store.ReadStream(b.Context(), "s", eventstore.ReadOptions{}) {
		require.NoError(b, err)
		n++
	}
	require.Equal(b, figureRead, n)
	return figureRead / time.Since(start).Seconds()
}

func bareSubscribe(b *testing.B, srv *esdbtest.Server) float64 {
	require.NoError(b, fill(b, srv).Close())
	c := bareClient(b, srv)
	defer func() { _ = c.Close() }()
	start := time.Now()
	sub, err := c.SubscribeToAll(b.Context(), client.SubscribeToAllOptions{From: client.Start{}})
	require.NoError(b, err)
	defer func() { _ = sub.Close() }()
	for n := 0; n < figureRead; {
		message := sub.Recv()
		require.Nil(b, message.SubscriptionDropped)
		if message.EventAppeared != nil && message.EventAppeared.OriginalEvent().StreamID == "s" {
			n++
		}
	}
	return figureRead / time.Since(start).Seconds()
}

func adaptedSubscribe(b *testing.B, srv *esdbtest.Server) float64 {
	require.NoError(b, fill(b, srv).Close())
	store := adapter(b, srv)
	defer func() { _ = store.Close() }()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	start, n := time.Now(), 0
	for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		require.NoError(b, err)
		if message.Kind == eventstore.MessageEvent {
			if n++; n == figureRead {
				break
			}
		}
	}
	return figureRead / time.Since(start).Seconds()
}
