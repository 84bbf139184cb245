package dynamodb_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// incompressible is data that deflating does not make shorter, and that is no UTF-8.
func incompressible(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), rand.Uint64())) // no two alike: deflating finds those
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

func binaryEvent(n int) eventstore.Event {
	e := event()
	e.ContentType, e.Data = "application/octet-stream", incompressible(n)
	return e
}

// comesBack appends parts and reads them from the log and from their streams, through
// the handle that wrote them and through a fresh one.
func comesBack(t *testing.T, w *world, parts ...eventstore.StreamAppend) {
	t.Helper()
	store := w.store()
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	results, err := store.AppendStreams(t.Context(), parts...)
	require.NoError(t, err)
	for _, reader := range []*eventstore.Store{store, w.store()} {
		var want []eventstore.RecordedEvent
		for _, result := range results {
			want = append(want, result.Events...)
		}
		n := 0
		for got, err := range reader.ReadAll(t.Context(), eventstore.ReadAllOptions{After: info.Head.Position}) {
			require.NoError(t, err)
			same(t, want[n], got)
			n++
		}
		require.Equal(t, len(want), n)
		byStream := make(map[string][]eventstore.RecordedEvent)
		for _, e := range want {
			byStream[e.Stream] = append(byStream[e.Stream], e)
		}
		for stream, want := range byStream {
			n := 0
			for got, err := range reader.ReadStream(t.Context(), stream, eventstore.ReadOptions{After: want[0].Version - 1}) {
				require.NoError(t, err)
				same(t, want[n], got)
				n++
			}
			require.Equal(t, len(want), n)
		}
	}
}

func same(t *testing.T, want, got eventstore.RecordedEvent) {
	t.Helper()
	require.Equal(t, want.Place(), got.Place())
	require.Equal(t, want.RecordedAt, got.RecordedAt)
	require.True(t, want.SameContent(got.Event), "event %s", want.Place())
}

// worstMetadata is metadata whose encoding is as large as its size allows: pairs as
// short as can be.
func worstMetadata(bytes int) map[string]string {
	m := make(map[string]string)
	for size := 0; size < bytes; {
		key := fmt.Sprintf("%x", len(m))
		m[key] = ""
		size += len(key) + 6
	}
	return m
}

func TestWhatTheDeclaredLimitsLetThroughFits(t *testing.T) {
	w := newWorld(t, nil)
	limits := w.backend(nil, nil).Capabilities().Limits
	long := strings.Repeat("x", limits.MaxStreamBytes-4)
	stream := func(i int) string { return fmt.Sprintf("%s-%03d", long, i) }
	one := func(e eventstore.Event) eventstore.StreamAppend {
		return eventstore.StreamAppend{Stream: stream(0), Expected: eventstore.Any(), Events: []eventstore.Event{e}}
	}
	t.Run("one event of the largest size", func(t *testing.T) {
		e := binaryEvent(0)
		e.Type = strings.Repeat("t", limits.MaxTypeBytes)
		e.Data = incompressible(limits.MaxEventBytes - e.Size())
		require.Equal(t, limits.MaxEventBytes, e.Size())
		comesBack(t, w, one(e))
	})
	t.Run("one event that is all metadata, in tiny pairs", func(t *testing.T) {
		e := event()
		e.Metadata = worstMetadata(limits.MaxEventBytes - 1000)
		comesBack(t, w, one(e))
	})
	t.Run("one event that is all metadata, in one pair with bytes to escape", func(t *testing.T) {
		e := event()
		e.Metadata = map[string]string{"k": strings.Repeat("<", (limits.MaxEventBytes-1000)/6)}
		comesBack(t, w, one(e))
	})
	t.Run("as many events as can be, together as large as can be", func(t *testing.T) {
		each := limits.MaxAppendBytes/limits.MaxAppendEvents - 64
		part := eventstore.StreamAppend{Stream: stream(1), Expected: eventstore.Any()}
		for range limits.MaxAppendEvents {
			part.Events = append(part.Events, binaryEvent(each))
		}
		comesBack(t, w, part)
	})
	t.Run("as many streams as can be, some of them of the largest events", func(t *testing.T) {
		var parts []eventstore.StreamAppend
		left := limits.MaxAppendBytes
		for i := range limits.MaxAppendParts {
			size := 60
			if left > limits.MaxEventBytes+100*limits.MaxAppendParts {
				size = limits.MaxEventBytes / 2
			}
			e := binaryEvent(size)
			left -= e.Size()
			parts = append(parts, eventstore.StreamAppend{Stream: stream(i % (limits.MaxAppendParts - 2)), Expected: eventstore.Any(), Events: []eventstore.Event{e}})
		}
		comesBack(t, w, parts...)
	})
	t.Run("as many streams as can be, and one of events that two chunks of the usual size cannot share", func(t *testing.T) {
		var parts []eventstore.StreamAppend
		for i := range limits.MaxAppendParts - 1 {
			parts = append(parts, eventstore.StreamAppend{Stream: stream(200 + i), Expected: eventstore.Any(), Events: events(1)})
		}
		large := eventstore.StreamAppend{Stream: stream(300), Expected: eventstore.Any()}
		for range 90 {
			large.Events = append(large.Events, binaryEvent(33<<10))
		}
		comesBack(t, w, append(parts, large)...)
	})
	t.Run("as many small events as can be, with the longest types", func(t *testing.T) {
		part := eventstore.StreamAppend{Stream: stream(2), Expected: eventstore.Any()}
		for i := range limits.MaxAppendEvents {
			e := binaryEvent(1900)
			e.Type = fmt.Sprintf("%0*d", limits.MaxTypeBytes, i)
			part.Events = append(part.Events, e)
		}
		comesBack(t, w, part)
	})
	t.Run("snapshots of the largest size", func(t *testing.T) {
		store := w.store()
		data := incompressible(limits.MaxEventBytes)
		require.NoError(t, store.SaveSnapshot(t.Context(), eventstore.Snapshot{Stream: stream(2), Type: strings.Repeat("s", limits.MaxTypeBytes), Version: 1, Data: data}))
		got, ok, err := store.LoadSnapshot(t.Context(), stream(2), strings.Repeat("s", limits.MaxTypeBytes))
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, bytes.Equal(data, got.Data))
	})
}

