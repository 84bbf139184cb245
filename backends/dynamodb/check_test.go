package dynamodb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// lastTransactions writes a store whose last two transactions have several items, and
// returns the keys of those.
func lastTransactions(t *testing.T, w *world) (store *eventstore.Store, keys []map[string]types.AttributeValue) {
	store = w.store()
	_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), events(3)...)
	require.NoError(t, err)
	_, err = store.AppendStreams(t.Context(),
		eventstore.StreamAppend{Stream: "order-1", Expected: eventstore.Any(), Events: events(2)},
		eventstore.StreamAppend{Stream: "order-2", Expected: eventstore.Any(), Events: []eventstore.Event{binaryEvent(5000)}}, // by reference
	)
	require.NoError(t, err)
	_, err = store.AppendStreams(t.Context(),
		eventstore.StreamAppend{Stream: "order-1", Expected: eventstore.Any(), Events: events(1)},
		eventstore.StreamAppend{Stream: "order-3", Expected: eventstore.Any(), Events: events(2)},
	)
	require.NoError(t, err)
	for _, key := range [][2]any{{"/log", 2}, {"/s/order-1", 4}, {"/s/order-2", 1}, {"/log", 3}, {"/s/order-1", 6}, {"/s/order-3", 1}} {
		keys = append(keys, map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: key[0].(string)},
			"sk": &types.AttributeValueMemberN{Value: fmt.Sprint(key[1])},
		})
	}
	return store, keys
}

func TestARestoredTableIsRefusedUntilItWasCheckedAndRepaired(t *testing.T) {
	const items = 6
	for cut := range 1 << items { // which items the backup lacks
		w := newWorld(t, nil)
		_, keys := lastTransactions(t, w)
		api := w.client(nil)
		for i, key := range keys {
			if cut&(1<<i) != 0 {
				_, err := api.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String("events"), Key: key})
				require.NoError(t, err)
			}
		}
		w.srv.SetTableState("events", dynamodbtest.TableState{RestoredAt: time.Now().Add(time.Millisecond)})
		_, err := dynamodb.Open(t.Context(), api, "events", nil)
		var restored *dynamodb.RestoredError
		require.ErrorAs(t, err, &restored)
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
		require.Eventually(t, func() bool { return time.Now().After(restored.At) }, time.Second, time.Millisecond)

		report, err := dynamodb.Check(t.Context(), api, "events", nil, false)
		require.NoError(t, err)
		whole := func(transaction int) bool { part := cut >> (3 * transaction) & 7; return part == 0 || part == 7 }
		torn := !whole(0) || !whole(1) || (cut&7 == 7 && cut>>3 != 7)
		require.Equal(t, torn, len(report.Problems) > 0, "cut %06b: %v", cut, report.Problems)
		if torn {
			_, err = dynamodb.Open(t.Context(), api, "events", nil)
			require.ErrorAs(t, err, &restored, "it was found torn")
			report, err = dynamodb.Check(t.Context(), api, "events", nil, true)
			require.NoError(t, err, "cut %06b", cut)
			require.True(t, report.Repaired)
		}
		store := w.store()
		require.NoError(t, newLedger().audit(t.Context(), store), "cut %06b", cut)
		_, err = store.Append(t.Context(), "order-1", eventstore.StreamExists(), event())
		require.NoError(t, err)
		if cut == 1<<1 { // order-1's part of the second transaction is in the log
			require.Equal(t, 1, report.Completed)
			require.Zero(t, report.CutFrom)
		}
		w.srv.Stop()
	}
}

// A writer's clock that is ahead does not hide a restore, and one that is behind does
// not make a new store a restored one: only the service's own times are compared.
func TestRestoresAreComparedByTheServicesClock(t *testing.T) {
	w := newWorld(t, nil)
	w.store()
	api := w.client(nil)
	service := time.Now().Add(-24 * time.Hour) // the writer's clock is a day ahead
	restore := func() { w.srv.SetTableState("events", dynamodbtest.TableState{RestoredAt: service}) }
	restore()
	var restored *dynamodb.RestoredError
	_, err := dynamodb.Open(t.Context(), api, "events", nil)
	require.ErrorAs(t, err, &restored)
	_, err = dynamodb.Check(t.Context(), api, "events", nil, false)
	require.NoError(t, err)
	_, err = dynamodb.Open(t.Context(), api, "events", nil)
	require.NoError(t, err)
	service = service.Add(time.Hour)
	restore()
	_, err = dynamodb.Open(t.Context(), api, "events", nil)
	require.ErrorAs(t, err, &restored, "another restore")
	service = time.Now().Add(24 * time.Hour)
	restore()
	for range 2 {
		_, err = dynamodb.Open(t.Context(), api, "events", &dynamodb.Options{Namespace: "new"})
		require.NoError(t, err, "a store that was made after the restore")
	}
}

func TestALogThatLacksAnItemIsNotReadBeyondIt(t *testing.T) {
	w := newWorld(t, nil)
	store := w.store()
	for i := range 4 {
		_, err := store.Append(t.Context(), fmt.Sprintf("order-%d", i), eventstore.Any(), event())
		require.NoError(t, err)
	}
	api := w.client(nil)
	_, err := api.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String("events"), Key: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: "/log"}, "sk": &types.AttributeValueMemberN{Value: "2"},
	}})
	require.NoError(t, err)
	report, err := dynamodb.Check(t.Context(), api, "events", nil, false)
	require.NoError(t, err)
	require.Contains(t, strings.Join(report.Problems, "\n"), "the log lacks its items 2 to 2")
	impatient, err := eventstore.New(w.backend(nil, nil), &eventstore.Options{RetryFor: -1})
	require.NoError(t, err)
	for _, backward := range []bool{false, true} {
		var read []string
		var failed error
		for e, err := range impatient.ReadAll(t.Context(), eventstore.ReadAllOptions{Backward: backward}) {
			if err != nil {
				failed = err
				break
			}
			read = append(read, e.Stream)
		}
		require.ErrorContains(t, failed, "the log lacks item 2", "backward %t: a log that lacks an item was read to its end", backward)
		require.NotContains(t, read, map[bool]string{false: "order-2", true: "order-0"}[backward], "behind the hole")
	}
}
