package dynamodbtest_test

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// putUnits is what storing an item costs.
func (w world) putUnits(it attributes) float64 {
	out, err := w.client.PutItem(w.ctx, w.putInput(it))
	require.NoError(w.t, err)
	return aws.ToFloat64(out.ConsumedCapacity.CapacityUnits)
}

// getUnits is what reading an item costs.
func (w world) getUnits(k attributes, consistent bool) float64 {
	out, err := w.client.GetItem(w.ctx, &dynamodb.GetItemInput{TableName: &w.table, Key: k, ConsistentRead: &consistent, ReturnConsumedCapacity: total()})
	require.NoError(w.t, err)
	return aws.ToFloat64(out.ConsumedCapacity.CapacityUnits)
}

func capacityRows() []row {
	return []row{
		{"D7 a put costs a unit a KB begun, by the larger of both versions", func(w world) {
			requireUnits(w.t, 1, w.putUnits(ofSize(key("a", 1), 1024)))
			requireUnits(w.t, 2, w.putUnits(ofSize(key("a", 1), 1025)))
			requireUnits(w.t, 300, w.putUnits(ofSize(key("a", 1), 300<<10)))
			requireUnits(w.t, 300, w.putUnits(key("a", 1)), "the old one was larger")
			requireUnits(w.t, 1, w.putUnits(key("a", 1)))
		}},
		{"D7 an update costs the whole item, not the change", func(w world) {
			w.put(ofSize(with(key("a", 1), "n", num(1)), 10<<10))
			out, err := w.client.UpdateItem(w.ctx, &dynamodb.UpdateItemInput{
				TableName: &w.table, Key: key("a", 1), UpdateExpression: aws.String("ADD n :v"), ExpressionAttributeValues: attributes{":v": num(1)},
				ReturnConsumedCapacity: total(),
			})
			require.NoError(w.t, err)
			requireUnits(w.t, 10, *out.ConsumedCapacity.CapacityUnits)
		}},
		{"D7 a delete costs what it deletes, and at least a unit", func(w world) {
			w.put(ofSize(key("a", 1), 3000))
			in := &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("a", 1), ReturnConsumedCapacity: total()}
			for _, want := range []float64{3, 1} {
				out, err := w.client.DeleteItem(w.ctx, in)
				require.NoError(w.t, err)
				requireUnits(w.t, want, *out.ConsumedCapacity.CapacityUnits)
			}
		}},
		{"D7 the old version in the answer costs nothing", func(w world) {
			in := w.putInput(ofSize(key("a", 1), 1024))
			in.ReturnValues = types.ReturnValueAllOld
			for range 2 {
				out, err := w.client.PutItem(w.ctx, in)
				require.NoError(w.t, err)
				requireUnits(w.t, 1, *out.ConsumedCapacity.CapacityUnits)
			}
		}},
		{"D7 a read costs a unit for 4 KB begun, half without consistency", func(w world) {
			w.put(ofSize(key("a", 1), 4096), ofSize(key("a", 2), 4097))
			requireUnits(w.t, 1, w.getUnits(key("a", 1), true))
			requireUnits(w.t, 0.5, w.getUnits(key("a", 1), false))
			requireUnits(w.t, 2, w.getUnits(key("a", 2), true))
			requireUnits(w.t, 1, w.getUnits(key("a", 2), false))
			requireUnits(w.t, 1, w.getUnits(key("a", 3), true), "nothing is there")
			requireUnits(w.t, 0.5, w.getUnits(key("a", 3), false))
		}},
		{"D7 a query sums bytes before it rounds, and saves nothing by projection or filter", func(w world) {
			w.fill(10, 1000)
			in := w.queryInput("a")
			requireUnits(w.t, 3, *w.query(in).ConsumedCapacity.CapacityUnits)
			in.ProjectionExpression = aws.String("sk")
			requireUnits(w.t, 3, *w.query(in).ConsumedCapacity.CapacityUnits)
			in.FilterExpression = aws.String("attribute_not_exists(filling)")
			requireUnits(w.t, 3, *w.query(in).ConsumedCapacity.CapacityUnits)
			in.ConsistentRead = aws.Bool(false)
			requireUnits(w.t, 1.5, *w.query(in).ConsumedCapacity.CapacityUnits)
		}},
		{"D7 a query that finds nothing costs a unit", func(w world) {
			requireUnits(w.t, 1, *w.query(w.queryInput("b")).ConsumedCapacity.CapacityUnits)
			in := w.queryInput("b")
			in.ConsistentRead = aws.Bool(false)
			requireUnits(w.t, 0.5, *w.query(in).ConsumedCapacity.CapacityUnits)
		}},
		{"D7 a batch rounds every item by itself", func(w world) {
			w.fill(3, 1000)
			out, err := w.client.BatchGetItem(w.ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{w.table: {
					Keys: []map[string]types.AttributeValue{key("a", 1), key("a", 2), key("a", 3), key("a", 4)}, ConsistentRead: aws.Bool(true),
				}},
				ReturnConsumedCapacity: total(),
			})
			require.NoError(w.t, err)
			requireUnits(w.t, 4, *out.ConsumedCapacity[0].CapacityUnits)
		}},
		{"D7 a transaction costs twice, and a check like a write", func(w world) {
			w.put(key("c", 1))
			out, err := w.client.TransactWriteItems(w.ctx, w.transaction(
				w.putNewAction(ofSize(key("a", 1), 1024)), w.putNewAction(ofSize(key("a", 2), 1025)),
				types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &w.table, Key: key("c", 1), ConditionExpression: aws.String("attribute_exists(pk)")}},
				types.TransactWriteItem{Delete: &types.Delete{TableName: &w.table, Key: key("c", 2)}},
			))
			require.NoError(w.t, err)
			require.Len(w.t, out.ConsumedCapacity, 1)
			requireUnits(w.t, 2+4+2+2, *out.ConsumedCapacity[0].CapacityUnits)
			requireUnits(w.t, 2+4+2+2, *out.ConsumedCapacity[0].WriteCapacityUnits)
			require.Nil(w.t, out.ConsumedCapacity[0].ReadCapacityUnits)
		}},
		{"D7 reads in a transaction cost twice", func(w world) {
			w.put(ofSize(key("a", 1), 4097))
			out, err := w.client.TransactGetItems(w.ctx, w.transactGet(key("a", 1), key("a", 2)))
			require.NoError(w.t, err)
			requireUnits(w.t, 4+2, *out.ConsumedCapacity[0].CapacityUnits)
			requireUnits(w.t, 4+2, *out.ConsumedCapacity[0].ReadCapacityUnits)
		}},
		{"D7 capacity is told as it is asked for", func(w world) {
			in := w.putInput(key("a", 1))
			in.ReturnConsumedCapacity = types.ReturnConsumedCapacityNone
			out, err := w.client.PutItem(w.ctx, in)
			require.NoError(w.t, err)
			require.Nil(w.t, out.ConsumedCapacity)
			in.ReturnConsumedCapacity = types.ReturnConsumedCapacityIndexes
			out, err = w.client.PutItem(w.ctx, in)
			require.NoError(w.t, err)
			require.Equal(w.t, w.table, *out.ConsumedCapacity.TableName)
			requireUnits(w.t, 1, *out.ConsumedCapacity.CapacityUnits)
			requireUnits(w.t, 1, *out.ConsumedCapacity.Table.CapacityUnits)
			in.ReturnConsumedCapacity = "SOME"
			_, err = w.client.PutItem(w.ctx, in)
			require.Equal(w.t, validation, code(err))
		}},
		{"D7 values have the sizes that the developer guide gives", func(w world) {
			// What is left of 1 KB beside the value, to the byte: found by
			// filling up with one more attribute until a unit more is due.
			for _, try := range []struct {
				name string
				v    types.AttributeValue
				size int
			}{
				{"string", str("é"), 2},
				{"binary", bin([]byte{1, 2, 3}), 3},
				{"one digit", num(7), 2},
				{"three digits", num(123), 3},
				{"a number with zeros at its end", num("12000000"), 2},
				{"a negative number", num(-42), 3},
				{"a number with a fraction", num("1.2"), 3},
				{"38 digits", num("12345678901234567890123456789012345678"), 20},
				{"boolean", boolean(true), 1},
				{"null", null(), 1},
				{"set", strs("ab", "c"), 3},
				{"list", list(str("ab"), num(1)), 3 + 2 + 2 + 2},
				{"empty list", list(), 3},
				{"map", object(attributes{"k": str("ab")}), 3 + 1 + 1 + 2},
				{"empty map", object(attributes{}), 3},
			} {
				base := 2 + 1 + 2 + 2 + 1 + 7 // pk, sk, the name of x and pad
				full := with(key("a", 1), "x", try.v, "filling", filler(1024-base-try.size))
				requireUnits(w.t, 1, w.putUnits(full), try.name)
				requireUnits(w.t, 2, w.putUnits(with(full, "filling", filler(1025-base-try.size))), try.name)
				_, err := w.client.DeleteItem(w.ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("a", 1)})
				require.NoError(w.t, err)
			}
		}},
	}
}
