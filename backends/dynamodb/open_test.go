package dynamodb_test

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestABadURLIsRefusedWithoutIO(t *testing.T) {
	for raw, says := range map[string]string{
		"dynamodb:orders":                                            "write dynamodb://REGION/TABLE",
		"dynamodb://eu-central-1":                                    "names no table",
		"dynamodb://eu-central-1/a":                                  "3 to 255 letters",
		"dynamodb://eu-central-1/orders/x":                           "3 to 255 letters",
		"dynamodb://db.example.com/orders":                           "is not a region",
		"dynamodb://AKIA:s3cr3t@eu-central-1/orders":                 "credentials come from the environment",
		"dynamodb://eu-central-1/orders?tables=x":                    `unknown parameter "tables"; known are create, durability, endpoint`,
		"dynamodb://eu-central-1/orders?create=yes":                  "neither 1",
		"dynamodb://eu-central-1/orders?create=1&create=1":           "occurs 2 times",
		"dynamodb://eu-central-1/orders?namespace=A":                 "lower-case letters",
		"dynamodb://eu-central-1/orders?idempotency_window=64":       "is not between 128",
		"dynamodb://eu-central-1/orders?poll_interval=0s":            "positive duration",
		"dynamodb://eu-central-1/orders?durability=disk":             "is not none, process-crash or power-loss",
		"dynamodb://eu-central-1/orders?global=yes":                  "is not one-region",
		"dynamodb://eu-central-1/orders?endpoint=http://db:8000":     "only for this machine",
		"dynamodb://eu-central-1/orders?endpoint=https://u:s3cr3t@x": "more than a host",
	} {
		t.Run(raw, func(t *testing.T) {
			u, err := url.Parse(raw)
			require.NoError(t, err)
			_, err = dynamodb.OpenURL(t.Context(), u)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, says)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}

func TestAMissingTableSaysHowToMakeIt(t *testing.T) {
	w := newWorld(t, nil)
	_, err := dynamodb.Open(t.Context(), w.client(nil), "events", nil)
	require.ErrorContains(t, err, `there is no table "events" in region "local"`)
	require.ErrorContains(t, err, "aws dynamodb create-table --region local --table-name events")
	require.ErrorContains(t, err, "--deletion-protection-enabled")
	require.ErrorContains(t, err, "PointInTimeRecoveryEnabled: true")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)

	_, err = dynamodb.Open(t.Context(), w.client(nil), "events", &dynamodb.Options{CreateTable: true})
	require.NoError(t, err)
	_, err = dynamodb.Open(t.Context(), w.client(nil), "events", &dynamodb.Options{NoCreate: true, Namespace: "other"})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "holds no store")
	_, err = dynamodb.Open(t.Context(), w.client(nil), "events", &dynamodb.Options{NoCreate: true})
	require.NoError(t, err)
}

func TestATableThatIsBeingMadeIsWaitedFor(t *testing.T) {
	w := newWorld(t, &dynamodbtest.Options{TableDelay: 300 * time.Millisecond})
	_, err := w.store().Append(t.Context(), "order-1", eventstore.NoStream(), event())
	require.NoError(t, err)
}

func TestTablesThatCannotHoldAStoreAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.store()
	api := w.client(nil)
	for says, state := range map[string]dynamodbtest.TableState{
		"a local secondary index":                   {LocalIndexes: []string{"by-type"}},
		"a global table: transactions do not reach": {Replicas: []string{"us-east-1", "eu-west-1"}, MultiRegionConsistency: "EVENTUAL"},
		"a global table with strong consistency":    {Replicas: []string{"us-east-1", "us-east-2"}, MultiRegionConsistency: "STRONG"},
	} {
		w.srv.SetTableState("events", state)
		_, err := dynamodb.Open(t.Context(), api, "events", nil)
		require.ErrorContains(t, err, says)
		_, err = dynamodb.Open(t.Context(), api, "events", &dynamodb.Options{OneRegion: true})
		require.Equal(t, state.MultiRegionConsistency == "EVENTUAL", err == nil)
	}
	w.srv.SetTableState("events", dynamodbtest.TableState{})
	_, err := api.CreateTable(t.Context(), &sdk.CreateTableInput{
		TableName: aws.String("other"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	require.NoError(t, err)
	_, err = dynamodb.Open(t.Context(), api, "other", nil)
	require.Error(t, err)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}

func TestRightsThatAreMissing(t *testing.T) {
	w := newWorld(t, nil)
	w.store()
	api := w.client(nil)
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only("DescribeTable", func(context.Context, dynamodbtest.Call) error {
		return dynamodbtest.AccessDenied("dynamodb:DescribeTable")
	})})
	b, err := dynamodb.Open(t.Context(), api, "events", nil)
	require.NoError(t, err, "a description is not needed")
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only("DescribeTable", func(context.Context, dynamodbtest.Call) error {
		return dynamodbtest.Throttled()
	})})
	throttled, err := dynamodb.Open(t.Context(), api, "events", nil)
	require.NoError(t, err, "nor when many ask for it at once")
	require.NoError(t, throttled.Close())
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only("PutItem", func(context.Context, dynamodbtest.Call) error {
		return dynamodbtest.AccessDenied("dynamodb:PutItem")
	})})
	_, err = dynamodb.Open(t.Context(), api, "events", &dynamodb.Options{Namespace: "new"})
	require.ErrorContains(t, err, "open it once with the right to write")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, func(context.Context, dynamodbtest.Call) error {
		return dynamodbtest.AccessDenied("dynamodb:PutItem")
	})})
	_, err = b.Append(t.Context(), part("order-1", eventstore.NoStream(), event()))
	require.ErrorContains(t, err, `need the right dynamodb:PutItem on table "events"`)
	for _, sentinel := range []error{eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome} {
		require.NotErrorIs(t, err, sentinel)
	}
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only("Query", func(context.Context, dynamodbtest.Call) error {
		return dynamodbtest.AccessDenied("dynamodb:Query")
	})})
	_, err = b.ReadStream(t.Context(), eventstore.ReadStreamRequest{Stream: "order-1", PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	require.ErrorContains(t, err, "need the right dynamodb:Query")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	require.NoError(t, b.Close())
}

func TestAServerThatIsGoneIsUnavailableAndNothingWasSent(t *testing.T) {
	w := newWorld(t, nil)
	b := w.backend(nil, nil)
	w.srv.Stop()
	_, err := b.Append(t.Context(), part("order-1", eventstore.Any(), event()))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, "no connection was had")
	_, err = b.Info(t.Context())
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
}

