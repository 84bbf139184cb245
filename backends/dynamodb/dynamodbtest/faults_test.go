package dynamodbtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
)

// retrying makes a client that repeats as SDKs do by default, but at once.
func retrying(url string) *dynamodb.Client {
	return dynamodb.New(client(url).Options(), func(o *dynamodb.Options) {
		o.RetryMaxAttempts = 3
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
	})
}

func TestD5_ATokenIsForgottenTenMinutesAfterItsTransaction(t *testing.T) {
	var clock atomic.Int64
	_, w := startWorld(t, &dynamodbtest.Options{Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	in := w.transaction(w.putNewAction(key("a", 1)))
	in.ClientRequestToken = aws.String("token")
	send := func() error {
		_, err := w.client.TransactWriteItems(w.ctx, in)
		return err
	}
	require.NoError(t, send())
	clock.Add(599)
	require.NoError(t, send())
	clock.Add(1)
	require.Equal(t, []string{"ConditionalCheckFailed"}, reasons(t, send()), "carried out anew")
}

func TestD5_ATokenInProgressIsRefusedUntilItsTransactionEnds(t *testing.T) {
	srv, w := startWorld(t, nil)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv.SetHooks(dynamodbtest.Hooks{Prepared: func(ctx context.Context, call dynamodbtest.Call) error {
		once.Do(func() { close(held) })
		return dynamodbtest.Hold(release)(ctx, call)
	}})
	in := w.transaction(w.putNewAction(key("a", 1)))
	in.ClientRequestToken = aws.String("token")
	first := make(chan error)
	go func() {
		_, err := w.client.TransactWriteItems(w.ctx, in)
		first <- err
	}()
	<-held
	_, err := w.client.TransactWriteItems(w.ctx, in)
	require.Equal(t, "TransactionInProgressException", code(err))
	close(release)
	require.NoError(t, <-first)
	_, err = w.client.TransactWriteItems(w.ctx, in)
	require.NoError(t, err)
}

// holding starts a transaction on items a 1 and b 1 and returns when it holds
// them. finish lets it go on and waits for its end.
func holding(t *testing.T, srv *dynamodbtest.Server, w world) (finish func() error) {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv.SetHooks(dynamodbtest.Hooks{Prepared: func(ctx context.Context, call dynamodbtest.Call) error {
		first := false
		once.Do(func() { first = true; close(held) })
		if !first {
			return nil
		}
		return dynamodbtest.Hold(release)(ctx, call)
	}})
	done := make(chan error)
	go func() { done <- w.transact(w.putAction(with(key("a", 1), "x", str("new"))), w.putAction(key("b", 1))) }()
	<-held
	return func() error {
		close(release)
		return <-done
	}
}

func TestD6_OverlappingTransactionsConflictAndOthersDoNot(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(with(key("a", 1), "x", str("old")))
	finish := holding(t, srv, w)

	err := w.transact(w.putAction(key("c", 1)), w.putAction(key("b", 1)), w.putNewAction(key("c", 2)))
	require.Equal(t, []string{"None", "TransactionConflict", "None"}, reasons(t, err))
	err = w.transact(w.putNewAction(key("a", 2)), types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &w.table, Key: key("a", 1), ConditionExpression: aws.String("attribute_exists(pk)")}})
	require.Equal(t, []string{"None", "TransactionConflict"}, reasons(t, err), "a check conflicts too")
	require.NoError(t, w.transact(w.putAction(key("c", 1)), w.putAction(key("c", 2))))

	require.NoError(t, finish())
	require.NoError(t, w.transact(w.putAction(key("b", 1))))
}

