package esdb_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// BenchmarkSubscribers has ten filtered subscriptions of one handle follow 1,000
// events a second, in appends of 1 and of 50 events, and tells how late they come.
func BenchmarkSubscribers(b *testing.B) {
	for name, together := range map[string]int{"one at a time": 1, "fifty at a time": 50} {
		b.Run(name, func(b *testing.B) { subscribersLatency(b, together) })
	}
}

func subscribersLatency(b *testing.B, together int) {
	const subscribers, rate, length = 10, 1000, 3 * time.Second
	srv, err := esdbtest.Start(nil)
	require.NoError(b, err)
	defer srv.Stop()
	store := adapter(b, srv)
	defer func() { require.NoError(b, store.Close()) }()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	total := int(rate * length.Seconds())
	var mu sync.Mutex
	var latencies []time.Duration
	var following, caughtUp sync.WaitGroup
	caughtUp.Add(subscribers)
	for range subscribers {
		following.Go(func() {
			own := make([]time.Duration, 0, total)
			for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{Filter: eventstore.Filter{Types: []string{"Happened"}}}) {
				if err != nil {
					b.Error(err)
					return
				}
				switch message.Kind { //nolint:exhaustive // the others do not matter
				case eventstore.MessageCaughtUp:
					caughtUp.Done()
				case eventstore.MessageEvent:
					sent, err := time.Parse(time.RFC3339Nano, message.Event.Metadata["sent"])
					if err != nil {
						b.Error(err)
					}
					own = append(own, time.Since(sent))
				}
				if len(own) == total {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, own...)
		})
	}
	caughtUp.Wait()
	asleep := sleepers(ctx)
	tick := time.NewTicker(time.Second * time.Duration(together) / rate)
	defer tick.Stop()
	for range total / together {
		<-tick.C
		events := make([]eventstore.Event, together)
		for i := range events {
			events[i] = happened().WithMetadata("sent", time.Now().Format(time.RFC3339Nano))
		}
		_, err := store.Append(ctx, "s", eventstore.Any(), events...)
		require.NoError(b, err)
	}
	following.Wait()
	cancel()
	overslept := <-asleep
	b.ReportMetric(float64(overslept[len(overslept)*99/100].Microseconds())/1000, "overslept-p99-ms")
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
}

// sleepers tells how much too late the machine wakes who sleeps for a millisecond,
// sorted, once ctx is done: no event comes earlier than that.
func sleepers(ctx context.Context) <-chan []time.Duration {
	result := make(chan []time.Duration, 1)
	go func() {
		overslept := []time.Duration{0}
		for ctx.Err() == nil {
			began := time.Now()
			pause(context.Background(), time.Millisecond)
			overslept = append(overslept, time.Since(began)-time.Millisecond)
		}
		slices.Sort(overslept)
		result <- overslept
	}()
	return result
}
