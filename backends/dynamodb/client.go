package dynamodb

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Usage is what one request consumed. Requests that failed report no units, also
// where the service bills them: it does not say.
type Usage struct {
	// Operation is DynamoDB's name, such as "TransactWriteItems".
	Operation string
	// ReadUnits and WriteUnits are capacity units, halves included.
	ReadUnits, WriteUnits float64
	// Failed is true where the request had no answer, or one that refused it.
	Failed bool
}

// client sends requests about one table and counts them.
type client struct {
	api   *sdk.Client
	table string
	count func(Usage) // may be nil
}

// steady keeps connections from being closed under an answer that is still being
// read. The SDK closes a request's body once the head of the answer is there; if
// net/http has not yet looked for the body's end by then, the body's WriteTo
// reports io.EOF as an error, and net/http gives the connection up
// (aws/aws-sdk-go-v2#2737). An append whose answer is lost so costs a repetition,
// or an unknown outcome. Without WriteTo the end is the end.
type steady struct{ next sdk.HTTPClient }

// Do implements the SDK's HTTPClient.
func (s steady) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = struct{ io.ReadCloser }{req.Body}
	}
	return s.next.Do(req)
}

// sender notes whether a request got as far as the network.
type sender struct {
	next sdk.HTTPClient
	sent atomic.Bool
}

// Do implements the SDK's HTTPClient.
func (s *sender) Do(req *http.Request) (*http.Response, error) {
	s.sent.Store(true)
	return s.next.Do(req)
}

// kept is for requests that may be repeated: the SDK does so, as it is configured.
func kept(o *sdk.Options) {
	if _, ok := o.HTTPClient.(steady); !ok && o.HTTPClient != nil {
		o.HTTPClient = steady{o.HTTPClient}
	}
}

// once is for requests that the SDK must not repeat by itself, because a
// repetition that is refused says nothing about the request before it.
func once(o *sdk.Options) {
	kept(o)
	o.Retryer = aws.NopRetryer{}
	o.RetryMaxAttempts = 1
}

func (c *client) counted(operation string, err error, capacity ...types.ConsumedCapacity) {
	if c.count == nil {
		return
	}
	usage := Usage{Operation: operation, Failed: err != nil}
	for _, used := range capacity {
		total, read, write := aws.ToFloat64(used.CapacityUnits), aws.ToFloat64(used.ReadCapacityUnits), aws.ToFloat64(used.WriteCapacityUnits)
		switch operation {
		case opTransact:
			if read+write == 0 {
				write = total
			}
		case opGet, opBatchGet, opQuery, opScan:
			read, write = total, 0
		default:
			read, write = 0, total
		}
		usage.ReadUnits += read
		usage.WriteUnits += write
	}
	c.count(usage)
}

func (c *client) countedOne(operation string, capacity *types.ConsumedCapacity) {
	if capacity == nil {
		c.counted(operation, nil)
		return
	}
	c.counted(operation, nil, *capacity)
}

// The operations by DynamoDB's names.
const (
	opTransact = "TransactWriteItems"
	opGet      = "GetItem"
	opBatchGet = "BatchGetItem"
	opQuery    = "Query"
	opScan     = "Scan"
	opPut      = "PutItem"
	opUpdate   = "UpdateItem"
	opDelete   = "DeleteItem"
	opDescribe = "DescribeTable"
	opCreate   = "CreateTable"
)

// transact sends a transaction once.
func (c *client) transact(ctx context.Context, in *sdk.TransactWriteItemsInput) error {
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	sent := &sender{}
	out, err := c.api.TransactWriteItems(ctx, in, once, func(o *sdk.Options) {
		sent.next, o.HTTPClient = o.HTTPClient, sent
	})
	if err != nil {
		c.counted(opTransact, err)
		if !sent.sent.Load() {
			return &unsentError{err}
		}
		return err
	}
	c.counted(opTransact, nil, out.ConsumedCapacity...)
	return nil
}

// get reads an item; nil where there is none. It sees all of a transaction or
// nothing.
func (c *client) get(ctx context.Context, key item) (item, error) {
	out, err := c.api.GetItem(ctx, &sdk.GetItemInput{
		TableName: &c.table, Key: key, ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}, kept)
	if err != nil {
		c.counted(opGet, err)
		return nil, mapped(ctx, opGet, c.table, err)
	}
	c.countedOne(opGet, out.ConsumedCapacity)
	return out.Item, nil
}

