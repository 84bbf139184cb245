package dynamodbtest_test

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

func (w world) batchGet(keys ...map[string]types.AttributeValue) (*dynamodb.BatchGetItemOutput, error) {
	return w.client.BatchGetItem(w.ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{w.table: {Keys: append([]map[string]types.AttributeValue{}, keys...), ConsistentRead: aws.Bool(true)}},
	})
}

func (w world) batchWrite(writes ...types.WriteRequest) (*dynamodb.BatchWriteItemOutput, error) {
	return w.client.BatchWriteItem(w.ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{w.table: writes}})
}

func putRequest(it attributes) types.WriteRequest {
	return types.WriteRequest{PutRequest: &types.PutRequest{Item: it}}
}

func deleteRequest(k attributes) types.WriteRequest {
	return types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: k}}
}

func batchRows() []row {
	return []row{
		{"D2 a batch reads what is there", func(w world) {
			w.put(key("a", 1), key("a", 2))
			out, err := w.batchGet(key("a", 1), key("a", 2), key("a", 3))
			require.NoError(w.t, err)
			require.ElementsMatch(w.t, []attributes{key("a", 1), key("a", 2)}, out.Responses[w.table])
			require.Empty(w.t, out.UnprocessedKeys)
		}},
		{"D2 a batch of reads has 100 keys, each once", func(w world) {
			var keys []map[string]types.AttributeValue
			for i := range 101 {
				keys = append(keys, key("a", i))
			}
			_, err := w.batchGet(keys[:100]...)
			require.NoError(w.t, err)
			_, err = w.batchGet(keys...)
			require.Equal(w.t, validation, code(err))
			_, err = w.batchGet(key("a", 1), key("a", 1))
			require.ErrorContains(w.t, err, "Provided list of item keys contains duplicates")
			_, err = w.batchGet()
			require.Equal(w.t, validation, code(err))
		}},
		{"D2 a batch answers 16 MB and leaves the rest unprocessed", func(w world) {
			var keys []map[string]types.AttributeValue
			for i := range 42 {
				w.put(ofSize(key("a", i), 409600))
				keys = append(keys, key("a", i))
			}
			out, err := w.batchGet(keys...)
			require.NoError(w.t, err)
			require.Len(w.t, out.Responses[w.table], 40)
			require.Len(w.t, out.UnprocessedKeys[w.table].Keys, 2)
			require.True(w.t, *out.UnprocessedKeys[w.table].ConsistentRead)
		}},
		{"D2 a batch writes and deletes", func(w world) {
			w.put(key("a", 1))
			out, err := w.batchWrite(deleteRequest(key("a", 1)), putRequest(key("a", 2)), deleteRequest(key("a", 3)))
			require.NoError(w.t, err)
			require.Empty(w.t, out.UnprocessedItems)
			require.Equal(w.t, []string{"2"}, w.sortKeys("a"))
		}},
		{"D2 a batch of writes has 25 items, each once", func(w world) {
			var writes []types.WriteRequest
			for i := range 26 {
				writes = append(writes, putRequest(key("a", i)))
			}
			_, err := w.batchWrite(writes[:25]...)
			require.NoError(w.t, err)
			_, err = w.batchWrite(writes...)
			require.Equal(w.t, validation, code(err))
			_, err = w.batchWrite(putRequest(key("b", 1)), deleteRequest(key("b", 1)))
			require.ErrorContains(w.t, err, "Provided list of item keys contains duplicates")
			require.Empty(w.t, w.sortKeys("b"))
		}},
	}
}
