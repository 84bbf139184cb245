package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// meter counts what a handle consumes.
type meter struct {
	mu       sync.Mutex
	requests float64
	read     float64
	write    float64
}

func (m *meter) add(u dynamodb.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	m.read += u.ReadUnits
	m.write += u.WriteUnits
}

func (m *meter) count() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

func (m *meter) reset() (requests, read, write float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	requests, read, write = m.requests, m.read, m.write
	m.requests, m.read, m.write = 0, 0, 0
	return requests, read, write
}

// typical is an event of about 200 bytes of JSON.
func typical() eventstore.Event {
	e := event()
	e.Type = "OrderPlaced"
	e.Data = []byte(`{"orderId":"8d5f2f0e-7f0f-4a83-9f6a-2f0e7f0f4a83","amount":1299,"currency":"EUR","items":[{"sku":"A-1","qty":2},{"sku":"B-7","qty":1}],"note":"a typical small event of about two hundred bytes"}`)
	return e
}

func typicals(n int) []eventstore.Event {
	all := make([]eventstore.Event, n)
	for i := range all {
		all[i] = typical()
	}
	return all
}

// What an append costs, which is the same on the double and on an emulator of other
// authors.
func TestUnitsAndRequestsStayBelowTheirTargets(t *testing.T) {
	servers := map[string]func(t *testing.T) string{
		"double": func(t *testing.T) string {
			srv, err := dynamodbtest.Start(nil)
			require.NoError(t, err)
			t.Cleanup(srv.Stop)
			return srv.URL()
		},
		"dynoxide": func(t *testing.T) string {
			return testservers.PrivateDynoxide(t, testservers.DynoxideOptions{}).URL()
		},
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) { countUnits(t, dynamodbharness.TableURL(start(t), "events")) })
	}
}

func countUnits(t *testing.T, table string) {
	u, err := url.Parse(table)
	require.NoError(t, err)
	var m meter
	open := func(t *testing.T) *dynamodb.Backend {
		api, name, opts, err := dynamodb.Client(t.Context(), u)
		require.NoError(t, err)
		opts.OnUsage = m.add
		b, err := dynamodb.Open(t.Context(), api, name, opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	b := open(t)
	m.reset()
	for _, test := range []struct {
		name                      string
		group, events, rounds     int
		writeUnits, requestsACall float64
	}{
		{"1 writer, 1 event", 1, 1, 60, 4.0, 1.06},
		{"8 writers, 1 event", 8, 1, 20, 2.6, 0.20},
		{"64 writers, 1 event", 64, 1, 20, 2.25, 0.10},
		{"1 writer, 10 events", 1, 10, 20, 0.45, 1.06},
		{"8 writers, 10 events", 8, 10, 20, 0.40, 0.20},
	} {
		t.Run(test.name, func(t *testing.T) {
			streams := make([]string, test.group)
			for round := range test.rounds {
				var group []eventstore.AppendRequest
				for i := range test.group {
					if round%20 == 0 {
						streams[i] = "order-" + uuid.NewString()
					}
					group = append(group, part(streams[i], eventstore.Any(), typicals(test.events)...))
				}
				for _, call := range b.Flush(t.Context(), group) {
					require.NoError(t, call.Err)
				}
			}
			requests, read, write := m.reset()
			calls := float64(test.group * test.rounds)
			all := calls * float64(test.events)
			t.Logf("%.2f write units and %.3f read units an event, %.3f requests a call", write/all, read/all, requests/calls)
			require.LessOrEqual(t, write/all, test.writeUnits)
			require.LessOrEqual(t, requests/calls, test.requestsACall)
		})
	}
	t.Run("reading 1,000 events of 64 writers", func(t *testing.T) {
		fresh := open(t)
		_, err := fresh.Append(t.Context(), part("mark-1", eventstore.Any(), typical()))
		require.NoError(t, err)
		info, err := fresh.Info(t.Context())
		require.NoError(t, err)
		for range 16 {
			var group []eventstore.AppendRequest
			for range 64 {
				group = append(group, part("order-"+uuid.NewString(), eventstore.Any(), typical()))
			}
			for _, call := range fresh.Flush(t.Context(), group) {
				require.NoError(t, call.Err)
			}
		}
		store := storeOf(t, open(t))
		m.reset()
		n := 0
		for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{After: info.Head.Position}) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 1024, n)
		_, read, _ := m.reset()
		t.Logf("%.1f read units", read)
		require.LessOrEqual(t, read*1000/1024, 20.0)
	})
	t.Run("reading a stream of 15", func(t *testing.T) {
		for range 15 {
			_, err := b.Append(t.Context(), part("short-1", eventstore.Any(), typical()))
			require.NoError(t, err)
		}
		m.reset()
		version, err := b.ReadStream(t.Context(), eventstore.ReadStreamRequest{Stream: "short-1", PageSize: eventstore.PageSize{MaxEvents: 512, MaxBytes: 4 << 20}})
		require.NoError(t, err)
		require.Len(t, version.Events, 15)
		_, read, _ := m.reset()
		require.LessOrEqual(t, read, 2.0)
	})
	t.Run("who reads a stream, decides and appends pays for one read", func(t *testing.T) {
		fresh := open(t)
		m.reset()
		_, err := fresh.ReadStream(t.Context(), eventstore.ReadStreamRequest{Stream: "short-1", PageSize: eventstore.PageSize{MaxEvents: 512, MaxBytes: 4 << 20}})
		require.NoError(t, err)
		_, err = fresh.Append(t.Context(), part("short-1", eventstore.Exactly(15), typical()))
		require.NoError(t, err)
		requests, _, _ := m.reset()
		require.InDelta(t, 2, requests, 0)
	})
	t.Run("opening and a first append", func(t *testing.T) {
		m.reset()
		_, err := open(t).Append(t.Context(), part("short-1", eventstore.Any(), typical()))
		require.NoError(t, err)
		requests, _, _ := m.reset()
		require.LessOrEqual(t, requests, 5.0)
	})
	t.Run("a checkpoint and a lease", func(t *testing.T) {
		checkpoints := b.Records().Checkpoints
		m.reset()
		require.NoError(t, checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
			Name: "billing", Store: b.ID(), Place: eventstore.Place{Position: eventstore.NewPosition(1, 0), Stream: "short-1", Version: 1},
		}}))
		requests, _, write := m.reset()
		require.InDelta(t, 1, requests, 0)
		require.InDelta(t, 1, write, 0)
	})
}

