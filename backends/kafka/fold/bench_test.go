package fold

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// benchFrames are appends of one event of 200 bytes each, to streams of this
// length, one after the other.
func benchFrames(b *testing.B, events, streamLength int) [][]byte {
	b.Helper()
	data := make([]byte, 200)
	frames := make([][]byte, 0, events+1)
	frames = append(frames, Genesis(idOf("genesis"), idOf("store")))
	decisions := []adapter.Decision{{Write: true}}
	for i := range events {
		e := eventstore.Event{Type: "OrderPlaced", ContentType: eventstore.JSONContentType, Data: data}
		binary.BigEndian.PutUint64(e.ID[8:], uint64(i)*0x9e3779b97f4a7c15)
		r, err := NewRequest(e.ID, []eventstore.StreamAppend{{
			Stream: fmt.Sprintf("Order-%08d", i%(events/streamLength)), Expected: eventstore.Exactly(uint64(i / (events / streamLength))),
			Events: []eventstore.Event{e},
		}})
		require.NoError(b, err)
		frames = append(frames, r.frame(now, 0, decisions))
	}
	return frames
}

// BenchmarkFold is the cold start of a store: the rate, and the memory that stays.
func BenchmarkFold(b *testing.B) {
	for _, streamLength := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("streams of %d", streamLength), func(b *testing.B) {
			const events = 200_000
			frames := benchFrames(b, events, streamLength)
			var s *State
			before := heap()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				s = New()
				for offset, frame := range frames {
					if verdict, err := s.Fold(int64(offset), frame); err != nil || verdict.Outcome != Accepted {
						b.Fatal(verdict, err)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric((float64(heap())-float64(before))/events, "B/event")
			runtime.KeepAlive(s)
			runtime.KeepAlive(frames)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkCheck is what a writer does before it sends.
func BenchmarkCheck(b *testing.B) {
	s := New()
	for offset, frame := range benchFrames(b, 10_000, 10) {
		_, err := s.Fold(int64(offset), frame)
		require.NoError(b, err)
	}
	parts := []eventstore.StreamAppend{part("Order-00000007", eventstore.Exactly(10), "new")}
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewRequest(uuid.UUID{}, parts)
		if err != nil {
			b.Fatal(err)
		}
		proposal := s.Check(r)
		if proposal.Step != Send || len(proposal.Frame(now)) == 0 {
			b.Fatal(proposal)
		}
	}
}
