package dynamodb_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Who follows a stream reads from its end on, and sees nothing: that says where the
// stream ends, and not that it is empty. In a group whose write succeeds a refusal is
// not looked at again.
func TestAReadThatFindsNothingNewDoesNotMakeAStreamEmpty(t *testing.T) {
	for name, chunks := range map[string][]int{"a chunk of one event": {2, 1}, "a chunk of several": {3}} {
		for _, beyond := range []uint64{0, 100} {
			t.Run(fmt.Sprintf("%s, %d beyond the end", name, beyond), func(t *testing.T) {
				w := newWorld(t, nil)
				writer := w.store()
				for _, n := range chunks {
					_, err := writer.Append(t.Context(), "order-1", eventstore.Any(), events(n)...)
					require.NoError(t, err)
				}
				for range 5 { // what the log's end says of the stream is not read by others any more
					_, err := writer.Append(t.Context(), "other-1", eventstore.Any(), event())
					require.NoError(t, err)
				}
				b := w.backend(nil, nil)
				page, err := b.ReadStream(t.Context(), eventstore.ReadStreamRequest{
					Stream: "order-1", After: 3 + beyond, PageSize: eventstore.PageSize{MaxEvents: 100, MaxBytes: 1 << 20},
				})
				require.NoError(t, err)
				require.Empty(t, page.Events)
				group := b.Flush(t.Context(), []eventstore.AppendRequest{
					part("new-1", eventstore.NoStream(), event()),
					part("order-1", eventstore.Exactly(3), event()),
				})
				require.NoError(t, group[0].Err)
				require.NoError(t, group[1].Err, "a false conflict")
				require.EqualValues(t, 4, group[1].Results[0].Recorded[0].Version)
			})
		}
	}
}

func TestAPageOfManyReferencesIsReadWhole(t *testing.T) {
	const n = 2600 // the second page of a read has 2,048 events
	w := newWorld(t, nil)
	b := w.backend(nil, nil)
	for i := range n / 65 {
		var group []eventstore.AppendRequest
		for j := range 65 {
			e := event()
			e.Data = []byte(`"` + strings.Repeat("x", 2100) + `"`)
			group = append(group, part(fmt.Sprintf("order-%d-%d", i, j), eventstore.NoStream(), e))
		}
		for _, call := range b.Flush(t.Context(), group) {
			require.NoError(t, call.Err)
		}
	}
	w.srv.SetLatency(5 * time.Millisecond)
	read := 0
	for _, err := range storeOf(t, w.backend(nil, nil)).ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		read++
	}
	require.Equal(t, n, read)
}

func TestARepetitionReadsEachChunkOnce(t *testing.T) {
	w := newWorld(t, nil)
	var m meter
	b := w.backend(&dynamodb.Options{OnUsage: m.add}, nil)
	large := part("order-1", eventstore.NoStream(), events(1000)...) // two chunks
	_, err := b.Append(t.Context(), large)
	require.NoError(t, err)
	m.reset()
	results, err := b.Append(t.Context(), large)
	require.NoError(t, err)
	require.True(t, results[0].Duplicate)
	requests, _, _ := m.reset()
	require.LessOrEqual(t, requests, 4.0)
}

// The log's last item may have some hundred KB. A look at what follows it does not pay
// for it each time.
func TestALongStreamsEndIsReadOnce(t *testing.T) {
	w := newWorld(t, nil)
	b := w.backend(nil, nil)
	var queries int64
	for i := range 6 {
		_, err := b.Append(t.Context(), part("order-1", eventstore.Any(), events(100)...))
		require.NoError(t, err)
		if i == 0 {
			queries = w.srv.Usage().Requests["Query"]
		}
	}
	require.Equal(t, queries, w.srv.Usage().Requests["Query"], "what the handle wrote itself it need not read")
}

func TestALookAtTheEndCostsAUnitWhateverStandsThere(t *testing.T) {
	w := newWorld(t, nil)
	large := part("order-1", eventstore.NoStream())
	for i := range 200 {
		large.Parts[0].Events = append(large.Parts[0].Events, binaryEvent(1500-i))
	}
	_, err := w.backend(nil, nil).Append(t.Context(), large)
	require.NoError(t, err)
	var m meter
	b := w.backend(&dynamodb.Options{OnUsage: m.add, Poll: 5 * time.Millisecond}, nil)
	for message, err := range storeOf(t, b).Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
		require.NoError(t, err)
		if message.Kind != eventstore.MessageCaughtUp {
			continue
		}
		m.reset()
		const looks = 20
		require.Eventually(t, func() bool { return m.count() >= looks }, 10*time.Second, time.Millisecond)
		requests, read, _ := m.reset()
		require.LessOrEqual(t, read, 2*requests)
		break
	}
}

func TestSubscriptionsShareOneLook(t *testing.T) {
	w := newWorld(t, nil)
	var m meter
	const poll = 100 * time.Millisecond
	b := w.backend(&dynamodb.Options{OnUsage: m.add, Poll: poll}, nil)
	_, err := b.Append(t.Context(), part("order-1", eventstore.NoStream(), event()))
	require.NoError(t, err)
	var caughtUp, all sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	for range 20 {
		caughtUp.Add(1)
		all.Go(func() {
			for message, err := range storeOf(t, b).Subscribe(ctx, eventstore.SubscribeOptions{}) {
				if err == nil && message.Kind == eventstore.MessageCaughtUp {
					caughtUp.Done()
				}
			}
		})
	}
	caughtUp.Wait()
	began := time.Now()
	m.reset()
	require.Eventually(t, func() bool { return m.count() >= 5 }, 10*time.Second, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), 2*poll, "twenty subscriptions, and one look each time")
	requests, read, _ := m.reset()
	require.LessOrEqual(t, read, requests, "a look is a read unit: 86,400 a day where one is made a second")
	end()
	all.Wait()
}

// A page that ends inside a log item begins the next one with the same item.
func TestReadingLargeGroupsPaysForEachOnce(t *testing.T) {
	w := newWorld(t, nil)
	writer := w.store()
	const groups = 8
	for i := range groups {
		group := typicals(1000)
		for j := range group { // what deflating makes half as long
			group[j].Data = fmt.Appendf(nil, `{"a":"%s","b":"%s","c":"%s"}`, uuid.NewString(), uuid.NewString(), uuid.NewString())
		}
		_, err := writer.Append(t.Context(), fmt.Sprintf("order-%d", i), eventstore.Any(), group...)
		require.NoError(t, err)
	}
	var m meter
	store := storeOf(t, w.backend(&dynamodb.Options{OnUsage: m.add}, nil))
	m.reset()
	n := 0
	for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, groups*1000, n)
	requests, read, _ := m.reset()
	t.Logf("%.1f read units for 1,000 events, %.0f requests", read/groups, requests)
	require.LessOrEqual(t, read/groups, 30.0)
}