func TestD6_WhatATransactionOnlyChecksIsHeldToo(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(key("c", 1))
	var err error
	srv.SetHooks(dynamodbtest.Hooks{Prepared: func(context.Context, dynamodbtest.Call) error {
		err = w.tryPut(with(key("c", 1), "x", str("new")))
		return nil
	}})
	require.NoError(t, w.transact(w.putAction(key("a", 1)),
		types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &w.table, Key: key("c", 1), ConditionExpression: aws.String("attribute_not_exists(x)")}}))
	require.Equal(t, "TransactionConflictException", code(err))
	require.Equal(t, key("c", 1), w.get(key("c", 1)), "a check changes nothing")
	w.put(with(key("c", 1), "x", str("new")))
}

func TestD6_AConflictAndARefusalAreToldApart(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(key("c", 1))
	finish := holding(t, srv, w)
	err := w.transact(w.putNewAction(key("c", 1)), w.putNewAction(key("a", 1)))
	require.Equal(t, []string{"ConditionalCheckFailed", "TransactionConflict"}, reasons(t, err))
	require.NoError(t, finish())
}

func TestD6_SingleWritesConflictWithATransaction(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(with(key("a", 1), "x", str("old")))
	finish := holding(t, srv, w)
	const conflict = "TransactionConflictException"
	require.Equal(t, conflict, code(w.tryPut(key("a", 1))))
	require.Equal(t, conflict, code(w.tryPutNew(key("a", 1))), "before its condition is looked at")
	_, err := w.update(key("a", 1), "SET x = :v", attributes{":v": num(1)})
	require.Equal(t, conflict, code(err))
	_, err = w.client.DeleteItem(w.ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("b", 1)})
	require.Equal(t, conflict, code(err))
	out, err := w.batchWrite(putRequest(key("a", 1)), putRequest(key("a", 2)))
	require.NoError(t, err)
	require.Len(t, out.UnprocessedItems[w.table], 1)
	require.Equal(t, key("a", 1), out.UnprocessedItems[w.table][0].PutRequest.Item)

	require.Equal(t, str("old"), w.get(key("a", 1))["x"], "reads go on")
	require.Equal(t, []string{"1", "2"}, w.sortKeys("a"))
	_, err = w.client.TransactGetItems(w.ctx, w.transactGet(key("a", 1), key("a", 2)))
	require.Equal(t, []string{"TransactionConflict", "None"}, reasons(t, err), "but not in a transaction")

	require.NoError(t, finish())
	require.Equal(t, str("new"), w.get(key("a", 1))["x"])
}

func TestD6_ATransactionThatIsGivenUpLetsGoOfItsItems(t *testing.T) {
	srv, w := startWorld(t, nil)
	srv.SetHooks(dynamodbtest.Hooks{Prepared: dynamodbtest.FailTimes(1, dynamodbtest.InternalError())})
	in := w.transaction(w.putNewAction(key("a", 1)))
	in.ClientRequestToken = aws.String("token")
	_, err := w.client.TransactWriteItems(w.ctx, in)
	require.Equal(t, "InternalServerError", code(err))
	require.Empty(t, w.sortKeys("a"))
	_, err = w.client.TransactWriteItems(w.ctx, in)
	require.NoError(t, err)
}

func TestD6_WithLatencyRacesEndInConflicts(t *testing.T) {
	srv, w := startWorld(t, nil)
	srv.SetLatency(200 * time.Millisecond)
	results := make(chan error, 8)
	for i := range cap(results) {
		go func() { results <- w.transact(w.putNewAction(key("log", 1)), w.putNewAction(key("s", i))) }()
	}
	won, conflicts := 0, 0
	for range cap(results) {
		err := <-results
		switch {
		case err == nil:
			won++
		case reasons(t, err)[0] == "TransactionConflict":
			conflicts++
		}
	}
	require.Equal(t, 1, won)
	require.NotZero(t, conflicts)
	require.EqualValues(t, 7, srv.Usage().CanceledTransactions)
}

