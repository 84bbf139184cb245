package move

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// BenchmarkClosed measures how long nobody can append while a store of a million
// events in 10,000 streams is moved from file to file, behind a live follow and with
// a writer that appends 500 events a second. Run it with -benchtime 1x.
func BenchmarkClosed(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		from, err := sqliteSide(b.Context(), filepath.Join(dir, "from.db"))
		require.NoError(b, err)
		to, err := sqliteSide(b.Context(), filepath.Join(dir, "to.db"))
		require.NoError(b, err)
		b.StopTimer()
		const streams, events, together = 10_000, 1_000_000, 1000
		for n := 0; n < events; n += together {
			parts := make([]eventstore.StreamAppend, 0, together)
			for i := range together {
				parts = append(parts, eventstore.StreamAppend{
					Stream: fmt.Sprintf("counter-%d", (n+i)%streams), Expected: eventstore.Exactly(uint64((n + i) / streams)),
					Events: []eventstore.Event{{Type: "Counted", Data: fmt.Appendf(nil, `{"n":%d,"text":"an event of about a hundred bytes, as most are"}`, n+i)}},
				})
			}
			_, err := from.Store.AppendStreams(b.Context(), parts...)
			require.NoError(b, err)
		}
		require.NoError(b, from.Store.SaveCheckpoint(b.Context(), eventstore.Checkpoint{Name: "billing"}))
		b.StartTimer()
		var writer sync.WaitGroup
		writer.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for range pace.C {
				if _, err := from.Store.Append(b.Context(), "live", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")}); err != nil {
					return // sealed
				}
			}
		})
		report, err := Move(b.Context(), from, to, &Options{StateDir: dir})
		require.NoError(b, err)
		writer.Wait()
		for _, phase := range report.Phases {
			b.ReportMetric(float64(phase.Took.Milliseconds()), string(phase.Phase)+"-ms")
		}
		b.ReportMetric(float64(report.Closed.Milliseconds()), "closed-ms")
		b.ReportMetric(float64(report.To.Summary.Events), "events")
		require.NoError(b, from.Store.Close())
		require.NoError(b, to.Store.Close())
	}
}