func TestOpeningAndAFirstAppendAreThreeRoundTrips(t *testing.T) {
	w := newWorld(t, &dynamodbtest.Options{})
	_, err := w.store().Append(t.Context(), "order-1", eventstore.NoStream(), typicals(3)...)
	require.NoError(t, err)
	api := w.client(nil)
	var under, rounds atomic.Int64
	w.srv.SetHooks(dynamodbtest.Hooks{
		Before: func(ctx context.Context, call dynamodbtest.Call) error {
			if under.Add(1) == 1 {
				rounds.Add(1)
			}
			answered := make(chan struct{})
			defer time.AfterFunc(time.Second, func() { close(answered) }).Stop()
			return dynamodbtest.Hold(answered)(ctx, call)
		},
		After: func(context.Context, dynamodbtest.Call, *dynamodbtest.Error) error { under.Add(-1); return nil },
	})
	b, err := dynamodb.Open(t.Context(), api, "events", nil)
	require.NoError(t, err)
	_, err = b.Append(t.Context(), part("order-1", eventstore.Exactly(3), typical()))
	require.NoError(t, err)
	require.LessOrEqual(t, rounds.Load(), int64(3))
	require.NoError(t, b.Close())
}

// template is how DynamoDB is used most often for an order of all events: an item
// that counts, an item for each event, and an index over the numbers. Each append is
// a transaction of its own. The index is not modelled: it costs nothing here.
type template struct{ api *sdk.Client }

func (p template) append(ctx context.Context, stream string, e eventstore.Event) error {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	number := func(n int) types.AttributeValue {
		return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
	}
	head := map[string]types.AttributeValue{"pk": text("head"), "sk": number(0)}
	for pause := time.Millisecond; ; pause = min(2*pause, 64*time.Millisecond) {
		out, err := p.api.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("template"), Key: head, ConsistentRead: aws.Bool(true)})
		if err != nil {
			return err
		}
		last := 0
		if n, ok := out.Item["n"].(*types.AttributeValueMemberN); ok {
			if _, err := fmt.Sscan(n.Value, &last); err != nil {
				return err
			}
		}
		_, err = p.api.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Update: &types.Update{
				TableName: aws.String("template"), Key: head, UpdateExpression: aws.String("SET n = :next"),
				ConditionExpression:       aws.String("attribute_not_exists(n) OR n = :last"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":next": number(last + 1), ":last": number(last)},
			}},
			{Put: &types.Put{
				TableName: aws.String("template"), ConditionExpression: aws.String("attribute_not_exists(pk)"),
				Item: map[string]types.AttributeValue{"pk": text(stream), "sk": number(1), "g": number(last + 1), "data": text(string(e.Data))},
			}},
		}})
		var canceled *types.TransactionCanceledException
		if !errors.As(err, &canceled) {
			return err
		}
		timer := time.NewTimer(pause/2 + time.Duration(last%7)*pause/14)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// rate has writers write for a while, and returns how many they did a second.