func TestGroupsAreDividedWhereATransactionIsFull(t *testing.T) {
	w := newWorld(t, nil)
	for name, test := range map[string]struct{ calls, size, transactions int }{
		"99 chunks fit":             {99, 10, 1},
		"100 do not":                {100, 10, 2},
		"350 KB of the log do not":  {240, 1600, 3},
		"3.5 MB of chunks do not":   {20, 200 << 10, 2},
		"one of 64 KiB and another": {2, 64 << 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.backend(&dynamodb.Options{Namespace: fmt.Sprintf("n%d-%d", test.calls, test.size)}, nil)
			var requests []eventstore.AppendRequest
			for i := range test.calls {
				request := part(fmt.Sprintf("s-%d", i%120), eventstore.Any(), event())
				request.Parts[0].Events[0] = binaryEvent(test.size)
				requests = append(requests, request)
			}
			before := w.srv.Usage().Requests[transact]
			for i, call := range b.Flush(t.Context(), requests) {
				require.NoError(t, call.Err, "append %d", i)
			}
			require.EqualValues(t, test.transactions, w.srv.Usage().Requests[transact]-before)
			require.NoError(t, newLedger().audit(t.Context(), storeOf(t, b)))
		})
	}
}

func TestAReadStartsAndEndsAnywhereInAChunk(t *testing.T) {
	const n = 64
	w := newWorld(t, nil)
	store := w.store()
	all, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), events(n)...) // one chunk
	require.NoError(t, err)
	page := eventstore.PageSize{MaxEvents: 100, MaxBytes: 1 << 20}
	b := w.backend(nil, nil)
	for after := range uint64(n + 1) {
		for before := after + 1; before <= n+1; before++ {
			want := all.Events[after : before-1]
			got, err := b.ReadStream(t.Context(), eventstore.ReadStreamRequest{Stream: "order-1", After: after, Before: before, Backward: before%2 == 0, PageSize: page})
			require.NoError(t, err)
			require.Len(t, got.Events, len(want), "after %d before %d", after, before)
			require.True(t, got.End)
			for i := range want {
				j := i
				if before%2 == 0 {
					j = len(want) - 1 - i
				}
				require.Equal(t, want[j].Place(), got.Events[i].Place())
			}
		}
	}
}

func TestManyProcessesThatAppendOneByOneAllSucceed(t *testing.T) {
	w := newWorld(t, nil)
	w.srv.SetLatency(time.Millisecond)
	var stores []*eventstore.Store
	for range 32 {
		stores = append(stores, w.store())
	}
	w.srv.ResetUsage()
	l := work(t, stores, 1, 5, 3)
	require.Empty(t, l.unknown)
	require.NoError(t, l.audit(t.Context(), w.store()))
	used := w.srv.Usage()
	perEvent := (used.WriteUnits + 2*2*float64(used.CanceledTransactions)) / float64(len(l.stored)) // two items, two units each
	t.Logf("%.1f write units an event, %d transactions cancelled of %d", perEvent, used.CanceledTransactions, used.Requests[transact])
	require.LessOrEqual(t, perEvent, 13.0)
}