func TestD9_StateOutlivesARestart(t *testing.T) {
	srv, w := startWorld(t, nil)
	in := w.transaction(w.putNewAction(key("a", 1)))
	in.ClientRequestToken = aws.String("token")
	_, err := w.client.TransactWriteItems(w.ctx, in)
	require.NoError(t, err)
	address := srv.Address()
	srv.Stop()
	srv.Stop() // twice is no error
	require.Equal(t, "no answer", code(w.tryPut(key("a", 2))))
	require.Equal(t, address, srv.Address())

	require.NoError(t, srv.Restart())
	require.Equal(t, address, srv.Address())
	w.client = client(srv.URL()) // without connections of old
	require.Equal(t, []string{"1"}, w.sortKeys("a"))
	_, err = w.client.TransactWriteItems(w.ctx, in)
	require.NoError(t, err, "the token is known")
	require.NoError(t, srv.Restart(), "also while it runs")
	w.client = client(srv.URL())
	require.Equal(t, []string{"1"}, w.sortKeys("a"))
}

func TestD9_RestartsUnderLoadLoseNothingThatWasAcknowledged(t *testing.T) {
	srv, w := startWorld(t, nil)
	const writers, each = 4, 50
	var acknowledged atomic.Int64
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			for n := range each {
				for stored := false; !stored && w.ctx.Err() == nil; {
					stored = w.tryPut(key("a", i*each+n)) == nil
				}
				acknowledged.Add(1)
			}
		})
	}
	for range 10 {
		before := acknowledged.Load()
		require.NoError(t, srv.Restart())
		require.Eventually(t, func() bool {
			now := acknowledged.Load()
			return now > before || now == writers*each
		}, patience, time.Millisecond)
	}
	done.Wait()
	w.client = client(srv.URL())
	require.Len(t, w.sortKeys("a"), writers*each)
}

func TestD10_AFailureBeforeTheRequestStoresNothing(t *testing.T) {
	for name, fault := range map[string]error{
		"500": dynamodbtest.InternalError(), "503": dynamodbtest.Unavailable(), "throttled": dynamodbtest.Throttled(),
		"over throughput": dynamodbtest.ThroughputExceeded(), "conflict": dynamodbtest.Conflict(), "denied": dynamodbtest.AccessDenied("dynamodb:PutItem"),
		"cut": dynamodbtest.ErrDrop, "garbage": dynamodbtest.ErrGarbage, "any other error": errors.New("x"),
	} {
		t.Run(name, func(t *testing.T) {
			srv, w := startWorld(t, nil)
			srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.FailTimes(1, fault)})
			err := w.tryPut(key("a", 1))
			require.Error(t, err)
			var told *dynamodbtest.Error
			if errors.As(fault, &told) {
				require.Equal(t, told.Type, code(err))
			}
			require.Empty(t, w.sortKeys("a"))
		})
	}
}

func TestD10_AnAnswerIsLostAfterTheRequestWasCarriedOut(t *testing.T) {
	for name, fault := range map[string]error{
		"500": dynamodbtest.InternalError(), "cut": dynamodbtest.ErrDrop, "half": dynamodbtest.ErrHalfAnswer, "garbage": dynamodbtest.ErrGarbage,
	} {
		t.Run(name, func(t *testing.T) {
			srv, w := startWorld(t, nil)
			srv.SetHooks(dynamodbtest.Hooks{After: dynamodbtest.AfterAny(dynamodbtest.FailTimes(1, fault))})
			require.Error(t, w.transact(w.putNewAction(key("a", 1))))
			require.Equal(t, []string{"1"}, w.sortKeys("a"))
			require.Equal(t, []string{"ConditionalCheckFailed"}, reasons(t, w.transact(w.putNewAction(key("a", 1)))))
		})
	}
}

