package dynamodbtest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
)

func Example() {
	srv, err := dynamodbtest.Start(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Stop()

	ctx := context.Background()
	c := exampleClient(srv.URL())
	if err := createTable(ctx, c, "orders"); err != nil {
		fmt.Println(err)
		return
	}
	out, err := c.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String("orders"),
		Item: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "order-1"},
			"sk": &types.AttributeValueMemberN{Value: "1"},
		},
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("write units:", *out.ConsumedCapacity.CapacityUnits)
	// Output: write units: 1
}

// A conditional put whose answer is lost: the SDK repeats it by itself, meets
// what its first attempt has stored, and reports that the condition failed.
func ExampleServer_SetHooks() {
	srv, err := dynamodbtest.Start(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Stop()

	ctx := context.Background()
	c := exampleClient(srv.URL())
	if err := createTable(ctx, c, "orders"); err != nil {
		fmt.Println(err)
		return
	}
	lost := dynamodbtest.FailTimes(1, dynamodbtest.ErrDrop)
	srv.SetHooks(dynamodbtest.Hooks{After: dynamodbtest.AfterAny(lost)})

	_, err = c.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:           aws.String("orders"),
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
		Item: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "order-1"},
			"sk": &types.AttributeValueMemberN{Value: "1"},
		},
	})
	var refused *types.ConditionalCheckFailedException
	fmt.Println("refused:", errors.As(err, &refused))
	fmt.Println("repeated:", srv.Usage().Requests["PutItem"] > 1)
	// Output:
	// refused: true
	// repeated: true
}

// exampleClient makes a client with the SDK's usual retries.
func exampleClient(url string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(url),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil
		}),
	})
}
