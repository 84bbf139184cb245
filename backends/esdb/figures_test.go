package esdb_test

import (
	"context"
	"fmt"
	"net/url"
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
	figureRounds = 5
	figureTime   = 300 * time.Millisecond
	figureRead   = 20_000
)

// BenchmarkOverhead prints the medians of both, and their ratio.
func BenchmarkOverhead(b *testing.B) {
	var figures []figure
	for _, writers := range []int{1, 64} {
		figures = append(figures,
			figure{fmt.Sprintf("exactly/%d", writers), bareAppend(writers, true), adaptedAppend(writers, true)},
			figure{fmt.Sprintf("any/%d", writers), bareAppend(writers, false), adaptedAppend(writers, false)})
	}
	figures = append(figures, figure{"read", bareRead, adaptedRead}, figure{"subscribe", bareSubscribe, adaptedSubscribe})
	for _, f := range figures {
		b.Run(f.name, func(b *testing.B) {
			var bare, adapted []float64
			for range figureRounds {
				for _, side := range []struct {
					run func(*testing.B, *esdbtest.Server) float64
					to  *[]float64
				}{{f.bare, &bare}, {f.adapted, &adapted}} {
					srv, err := esdbtest.Start(nil)
					require.NoError(b, err)
					*side.to = append(*side.to, side.run(b, srv))
					srv.Stop()
				}
			}
			slices.Sort(bare)
			slices.Sort(adapted)
			base, ours := bare[figureRounds/2], adapted[figureRounds/2]
			b.ReportMetric(base, "bare/s")
			b.ReportMetric(ours, "adapter/s")
			b.ReportMetric(ours/base, "ratio")
		})
	}
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

func bareAppend(writers int, exact bool) func(*testing.B, *esdbtest.Server) float64 {
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
			_, err := c.AppendToStream(b.Context(), fmt.Sprintf("s-%d", w), client.AppendToStreamOptions{ExpectedRevision: expected}, figureEvent())
			return err
		})
	}
}

func adaptedAppend(writers int, exact bool) func(*testing.B, *esdbtest.Server) float64 {
	return func(b *testing.B, srv *esdbtest.Server) float64 {
		store := adapter(b, srv)
		defer func() { _ = store.Close() }()
		return appending(writers, func(w, n int) error {
			expected := eventstore.Any()
			if exact {
				expected = eventstore.Exactly(uint64(n))
			}
			_, err := store.Append(b.Context(), fmt.Sprintf("s-%d", w), expected, eventstore.Event{Type: "Happened", Data: payload})
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