func TestD10_ARepeatedPutWhoseAnswerWasLostLooksRefused(t *testing.T) {
	srv, w := startWorld(t, nil)
	srv.SetHooks(dynamodbtest.Hooks{After: dynamodbtest.AfterAny(dynamodbtest.FailTimes(1, dynamodbtest.InternalError()))})
	w.client = retrying(srv.URL())
	require.Equal(t, refused, code(w.tryPutNew(key("a", 1))), "the SDK's own repetition meets what the first attempt stored")

	srv.SetHooks(dynamodbtest.Hooks{After: dynamodbtest.AfterAny(dynamodbtest.FailTimes(1, dynamodbtest.InternalError()))})
	require.NoError(t, w.transact(w.putNewAction(key("a", 2))), "a transaction carries a token")
}

func TestD10_ARequestArrivesAfterItsClientHasGivenUp(t *testing.T) {
	srv, w := startWorld(t, nil)
	release := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only("TransactWriteItems", func(held context.Context, call dynamodbtest.Call) error {
		cancel()
		return dynamodbtest.Hold(release)(held, call)
	})})
	_, err := w.client.TransactWriteItems(ctx, w.transaction(w.putNewAction(key("a", 1))))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, w.sortKeys("a"))
	close(release)
	require.Eventually(t, func() bool { return len(w.sortKeys("a")) == 1 }, patience, time.Millisecond)
}

func TestD10_ItemsOfATransactionAppearOneByOne(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(with(key("s", 1), "x", str("old")))
	var wrong []string
	looked := 0
	check := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, what)
		}
	}
	srv.SetHooks(dynamodbtest.Hooks{BetweenItems: func(_ context.Context, call dynamodbtest.Call, item int) {
		looked++
		check(call.Keys[item] == dynamodbtest.Key{Table: w.table, Partition: "s", Sort: strconv.Itoa(item)}, "key")
		check(len(w.sortKeys("log")) == 1, "the first item is visible")
		chunks := w.query(w.queryInput("s")).Items
		check(len(chunks) == 1 && (chunks[0]["x"] != nil) == (item == 1), "the second after the first step, the third not")
		batch, err := w.batchGet(key("s", 1), key("s", 2))
		check(err == nil && len(batch.Responses[w.table]) == 1, "a batch sees what a query sees")
		check(w.get(key("s", 2)) != nil && w.get(key("s", 1))["x"] == nil, "GetItem sees all of it")
		check(code(w.tryPut(key("s", item))) == "TransactionConflictException", "what is not stored is held")
		check(w.tryPut(key("log", 1)) == nil, "what is stored is not")
	}})
	require.NoError(t, w.transact(w.putAction(key("log", 1)), w.putAction(key("s", 1)), w.putAction(key("s", 2))))
	require.Empty(t, wrong)
	require.Equal(t, 2, looked)
	require.Equal(t, []string{"1", "2"}, w.sortKeys("s"))
}

func TestD10_TheOrderOfAppearanceCanBeChosen(t *testing.T) {
	srv, w := startWorld(t, nil)
	for name, order := range map[string][]int{"backward": {2, 1, 0}, "nonsense is ignored": {0, 0, 1}} {
		t.Run(name, func(t *testing.T) {
			var items []int
			srv.SetHooks(dynamodbtest.Hooks{
				Order:        func(dynamodbtest.Call) []int { return order },
				BetweenItems: func(_ context.Context, _ dynamodbtest.Call, item int) { items = append(items, item) },
			})
			require.NoError(t, w.transact(w.putAction(key("a", 1)), w.putAction(key("a", 2)), w.putAction(key("a", 3))))
			want := []int{1, 0}
			if name != "backward" {
				want = []int{1, 2}
			}
			require.Equal(t, want, items)
		})
	}
}

