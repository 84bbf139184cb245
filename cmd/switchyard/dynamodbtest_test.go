package main

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

func TestTheDoubleOfDynamoDBIsServedToClients(t *testing.T) {
	url, end := serveDouble(t, "dynamodbtest", "--latency", "20ms")
	require.Regexp(t, `^http://127\.0\.0\.1:\d+$`, url)
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: &url,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil
		}),
	})
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("events"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	require.NoError(t, err)
	item := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "a"}}
	started := time.Now()
	_, err = client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("events"), Item: item})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(started), 20*time.Millisecond)
	got, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("events"), Key: item})
	require.NoError(t, err)
	require.Equal(t, item, got.Item)
	require.NoError(t, end(), "an interrupt is how it ends")

	wrong := call(t, "", "dynamodbtest", "--listen", "nonsense")
	require.Equal(t, exitFailed, wrong.code)
	require.Contains(t, wrong.err, "nonsense")
	require.Equal(t, exitUsage, call(t, "", "dynamodbtest", "--latency", "-1s").code)
}
