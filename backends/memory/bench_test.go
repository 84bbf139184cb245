package memory_test

import (
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

var payload = []byte(`{"orderId":"8d5f2f0e-7f0f-4a83-9f6a-2f0e7f0f4a83","amount":1299,"currency":"EUR","items":[{"sku":"A-1","qty":2},{"sku":"B-7","qty":1}],"note":"a typical small event of about two hundred bytes"}`)

// BenchmarkAppend measures whole appends of one event of about 200 bytes,
// through the Store, from eight goroutines; each writes streams of ten events.
// The JSON row pays for the check that its data is JSON.
func BenchmarkAppend(b *testing.B) {
	for _, contentType := range []string{"application/json", "application/octet-stream"} {
		b.Run(contentType, func(b *testing.B) {
			store, err := eventstore.New(memory.New(), nil)
			require.NoError(b, err)
			event := eventstore.Event{Type: "OrderPlaced", Data: payload, ContentType: contentType}
			var writers atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				prefix := fmt.Sprintf("order-%d-", writers.Add(1))
				var stream string
				for n := 0; pb.Next(); n++ {
					if n%10 == 0 {
						stream = prefix + strconv.Itoa(n)
					}
					if _, err := store.Append(b.Context(), stream, eventstore.Exactly(uint64(n%10)), event); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// BenchmarkRead measures reads of the global order and of one stream of 1,000
// events, per event.
func BenchmarkRead(b *testing.B) {
	store, err := eventstore.New(memory.New(), nil)
	require.NoError(b, err)
	for range 1000 {
		_, err := store.Append(b.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "OrderPlaced", Data: payload})
		require.NoError(b, err)
	}
	reads := map[string]func() iter.Seq2[eventstore.RecordedEvent, error]{
		"all": func() iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadAll(b.Context(), eventstore.ReadAllOptions{})
		},
		"stream": func() iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadStream(b.Context(), "order-1", eventstore.ReadOptions{})
		},
	}
	for name, read := range reads {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; {
				for _, err := range read() {
					require.NoError(b, err)
					if n++; n == b.N {
						break
					}
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