func TestD10_ALaterTransactionMayBeSeenBeforeAnEarlierOne(t *testing.T) {
	srv, w := startWorld(t, nil)
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv.SetHooks(dynamodbtest.Hooks{BetweenItems: func(ctx context.Context, call dynamodbtest.Call, _ int) {
		first := false
		once.Do(func() { first = true; close(reached) })
		if first {
			_ = dynamodbtest.Hold(release)(ctx, call)
		}
	}})
	done := make(chan error)
	go func() { done <- w.transact(w.putNewAction(key("log", 1)), w.putNewAction(key("s", 1))) }()
	<-reached
	require.NoError(t, w.transact(w.putNewAction(key("log", 2)), w.putNewAction(key("s", 2))))
	require.Equal(t, []string{"1", "2"}, w.sortKeys("log"))
	require.Equal(t, []string{"2"}, w.sortKeys("s"), "a hole")
	close(release)
	require.NoError(t, <-done)
	require.Equal(t, []string{"1", "2"}, w.sortKeys("s"))
}

func TestD10_ReadsWithoutConsistencyMayBeStale(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(with(key("a", 1), "x", str("old")), key("a", 3))
	release := srv.HoldReplicas()
	w.put(with(key("a", 1), "x", str("new")), with(key("a", 1), "x", str("newer")))
	require.NoError(t, w.transact(w.putAction(key("a", 2)), types.TransactWriteItem{Delete: &types.Delete{TableName: &w.table, Key: key("a", 3)}}))

	stale := w.queryInput("a")
	stale.ConsistentRead = nil
	require.Equal(t, []string{"1", "3"}, sortKeysOf(w.query(stale).Items))
	require.Equal(t, str("old"), w.getStale(key("a", 1))["x"])
	require.Nil(t, w.getStale(key("a", 2)))
	require.Equal(t, str("newer"), w.get(key("a", 1))["x"])
	require.Equal(t, []string{"1", "2"}, w.sortKeys("a"))

	release()
	require.Equal(t, []string{"1", "2"}, sortKeysOf(w.query(stale).Items))
	require.Equal(t, str("newer"), w.getStale(key("a", 1))["x"])
	require.Nil(t, w.getStale(key("a", 3)))
}

func TestD10_PartsOfABatchStayUnprocessed(t *testing.T) {
	srv, w := startWorld(t, nil)
	srv.SetHooks(dynamodbtest.Hooks{Unprocessed: func(dynamodbtest.Call) int { return 1 }})
	wrote, err := w.batchWrite(putRequest(key("a", 1)), putRequest(key("a", 2)))
	require.NoError(t, err)
	require.Len(t, wrote.UnprocessedItems[w.table], 1)
	require.Equal(t, []string{"1"}, w.sortKeys("a"))
	read, err := w.batchGet(key("a", 1), key("a", 2))
	require.NoError(t, err)
	require.Len(t, read.Responses[w.table], 1)
	require.Equal(t, []map[string]types.AttributeValue{key("a", 2)}, read.UnprocessedKeys[w.table].Keys)
}

func TestD10_ATransactionIsCancelledForTheReasonsOfAHook(t *testing.T) {
	srv, w := startWorld(t, nil)
	codes := []string{dynamodbtest.CodeNone, dynamodbtest.CodeThrottling, dynamodbtest.CodeTransactionConflict}
	srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.FailTimes(1, dynamodbtest.Canceled(codes...))})
	require.Equal(t, codes, reasons(t, w.transact(w.putAction(key("a", 1)), w.putAction(key("a", 2)), w.putAction(key("a", 3)))))
	require.Empty(t, w.sortKeys("a"))
}

func TestD10_HooksAreToldWhatIsAskedAndAnswered(t *testing.T) {
	srv, w := startWorld(t, nil)
	var calls []dynamodbtest.Call
	var answers []string
	srv.SetHooks(dynamodbtest.Hooks{
		Before: func(_ context.Context, call dynamodbtest.Call) error {
			calls = append(calls, call)
			return nil
		},
		After: func(_ context.Context, _ dynamodbtest.Call, err *dynamodbtest.Error) error {
			answer := ""
			if err != nil {
				answer = err.Type
			}
			answers = append(answers, answer)
			return nil
		},
	})
	w.put(key("a", 1))
	require.Error(t, w.tryPutNew(key("a", "1.0")))
	w.sortKeys("a")
	require.Len(t, calls, 3)
	require.Equal(t, "PutItem", calls[0].Operation)
	require.Contains(t, string(calls[0].Body), `"TableName":"events"`)
	require.Equal(t, []dynamodbtest.Key{{Table: "events", Partition: "a", Sort: "1"}}, calls[0].Keys)
	require.Equal(t, calls[0].Keys, calls[1].Keys, "numbers are plain")
	require.Equal(t, []dynamodbtest.Key{{Table: "events"}}, calls[2].Keys)
	require.Equal(t, []string{"", refused, ""}, answers)
}

