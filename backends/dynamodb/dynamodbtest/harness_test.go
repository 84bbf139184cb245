package dynamodbtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
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

// client makes a client that sends each request once.
func client(url string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:           "us-east-1",
		BaseEndpoint:     aws.String(url),
		RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
}

const table = "events"

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

// withTable starts a double that has the table.
func withTable(t testing.TB, opts *dynamodbtest.Options) (*dynamodbtest.Server, *dynamodb.Client) {
	t.Helper()
	srv := start(t, opts)
	c := client(srv.URL())
	require.NoError(t, createTable(t.Context(), c, table))
	return srv, c
}

type attributes = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(n any) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}
func bin(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func key(pk string, sk any) attributes { return attributes{"pk": str(pk), "sk": num(sk)} }

// with adds attributes to a copy: with(key("a", 1), "n", num(2)).
func with(base attributes, more ...any) attributes {
	out := attributes{}
	for name, v := range base {
		out[name] = v
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1].(types.AttributeValue)
	}
	return out
}

func put(it attributes) *dynamodb.PutItemInput {
	return &dynamodb.PutItemInput{TableName: aws.String(table), Item: it}
}

// putNew is refused where the item exists.
func putNew(it attributes) *dynamodb.PutItemInput {
	in := put(it)
	in.ConditionExpression = aws.String("attribute_not_exists(pk)")
	return in
}

func transactPut(it attributes) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: aws.String(table), Item: it}}
}

func transactPutNew(it attributes) types.TransactWriteItem {
	w := transactPut(it)
	w.Put.ConditionExpression = aws.String("attribute_not_exists(pk)")
	w.Put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	return w
}

func transact(items ...types.TransactWriteItem) *dynamodb.TransactWriteItemsInput {
	return &dynamodb.TransactWriteItemsInput{TransactItems: items, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal}
}

func get(ctx context.Context, c *dynamodb.Client, k attributes) (attributes, error) {
	out, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(table), Key: k, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// queryInput asks for a partition, consistently.
func queryInput(pk string) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName:                 aws.String(table),
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :p"),
		ExpressionAttributeValues: attributes{":p": str(pk)},
		ReturnConsumedCapacity:    types.ReturnConsumedCapacityTotal,
	}
}

// sortKeys of the items of a partition.
func sortKeys(ctx context.Context, c *dynamodb.Client, pk string) ([]string, error) {
	out, err := c.Query(ctx, queryInput(pk))
	if err != nil {
		return nil, err
	}
	return sortKeysOf(out.Items), nil
}

func sortKeysOf(items []attributes) []string {
	keys := []string{}
	for _, it := range items {
		keys = append(keys, it["sk"].(*types.AttributeValueMemberN).Value)
	}
	return keys
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
