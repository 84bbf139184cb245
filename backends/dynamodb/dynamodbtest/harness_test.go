package dynamodbtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
)

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	if left := lingering(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines of the double outlive the tests:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// lingering waits for the double's goroutines to end and returns those which do
// not.
func lingering() string {
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		var left []string
		for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "dynamodbtest.(*") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

func start(t testing.TB, opts *dynamodbtest.Options) *dynamodbtest.Server {
	t.Helper()
	srv, err := dynamodbtest.Start(opts)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	return srv
}

// steady keeps connections from being closed under an answer that is still being
// read. The SDK closes a request's body once the head of the answer is there; if
// net/http has not yet looked for the body's end by then, the body's WriteTo
// reports io.EOF as an error, and net/http gives the connection up. Without
// WriteTo the end is the end. Seen as "use of closed network connection", which
// the SDK repeats unless it is told not to (aws/aws-sdk-go-v2#2737).
type steady struct{ next dynamodb.HTTPClient }

// Do implements dynamodb.HTTPClient.
func (s steady) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body = struct{ io.ReadCloser }{req.Body}
	}
	return s.next.Do(req)
}

// client makes a client that sends each request once.
func client(url string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:           "us-east-1",
		BaseEndpoint:     aws.String(url),
		RetryMaxAttempts: 1,
		HTTPClient:       steady{awshttp.NewBuildableClient()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
}

func createTable(ctx context.Context, c *dynamodb.Client, name string) error {
	_, err := c.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	return err
}

// world is a server with a table, and who is told what is wrong with it: a test,
// or a recorder where a difference is expected.
type world struct {
	t      require.TestingT
	ctx    context.Context //nolint:containedctx // lives as long as the test
	url    string
	client *dynamodb.Client
	table  string
}

// startWorld starts a double that has the table.
func startWorld(t testing.TB, opts *dynamodbtest.Options) (*dynamodbtest.Server, world) {
	t.Helper()
	srv := start(t, opts)
	w := world{t: t, ctx: t.Context(), url: srv.URL(), client: client(srv.URL()), table: "events"}
	require.NoError(t, createTable(w.ctx, w.client, w.table))
	return srv, w
}

type attributes = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n any) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}
func bin(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func list(vs ...types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberL{Value: append([]types.AttributeValue{}, vs...)}
}
func object(m attributes) types.AttributeValue { return &types.AttributeValueMemberM{Value: m} }
func strs(s ...string) types.AttributeValue    { return &types.AttributeValueMemberSS{Value: s} }
func nums(s ...string) types.AttributeValue    { return &types.AttributeValueMemberNS{Value: s} }
func boolean(b bool) types.AttributeValue      { return &types.AttributeValueMemberBOOL{Value: b} }
func null() types.AttributeValue               { return &types.AttributeValueMemberNULL{Value: true} }
func filler(n int) types.AttributeValue        { return str(strings.Repeat("x", n)) }
func key(pk string, sk any) attributes         { return attributes{"pk": str(pk), "sk": num(sk)} }
func total() types.ReturnConsumedCapacity      { return types.ReturnConsumedCapacityTotal }

// with adds attributes to a copy: with(key("a", 1), "n", num(2)).
func with(base attributes, more ...any) attributes {
	out := maps.Clone(base)
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1].(types.AttributeValue)
	}
	return out
}

// ofSize pads an item to that many bytes.
func ofSize(base attributes, size int) attributes {
	const name = "filling"
	used := len(name)
	for n, v := range base {
		used += len(n)
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			used += len(v.Value)
		case *types.AttributeValueMemberN:
			used += 1 + (len(v.Value)+1)/2
		}
	}
	return with(base, name, filler(size-used))
}

func (w world) putInput(it attributes) *dynamodb.PutItemInput {
	return &dynamodb.PutItemInput{TableName: &w.table, Item: it, ReturnConsumedCapacity: total()}
}

func (w world) tryPut(it attributes) error {
	_, err := w.client.PutItem(w.ctx, w.putInput(it))
	return err
}

func (w world) put(items ...attributes) {
	for _, it := range items {
		require.NoError(w.t, w.tryPut(it))
	}
}

// tryPutNew is refused where the item exists.
func (w world) tryPutNew(it attributes) error {
	in := w.putInput(it)
	in.ConditionExpression = aws.String("attribute_not_exists(pk)")
	_, err := w.client.PutItem(w.ctx, in)
	return err
}

func (w world) get(k attributes) attributes {
	out, err := w.client.GetItem(w.ctx, &dynamodb.GetItemInput{TableName: &w.table, Key: k, ConsistentRead: aws.Bool(true)})
	require.NoError(w.t, err)
	return out.Item
}

// getStale reads without asking for consistency.
func (w world) getStale(k attributes) attributes {
	out, err := w.client.GetItem(w.ctx, &dynamodb.GetItemInput{TableName: &w.table, Key: k})
	require.NoError(w.t, err)
	return out.Item
}

func (w world) putAction(it attributes) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &w.table, Item: it}}
}

// putNewAction is refused where the item exists, and shows it.
func (w world) putNewAction(it attributes) types.TransactWriteItem {
	a := w.putAction(it)
	a.Put.ConditionExpression = aws.String("attribute_not_exists(pk)")
	a.Put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	return a
}

func (w world) transaction(items ...types.TransactWriteItem) *dynamodb.TransactWriteItemsInput {
	return &dynamodb.TransactWriteItemsInput{TransactItems: append([]types.TransactWriteItem{}, items...), ReturnConsumedCapacity: total()}
}

func (w world) transact(items ...types.TransactWriteItem) error {
	_, err := w.client.TransactWriteItems(w.ctx, w.transaction(items...))
	return err
}

// queryInput asks for a partition, consistently.
func (w world) queryInput(pk string) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName:                 &w.table,
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :p"),
		ExpressionAttributeValues: attributes{":p": str(pk)},
		ReturnConsumedCapacity:    total(),
	}
}

func (w world) query(in *dynamodb.QueryInput) *dynamodb.QueryOutput {
	out, err := w.client.Query(w.ctx, in)
	require.NoError(w.t, err)
	return out
}

// sortKeys of the items of a partition.
func (w world) sortKeys(pk string) []string { return sortKeysOf(w.query(w.queryInput(pk)).Items) }

func sortKeysOf(items []attributes) []string {
	keys := []string{}
	for _, it := range items {
		keys = append(keys, it["sk"].(*types.AttributeValueMemberN).Value)
	}
	return keys
}

// requireUnits compares capacity units, which are halves at the least.
func requireUnits(t require.TestingT, want, got float64, args ...any) {
	require.InDelta(t, want, got, 0.01, args...)
}

// code is the error code that the service gave, "" for none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return "no answer"
	}
	return ""
}

// reasons are the codes of a cancelled transaction.
func reasons(t require.TestingT, err error) []string {
	var canceled *types.TransactionCanceledException
	require.ErrorAs(t, err, &canceled)
	var codes []string
	for _, r := range canceled.CancellationReasons {
		codes = append(codes, aws.ToString(r.Code))
	}
	return codes
}