func TestD10_ConnectionsAreCutAndTheServerGoesOn(t *testing.T) {
	srv, w := startWorld(t, nil)
	reached, release := make(chan struct{}), make(chan struct{})
	srv.SetHooks(dynamodbtest.Hooks{Before: func(ctx context.Context, call dynamodbtest.Call) error {
		if call.Operation != "PutItem" {
			return nil
		}
		close(reached)
		return dynamodbtest.Hold(release)(ctx, call)
	}})
	done := make(chan error)
	go func() { done <- w.tryPut(key("a", 1)) }()
	<-reached
	srv.DropConnections()
	require.Equal(t, "no answer", code(<-done))
	close(release)
	w.client = client(srv.URL())
	require.Eventually(t, func() bool { return len(w.sortKeys("a")) == 1 }, patience, time.Millisecond, "what was received is carried out")
}

func TestD10_AStopEndsHeldRequestsWithoutCarryingThemOut(t *testing.T) {
	srv, w := startWorld(t, nil)
	reached := make(chan struct{})
	srv.SetHooks(dynamodbtest.Hooks{Before: func(ctx context.Context, call dynamodbtest.Call) error {
		close(reached)
		return dynamodbtest.Hold(nil)(ctx, call)
	}})
	done := make(chan error)
	go func() { done <- w.tryPut(key("a", 1)) }()
	<-reached
	srv.Stop()
	require.Equal(t, "no answer", code(<-done))
	srv.SetHooks(dynamodbtest.Hooks{})
	require.NoError(t, srv.Restart())
	w.client = client(srv.URL())
	require.Empty(t, w.sortKeys("a"))
}

func TestD10_EachRequestTakesTheLatency(t *testing.T) {
	srv, w := startWorld(t, nil)
	const latency = 30 * time.Millisecond
	srv.SetLatency(latency)
	for name, request := range map[string]func(){
		"a put":         func() { w.put(key("a", 1)) },
		"a transaction": func() { require.NoError(t, w.transact(w.putAction(key("a", 2)))) },
	} {
		started := time.Now()
		request()
		require.GreaterOrEqual(t, time.Since(started), latency, name)
	}
}

func TestUsageCountsWhatClientsAreNotTold(t *testing.T) {
	srv, w := startWorld(t, nil)
	w.put(ofSize(key("a", 1), 3000))
	srv.ResetUsage()
	require.Equal(t, refused, code(w.tryPutNew(key("a", 1))))
	requireUnits(t, 3, srv.Usage().WriteUnits, "a refused write is billed by the item that is there")
	require.Equal(t, cancelled, code(w.transact(w.putNewAction(key("a", 1)), w.putNewAction(key("a", 2)))))
	usage := srv.Usage()
	requireUnits(t, 3, usage.WriteUnits)
	require.EqualValues(t, 1, usage.CanceledTransactions)
	requireUnits(t, 2*3+2, usage.CanceledUnits)
	srv.SetHooks(dynamodbtest.Hooks{After: dynamodbtest.AfterAny(dynamodbtest.FailTimes(1, dynamodbtest.ErrDrop))})
	require.Error(t, w.tryPut(key("b", 1)))
	w.get(key("a", 1))
	usage = srv.Usage()
	requireUnits(t, 4, usage.WriteUnits, "the answer was lost, the write was not")
	requireUnits(t, 1, usage.ReadUnits)
	require.Equal(t, map[string]int64{"PutItem": 2, "TransactWriteItems": 1, "GetItem": 1}, usage.Requests)
	require.EqualValues(t, 4, usage.Total())
}

