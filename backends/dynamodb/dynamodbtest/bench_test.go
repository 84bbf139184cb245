package dynamodbtest_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the double itself costs: figures of an adapter are taken with a latency
// that this is small beside.
func BenchmarkDouble(b *testing.B) {
	_, w := startWorld(b, nil)
	w.fill(100, 1000)
	for name, request := range map[string]func(i int64) error{
		"transaction of 17 items": func(i int64) error {
			tx := w.transaction(w.putNewAction(ofSize(key("log", i), 4000)))
			for n := range int64(16) {
				tx.TransactItems = append(tx.TransactItems, w.putNewAction(ofSize(key("s", i*16+n), 300)))
			}
			_, err := w.client.TransactWriteItems(w.ctx, tx)
			return err
		},
		"query of 100 KB": func(int64) error {
			_, err := w.client.Query(w.ctx, w.queryInput("a"))
			return err
		},
		"put": func(i int64) error { return w.tryPut(ofSize(key("p", i), 300)) },
	} {
		b.Run(name, func(b *testing.B) {
			var next atomic.Int64
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := request(next.Add(1) + int64(b.N)<<20); err != nil {
						b.Error(err)
						return
					}
				}
			})
			require.False(b, b.Failed())
		})
	}
}
