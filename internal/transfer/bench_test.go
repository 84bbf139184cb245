package transfer_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// BenchmarkImport imports events of about 200 bytes, interleaved over many
// streams and each with a record time of its own, into a durable SQLite store.
func BenchmarkImport(b *testing.B) {
	const events, streams = 100_000, 5000
	var text []byte
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range events {
		text = transfer.AppendLine(text, cloudevents.Source(uuid.Max), eventstore.RecordedEvent{
			Event: eventstore.Event{
				ID: uuid.Must(uuid.NewV7()), Type: "OrderPlaced", ContentType: "application/json",
				Data: fmt.Appendf(nil, `{"customer":"c-%d","total":%d,"note":"%0140d"}`, i%977, i, i),
			},
			Stream: fmt.Sprintf("order-%d", i%streams), Version: uint64(i/streams) + 1, RecordedAt: at.Add(time.Duration(i) * time.Millisecond),
		})
	}
	for b.Loop() {
		backend, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "events.db"), nil)
		require.NoError(b, err)
		store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true})
		require.NoError(b, err)
		result, err := transfer.Import(b.Context(), store, bytes.NewReader(text), nil)
		require.NoError(b, err)
		require.Equal(b, events, result.Stored)
		require.NoError(b, store.Close())
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