func rate(t *testing.T, writers int, write func(writer int) error) float64 {
	t.Helper()
	const duration = time.Second
	var n atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range writers {
		all.Go(func() {
			for time.Since(began) < duration {
				if err := write(i); err != nil {
					t.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// appender appends typical events one by one for a writer, to a new stream every 20.
func appender(stores ...*eventstore.Store) func(t *testing.T) func(writer int) error {
	return func(t *testing.T) func(writer int) error {
		var streams [1000]struct {
			name string
			n    int
		}
		return func(writer int) error {
			s := &streams[writer] // one goroutine's
			if s.n%20 == 0 {
				s.name = "order-" + uuid.NewString()
			}
			_, err := stores[writer%len(stores)].Append(t.Context(), s.name, eventstore.Exactly(uint64(s.n%20)), typical())
			s.n++
			return err
		}
	}
}

// What lost attempts are billed is not documented; as in the design two units are
// assumed for each.
func TestHandlesThatWriteTogetherStayBelowTheirUnits(t *testing.T) {
	// 2.8 is the target of both; three were measured at 2.58 to 2.77.
	for handles, most := range map[int]float64{2: 2.8, 3: 3.1} {
		w := newWorld(t, nil)
		var stores []*eventstore.Store
		for range handles {
			stores = append(stores, w.store())
		}
		w.srv.SetLatency(5 * time.Millisecond)
		w.srv.ResetUsage()
		var appended atomic.Int64
		write := appender(stores...)(t)
		perSecond := rate(t, 8*handles, func(i int) error { appended.Add(1); return write(i) })
		used := w.srv.Usage()
		units := (used.WriteUnits + 2*float64(used.CanceledTransactions)) / float64(appended.Load())
		t.Logf("%d × 8 writers: %.0f a second, %.2f write units an event, %d transactions cancelled of %d",
			handles, perSecond, units, used.CanceledTransactions, used.Requests[transact])
		require.LessOrEqual(t, units, most)
		w.srv.Stop()
	}
}

// The targets are 3 and 20 times, which a machine with a load of ten a core reached
// too: the template's writers wait for each other. docs/benchmarks.md has the figures.
func TestOneOrderIsFasterThanTheCommonTemplate(t *testing.T) {
	w := newWorld(t, nil)
	store, peers := w.store(), []*eventstore.Store{w.store(), w.store()}
	api := w.client(nil)
	_, err := api.CreateTable(t.Context(), &sdk.CreateTableInput{
		TableName: aws.String("template"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange}},
	})
	require.NoError(t, err)
	w.srv.SetLatency(5 * time.Millisecond)
	for writers, least := range map[int]float64{8: 3, 64: 20} {
		ours := rate(t, writers, appender(store)(t))
		two := rate(t, 2*writers, appender(peers...)(t))
		theirs := rate(t, writers, func(int) error { return template{api}.append(t.Context(), uuid.NewString(), typical()) })
		t.Logf("%d writers: %.0f a second, %.1f times the template's %.0f; two handles together %.0f, %.2f times", writers, ours, ours/theirs, theirs, two, two/ours)
		require.Greater(t, ours/theirs, least)
		newStreams := func(stores ...*eventstore.Store) float64 {
			return rate(t, len(stores)*writers, func(i int) error {
				_, err := stores[i%len(stores)].Append(t.Context(), "order-"+uuid.NewString(), eventstore.NoStream(), typical())
				return err
			})
		}
		one, both := newStreams(store), newStreams(peers...)
		t.Logf("each to a stream of its own: %.0f a second, two handles together %.2f times", one, both/one)
		require.Greater(t, both/one, 0.3)
	}
}