func TestATableIsShownAsTheTestWantsIt(t *testing.T) {
	srv, w := startWorld(t, nil)
	restored := time.Unix(1_700_000_000, 0).UTC()
	srv.SetTableState("events", dynamodbtest.TableState{
		Replicas: []string{"eu-west-1"}, MultiRegionConsistency: "STRONG", LocalIndexes: []string{"l"}, GlobalIndexes: []string{"g"}, RestoredAt: restored,
	})
	srv.SetTableState("nowhere", dynamodbtest.TableState{})
	out, err := w.client.DescribeTable(w.ctx, &dynamodb.DescribeTableInput{TableName: &w.table})
	require.NoError(t, err)
	require.Equal(t, "eu-west-1", *out.Table.Replicas[0].RegionName)
	require.Equal(t, types.MultiRegionConsistencyStrong, out.Table.MultiRegionConsistency)
	require.Equal(t, "l", *out.Table.LocalSecondaryIndexes[0].IndexName)
	require.Equal(t, "g", *out.Table.GlobalSecondaryIndexes[0].IndexName)
	require.Equal(t, restored, *out.Table.RestoreSummary.RestoreDateTime)
	w.put(key("a", 1))

	srv.SetTableState("events", dynamodbtest.TableState{Status: "UPDATING"})
	w.put(key("a", 1))
	srv.SetTableState("events", dynamodbtest.TableState{Status: "DELETING"})
	require.Equal(t, "ResourceNotFoundException", code(w.tryPut(key("a", 1))))
	out, err = w.client.DescribeTable(w.ctx, &dynamodb.DescribeTableInput{TableName: &w.table})
	require.NoError(t, err)
	require.Equal(t, types.TableStatusDeleting, out.Table.TableStatus)
}

func TestANewTableIsCreatingForAWhile(t *testing.T) {
	var clock atomic.Int64
	srv := start(t, &dynamodbtest.Options{Now: func() time.Time { return time.Unix(clock.Load(), 0) }, TableDelay: 5 * time.Second})
	w := world{t: t, ctx: t.Context(), client: client(srv.URL()), table: "events"}
	require.NoError(t, createTable(w.ctx, w.client, w.table))
	require.Equal(t, "ResourceNotFoundException", code(w.tryPut(key("a", 1))))
	_, err := w.client.DeleteTable(w.ctx, &dynamodb.DeleteTableInput{TableName: &w.table})
	require.Equal(t, "ResourceInUseException", code(err))
	clock.Store(5)
	w.put(key("a", 1))
}

func TestWhatTheDoubleDoesNotKnowIsRefused(t *testing.T) {
	_, w := startWorld(t, nil)
	_, typ, answer := w.exchange(signed("GetItem"), `{"TableName":"events","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"AttributesToGet":["x"]}`)
	require.Equal(t, "com.amazon.coral.validate#ValidationException", typ)
	require.Contains(t, answer["message"], "the double does not know")
	require.Contains(t, answer["message"], "AttributesToGet")
}

func TestTheDoubleSaysThatItIsHealthy(t *testing.T) {
	srv := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL(), http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), "healthy: ")
}

func TestStartRefusesAnAddressItCannotHave(t *testing.T) {
	srv := start(t, nil)
	for _, address := range []string{srv.Address(), "nowhere"} {
		_, err := dynamodbtest.Start(&dynamodbtest.Options{Address: address})
		require.ErrorContains(t, err, "dynamodbtest: ")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", srv.Address())
	require.NoError(t, err, "the first one goes on")
	require.NoError(t, conn.Close())
}