func TestWhoOpensSecondHasTheIdentityOfTheFirst(t *testing.T) {
	w := newWorld(t, nil)
	w.backend(&dynamodb.Options{Namespace: "other"}, nil) // makes the table
	var asked atomic.Bool
	var first *dynamodb.Backend
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only("PutItem", func(context.Context, dynamodbtest.Call) error {
		if !asked.Swap(true) {
			first = w.backend(nil, nil)
		}
		return nil
	})})
	second := w.backend(nil, nil)
	require.Equal(t, first.ID(), second.ID())
}

func TestAStoreThatIsReplacedUnderAHandleIsNoticed(t *testing.T) {
	w := newWorld(t, nil)
	b, api := w.backend(nil, nil), w.client(nil)
	key := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "/store"}, "sk": &types.AttributeValueMemberN{Value: "0"}}
	stored, err := api.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("events"), Key: key})
	require.NoError(t, err)
	another := uuid.New()
	stored.Item["id"] = &types.AttributeValueMemberS{Value: another.String()}
	_, err = api.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String("events"), Item: stored.Item})
	require.NoError(t, err)
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, another, info.ID)
	_, err = api.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String("events"), Key: key})
	require.NoError(t, err)
	_, err = b.Info(t.Context())
	require.ErrorContains(t, err, "holds no store any more")
}

func TestAChunkOfAnotherEventThanTheLogRefersToIsDamage(t *testing.T) {
	w := newWorld(t, nil)
	b, api := w.backend(nil, nil), w.client(nil)
	large := event()
	large.Data = make([]byte, 4<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large.Data) // it does not deflate, so that the chunk is plain
	_, err := b.Append(t.Context(), part("order-1", eventstore.NoStream(), large))
	require.NoError(t, err)
	key := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "/s/order-1"}, "sk": &types.AttributeValueMemberN{Value: "1"}}
	stored, err := api.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("events"), Key: key})
	require.NoError(t, err)
	events, ok := stored.Item["e"].(*types.AttributeValueMemberL)
	require.True(t, ok)
	first, ok := events.Value[0].(*types.AttributeValueMemberM)
	require.True(t, ok)
	another := uuid.New()
	first.Value["i"] = &types.AttributeValueMemberB{Value: another[:]}
	_, err = api.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String("events"), Item: stored.Item})
	require.NoError(t, err)
	_, err = w.backend(nil, nil).ReadAll(t.Context(), eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}})
	require.ErrorContains(t, err, "holds other events than the log says")
}

func TestStoresInOneTableDoNotSeeEachOther(t *testing.T) {
	w := newWorld(t, nil)
	for _, namespace := range []string{"", "a", "b", "a-b"} {
		store := storeOf(t, w.backend(&dynamodb.Options{Namespace: namespace}, nil))
		_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event())
		require.NoError(t, err, namespace)
		n := 0
		for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 1, n)
	}
}

func TestTheTextsForOperatorsNameWhatTheyAreAbout(t *testing.T) {
	u, err := url.Parse("dynamodb://eu-central-1/orders?namespace=shop")
	require.NoError(t, err)
	text, err := dynamodb.Setup(u)
	require.NoError(t, err)
	for _, part := range []string{
		"--region eu-central-1 --table-name orders", "TableName: orders", "DeletionProtectionEnabled: true",
		`"dynamodb:LeadingKeys": [`, `"shop/*"`, "arn:aws:dynamodb:*:*:table/orders", `"dynamodb:UpdateItem"`,
	} {
		require.Contains(t, text, part)
	}
	require.Equal(t, 1, strings.Count(text, "dynamodb:Scan"), "only the check scans")
	require.NotContains(t, dynamodb.Policy("orders", "", dynamodb.ReadRights), "PutItem")
}

func TestWithoutCredentialsTheErrorSaysWhereTheyAreLookedFor(t *testing.T) {
	for _, name := range []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	u, err := url.Parse("dynamodb://eu-central-1/orders")
	require.NoError(t, err)
	_, err = dynamodb.OpenURL(t.Context(), u)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorContains(t, err, "AWS_ACCESS_KEY_ID")
}