// span is a range of the items of a partition; both ends are inclusive.
type span struct {
	partition string
	low, high uint64
	backward  bool
	limit     int // items; 0 is none
}

// mostSort is the largest sort key that is looked for.
const mostSort = 1<<63 - 1

// query reads a page of a span. more is true where the page ended before the span.
func (c *client) query(ctx context.Context, s span) (items []item, more bool, err error) {
	if s.low > s.high {
		return nil, false, nil
	}
	in := &sdk.QueryInput{
		TableName: &c.table, ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		KeyConditionExpression:    aws.String("pk = :p AND sk BETWEEN :low AND :high"),
		ExpressionAttributeValues: item{":p": text(s.partition), ":low": number(s.low), ":high": number(s.high)},
		ScanIndexForward:          aws.Bool(!s.backward),
	}
	if s.limit > 0 {
		in.Limit = aws.Int32(int32(min(s.limit, 1<<30)))
	}
	out, err := c.api.Query(ctx, in, kept)
	if err != nil {
		c.counted(opQuery, err)
		return nil, false, mapped(ctx, opQuery, c.table, err)
	}
	c.countedOne(opQuery, out.ConsumedCapacity)
	return out.Items, len(out.LastEvaluatedKey) > 0, nil
}

// Limits of a BatchGetItem.
const mostBatch = 100

// batchGet reads up to mostBatch items, in any order; those that are not there are
// left out. Like a query it may see a part of a transaction.
func (c *client) batchGet(ctx context.Context, wanted []item) ([]item, error) {
	var got []item
	pause := firstPause
	for len(wanted) > 0 {
		out, err := c.api.BatchGetItem(ctx, &sdk.BatchGetItemInput{
			RequestItems:           map[string]types.KeysAndAttributes{c.table: {Keys: wanted, ConsistentRead: aws.Bool(true)}},
			ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		}, kept)
		if err != nil {
			c.counted(opBatchGet, err)
			return nil, mapped(ctx, opBatchGet, c.table, err)
		}
		c.counted(opBatchGet, nil, out.ConsumedCapacity...)
		got = append(got, out.Responses[c.table]...)
		before := len(wanted)
		wanted = out.UnprocessedKeys[c.table].Keys
		if len(wanted) == before {
			if err := sleep.For(ctx, pause); err != nil {
				return nil, err
			}
			pause = min(2*pause, time.Second)
		}
	}
	return got, nil
}

// update changes an item under a condition. Where that is refused ok is false, and
// was is the item that stands there; nil where there is none.
func (c *client) update(ctx context.Context, in *sdk.UpdateItemInput) (was item, ok bool, err error) {
	in.TableName = &c.table
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	out, err := c.api.UpdateItem(ctx, in, kept)
	if err != nil {
		c.counted(opUpdate, err)
		if refused := refusedCondition(err); refused != nil {
			return refused.Item, false, nil //nolint:nilerr // it is an answer
		}
		return nil, false, mapped(ctx, opUpdate, c.table, err)
	}
	c.countedOne(opUpdate, out.ConsumedCapacity)
	return nil, true, nil
}

// put stores an item under a condition, and tells whether it held.
func (c *client) put(ctx context.Context, in *sdk.PutItemInput) (ok bool, err error) {
	in.TableName = &c.table
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	out, err := c.api.PutItem(ctx, in, kept)
	if err != nil {
		c.counted(opPut, err)
		if refusedCondition(err) != nil {
			return false, nil //nolint:nilerr // it is an answer
		}
		return false, mapped(ctx, opPut, c.table, err)
	}
	c.countedOne(opPut, out.ConsumedCapacity)
	return true, nil
}

func (c *client) delete(ctx context.Context, key item) error {
	out, err := c.api.DeleteItem(ctx, &sdk.DeleteItemInput{
		TableName: &c.table, Key: key, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}, kept)
	if err != nil {
		c.counted(opDelete, err)
		return mapped(ctx, opDelete, c.table, err)
	}
	c.countedOne(opDelete, out.ConsumedCapacity)
	return nil
}

// firstPause is before the first repetition of what was not there yet, or not
// possible; the next ones double it.
const firstPause = 5 * time.Millisecond
