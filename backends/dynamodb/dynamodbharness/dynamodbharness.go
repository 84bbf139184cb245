// Package dynamodbharness prepares DynamoDB stores for conformance runs, benchmarks
// and tests, on the service, an emulator or the double. It is linked by those alone.
// The double is package dynamodbtest.
package dynamodbharness

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// pollInterval is that of the handles that are to be found polling: short, because
// checks wait for it.
const pollInterval = 20 * time.Millisecond

// Isolate prepares a store in a new namespace of the URL's table. Removing it scans
// the table for its items, so the table should be one for tests.
func Isolate(_ context.Context, u *url.URL) (*conformance.Isolated, error) {
	namespace := "switchyard-test-" + uuid.NewString()
	fresh := urlparam.With(u, map[string]string{"namespace": namespace})
	values := fresh.Query()
	if values.Get("create") == "off" {
		values.Del("create")
		fresh.RawQuery = values.Encode()
	}
	return &conformance.Isolated{
		URL:  fresh.String(),
		Open: conformance.Opener(dynamodb.Scheme().Open, fresh),
		// There is no notification between handles that could be turned off: a handle
		// hears of its own appends alone.
		OpenPolling:      conformance.Opener(dynamodb.Scheme().Open, urlparam.With(&fresh, map[string]string{"poll_interval": pollInterval.String()})),
		HoldWriterReason: "an append has its place in the order only with the item of the log, which is one write",
		Remove:           func(ctx context.Context) error { return remove(ctx, &fresh, namespace) },
	}, nil
}

// mostDeleted is how many items a BatchWriteItem deletes at most.
const mostDeleted = 25

// remove deletes a namespace's items.
func remove(ctx context.Context, u *url.URL, namespace string) error {
	api, table, _, err := dynamodb.Client(ctx, u)
	if err != nil {
		return err
	}
	scan := &sdk.ScanInput{
		TableName: &table, ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("pk, sk"),
		FilterExpression:          aws.String("begins_with(pk, :p)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":p": &types.AttributeValueMemberS{Value: namespace + "/"}},
	}
	for {
		out, err := api.Scan(ctx, scan)
		if err != nil {
			return fmt.Errorf("find the items of namespace %q: %w", namespace, err)
		}
		for items := out.Items; len(items) > 0; {
			n := min(mostDeleted, len(items))
			if err := deleteItems(ctx, api, table, items[:n]); err != nil {
				return fmt.Errorf("remove the items of namespace %q: %w", namespace, err)
			}
			items = items[n:]
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		scan.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

func deleteItems(ctx context.Context, api *sdk.Client, table string, items []map[string]types.AttributeValue) error {
	requests := make([]types.WriteRequest, len(items))
	for i, key := range items {
		requests[i].DeleteRequest = &types.DeleteRequest{Key: key}
	}
	for len(requests) > 0 {
		out, err := api.BatchWriteItem(ctx, &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: requests}})
		if err != nil {
			return err
		}
		requests = out.UnprocessedItems[table]
	}
	return nil
}

// TableURL is the URL of a table at an endpoint on this machine, which is made where
// it is not there.
func TableURL(endpoint, table string) string {
	u := url.URL{Scheme: "dynamodb", Host: "local", Path: "/" + strings.TrimPrefix(table, "/")}
	u.RawQuery = url.Values{"endpoint": {endpoint}, "create": {"1"}}.Encode()
	return u.String()
}
