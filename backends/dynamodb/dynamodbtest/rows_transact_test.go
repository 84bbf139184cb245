package dynamodbtest_test

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

func (w world) transactGet(keys ...attributes) *dynamodb.TransactGetItemsInput {
	in := &dynamodb.TransactGetItemsInput{ReturnConsumedCapacity: total()}
	for _, k := range keys {
		in.TransactItems = append(in.TransactItems, types.TransactGetItem{Get: &types.Get{TableName: &w.table, Key: k}})
	}
	return in
}

func transactionRows() []row {
	return []row{
		{"D4 a transaction is stored whole or not at all", func(w world) {
			w.put(key("a", 2))
			err := w.transact(w.putNewAction(key("a", 1)), w.putNewAction(key("a", 2)), w.putNewAction(key("a", 3)))
			require.Equal(w.t, []string{"None", "ConditionalCheckFailed", "None"}, reasons(w.t, err))
			require.Equal(w.t, []string{"2"}, w.sortKeys("a"))
			require.NoError(w.t, w.transact(w.putNewAction(key("a", 1)), w.putNewAction(key("a", 3))))
			require.Equal(w.t, []string{"1", "2", "3"}, w.sortKeys("a"))
		}},
		{"D4 every reason is given, in order, with the item that was there", func(w world) {
			w.put(with(key("a", 1), "x", str("one")), with(key("a", 3), "x", str("three")))
			silent := w.putNewAction(key("a", 3))
			silent.Put.ReturnValuesOnConditionCheckFailure = ""
			err := w.transact(w.putNewAction(key("a", 1)), w.putNewAction(key("a", 2)), silent)
			var canceled *types.TransactionCanceledException
			require.ErrorAs(w.t, err, &canceled)
			require.Len(w.t, canceled.CancellationReasons, 3)
			require.Equal(w.t, with(key("a", 1), "x", str("one")), canceled.CancellationReasons[0].Item)
			require.Equal(w.t, "The conditional request failed", aws.ToString(canceled.CancellationReasons[0].Message))
			require.Equal(w.t, "None", aws.ToString(canceled.CancellationReasons[1].Code))
			require.Nil(w.t, canceled.CancellationReasons[1].Message)
			require.Empty(w.t, canceled.CancellationReasons[2].Item)
		}},
		{"D4 puts, updates, deletes and checks go together", func(w world) {
			w.put(with(key("a", 1), "n", num(1)), key("a", 2), key("a", 3))
			require.NoError(w.t, w.transact(
				types.TransactWriteItem{Update: &types.Update{
					TableName: &w.table, Key: key("a", 1), UpdateExpression: aws.String("ADD n :v"), ConditionExpression: aws.String("n = :v"),
					ExpressionAttributeValues: attributes{":v": num(1)},
				}},
				types.TransactWriteItem{Delete: &types.Delete{TableName: &w.table, Key: key("a", 2), ConditionExpression: aws.String("attribute_exists(pk)")}},
				types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &w.table, Key: key("a", 3), ConditionExpression: aws.String("attribute_exists(pk)")}},
				w.putAction(key("a", 4)),
			))
			require.Equal(w.t, []string{"1", "3", "4"}, w.sortKeys("a"))
			require.Equal(w.t, num(2), w.get(key("a", 1))["n"])
		}},
		{"D4 what is wrong with one item alone is its reason", func(w world) {
			w.put(with(key("a", 1), "s", str("x")))
			err := w.transact(
				types.TransactWriteItem{Update: &types.Update{TableName: &w.table, Key: key("a", 1), UpdateExpression: aws.String("ADD s :v"), ExpressionAttributeValues: attributes{":v": num(1)}}},
				w.putAction(key("a", 2)))
			require.Equal(w.t, []string{"ValidationError", "None"}, reasons(w.t, err))
			err = w.transact(w.putAction(key("a", 2)), w.putAction(attributes{"pk": str("a")}))
			require.Equal(w.t, []string{"None", "ValidationError"}, reasons(w.t, err))
		}},
		{"D4 what is wrong with the request refuses it whole", func(w world) {
			wrong := w.putAction(key("a", 2))
			wrong.Put.ConditionExpression = aws.String("nonsense")
			require.Equal(w.t, validation, code(w.transact(w.putAction(key("a", 1)), wrong)))
			require.Equal(w.t, validation, code(w.transact(w.putAction(key("a", 1)), w.putAction(ofSize(key("a", 2), 409601)))))
			require.Equal(w.t, validation, code(w.transact(w.putAction(key("a", 1)), w.putAction(key("", 2)))))
			elsewhere := w.putAction(key("a", 2))
			elsewhere.Put.TableName = aws.String("nowhere")
			require.Equal(w.t, "ResourceNotFoundException", code(w.transact(w.putAction(key("a", 1)), elsewhere)))
			both := w.putAction(key("a", 2))
			both.Delete = &types.Delete{TableName: &w.table, Key: key("a", 3)}
			require.Equal(w.t, validation, code(w.transact(both)))
			require.Equal(w.t, validation, code(w.transact(types.TransactWriteItem{})))
			require.Equal(w.t, validation, code(w.transact()))
			require.Empty(w.t, w.sortKeys("a"))
		}},
		{"D4 of two with the same condition one wins", func(w world) {
			results := make(chan error, 16)
			for i := range cap(results) {
				go func() {
					results <- w.transact(w.putNewAction(with(key("log", 1), "x", num(i))), w.putNewAction(key("s", i)))
				}()
			}
			won := 0
			var wrong error
			for range cap(results) {
				switch err := <-results; code(err) {
				case "":
					won++
				case cancelled:
				default:
					wrong = errors.Join(wrong, err)
				}
			}
			require.NoError(w.t, wrong)
			require.Equal(w.t, 1, won)
			require.Len(w.t, w.sortKeys("s"), 1)
		}},
		{"D4 a transaction reads in order, absent items too", func(w world) {
			w.put(with(key("a", 1), "x", num(1)))
			out, err := w.client.TransactGetItems(w.ctx, w.transactGet(key("a", 2), key("a", 1)))
			require.NoError(w.t, err)
			require.Len(w.t, out.Responses, 2)
			require.Empty(w.t, out.Responses[0].Item)
			require.Equal(w.t, num(1), out.Responses[1].Item["x"])
		}},
	}
}

func tokenRows() []row {
	withToken := func(w world, token string, items ...types.TransactWriteItem) (*dynamodb.TransactWriteItemsOutput, error) {
		in := w.transaction(items...)
		in.ClientRequestToken = aws.String(token)
		return w.client.TransactWriteItems(w.ctx, in)
	}
	return []row{
		{"D5 a repeated token is answered and nothing is done", func(w world) {
			for range 3 {
				_, err := withToken(w, w.table+"1", w.putNewAction(key("a", 1)))
				require.NoError(w.t, err)
			}
			_, err := w.client.DeleteItem(w.ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("a", 1)})
			require.NoError(w.t, err)
			_, err = withToken(w, w.table+"1", w.putNewAction(key("a", 1)))
			require.NoError(w.t, err)
			require.Empty(w.t, w.sortKeys("a"))
		}},
		{"D5 a repetition costs reads", func(w world) {
			first, err := withToken(w, w.table+"1", w.putAction(ofSize(key("a", 1), 5000)), w.putAction(key("a", 2)))
			require.NoError(w.t, err)
			requireUnits(w.t, 2*5+2, *first.ConsumedCapacity[0].CapacityUnits)
			again, err := withToken(w, w.table+"1", w.putAction(ofSize(key("a", 1), 5000)), w.putAction(key("a", 2)))
			require.NoError(w.t, err)
			requireUnits(w.t, 2*2+2, *again.ConsumedCapacity[0].CapacityUnits)
			requireUnits(w.t, 2*2+2, *again.ConsumedCapacity[0].ReadCapacityUnits)
			require.Nil(w.t, again.ConsumedCapacity[0].WriteCapacityUnits)
		}},
		{"D5 a token with another request is refused", func(w world) {
			_, err := withToken(w, w.table+"1", w.putAction(key("a", 1)))
			require.NoError(w.t, err)
			_, err = withToken(w, w.table+"1", w.putAction(key("a", 2)))
			require.Equal(w.t, "IdempotentParameterMismatchException", code(err))
			require.Equal(w.t, []string{"1"}, w.sortKeys("a"))
		}},
		{"D5 the token of a cancelled transaction is free", func(w world) {
			w.put(key("a", 1))
			_, err := withToken(w, w.table+"1", w.putNewAction(key("a", 1)))
			require.Equal(w.t, cancelled, code(err))
			_, err = w.client.DeleteItem(w.ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("a", 1)})
			require.NoError(w.t, err)
			_, err = withToken(w, w.table+"1", w.putNewAction(key("a", 1)))
			require.NoError(w.t, err)
			require.Equal(w.t, []string{"1"}, w.sortKeys("a"))
		}},
		{"D5 a token has 36 characters and no more", func(w world) {
			_, err := withToken(w, w.table+strings.Repeat("-", 36-len(w.table)), w.putAction(key("a", 1)))
			require.NoError(w.t, err)
			_, err = withToken(w, w.table+strings.Repeat("-", 37-len(w.table)), w.putAction(key("a", 1)))
			require.Equal(w.t, validation, code(err))
		}},
	}
}
