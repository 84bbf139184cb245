package dynamodbtest_test

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

const (
	validation = "ValidationException"
	refused    = "ConditionalCheckFailedException"
	cancelled  = "TransactionCanceledException"
)

func limitRows() []row {
	return []row{
		{"D3 an item of exactly 400 KB is stored and a byte more is not", func(w world) {
			w.put(ofSize(key("a", 1), 409600))
			err := w.tryPut(ofSize(key("a", 2), 409601))
			require.Equal(w.t, validation, code(err))
			require.ErrorContains(w.t, err, "Item size has exceeded the maximum allowed size")
			require.Equal(w.t, []string{"1"}, w.sortKeys("a"))
		}},
		{"D3 an update may not grow an item beyond 400 KB", func(w world) {
			w.put(ofSize(key("a", 1), 409600))
			_, err := w.update(key("a", 1), "SET y = :v", attributes{":v": str("x")})
			require.Equal(w.t, validation, code(err))
			require.ErrorContains(w.t, err, "Item size to update has exceeded the maximum allowed size")
		}},
		{"D3 a partition key of 2048 bytes is stored and a byte more is not", func(w world) {
			w.put(key(strings.Repeat("k", 2048), 1))
			require.Equal(w.t, validation, code(w.tryPut(key(strings.Repeat("k", 2049), 1))))
		}},
		{"D3 a sort key of 1024 bytes is stored and a byte more is not", func(w world) {
			name := w.table + "-text"
			w.createTextTable(name)
			w.table = name
			long := func(n int) attributes {
				return attributes{"pk": str("a"), "sk": str(strings.Repeat("é", n/2) + strings.Repeat("x", n%2))}
			}
			w.put(long(1024))
			require.Equal(w.t, validation, code(w.tryPut(long(1025))))
		}},
		{"D3 empty keys are refused and empty values are not", func(w world) {
			err := w.tryPut(key("", 1))
			require.Equal(w.t, validation, code(err))
			require.ErrorContains(w.t, err, "cannot contain an empty string value. Key: pk")
			it := with(key("a", 1), "s", str(""), "b", bin([]byte{}), "l", list(), "m", object(attributes{}))
			w.put(it)
			require.Equal(w.t, it["s"], w.get(key("a", 1))["s"])
		}},
		{"D3 the key must be there and of its type", func(w world) {
			require.ErrorContains(w.t, w.tryPut(attributes{"pk": str("a")}), "Missing the key sk in the item")
			require.ErrorContains(w.t, w.tryPut(attributes{"pk": str("a"), "sk": str("1")}), "Type mismatch for key sk expected: N actual: S")
			for _, k := range []attributes{{"pk": str("a")}, {"pk": str("a"), "sk": str("1")}, with(key("a", 1), "x", str("y"))} {
				_, err := w.client.GetItem(w.ctx, &dynamodb.GetItemInput{TableName: &w.table, Key: k})
				require.ErrorContains(w.t, err, "The provided key element does not match the schema")
			}
		}},
		{"D3 a value inside 31 lists is stored and one more is not", func(w world) {
			nested := func(levels int) types.AttributeValue {
				v := str("x")
				for range levels {
					v = list(v)
				}
				return v
			}
			w.put(with(key("a", 1), "l", nested(31)))
			require.Equal(w.t, validation, code(w.tryPut(with(key("a", 1), "l", nested(32)))))
		}},
		{"D3 a transaction has 100 items and no more", func(w world) {
			items := func(n int) []types.TransactWriteItem {
				var out []types.TransactWriteItem
				for i := range n {
					out = append(out, w.putAction(key("a", i)))
				}
				return out
			}
			require.NoError(w.t, w.transact(items(100)...))
			require.Equal(w.t, validation, code(w.transact(items(101)...)))
		}},
		{"D3 a transaction has 4 MB and no more", func(w world) {
			items := func(last int) []types.TransactWriteItem {
				var out []types.TransactWriteItem
				for i := range 16 {
					out = append(out, w.putAction(ofSize(key("a", 10+i), 262144)))
				}
				out[15] = w.putAction(ofSize(key("a", 25), last))
				return out
			}
			require.NoError(w.t, w.transact(items(262144)...))
			err := w.transact(items(262145)...)
			require.Equal(w.t, validation, code(err))
			require.ErrorContains(w.t, err, "4MB limit")
		}},
		{"D3 a transaction may not name an item twice", func(w world) {
			err := w.transact(w.putAction(key("a", 1)), w.putAction(with(key("a", "1.0"), "x", str("y"))))
			require.Equal(w.t, validation, code(err))
			require.ErrorContains(w.t, err, "Transaction request cannot include multiple operations on one item")
		}},
		{"D3 an expression has 4 KB and no more", func(w world) {
			expression := "attribute_not_exists(" + strings.Repeat("x", 4096-len("attribute_not_exists()")) + ")"
			in := w.putInput(key("a", 1))
			in.ConditionExpression = &expression
			_, err := w.client.PutItem(w.ctx, in)
			require.NoError(w.t, err)
			in.ConditionExpression = aws.String(expression + " ")
			_, err = w.client.PutItem(w.ctx, in)
			require.Equal(w.t, validation, code(err))
		}},
		{"D3 table names have 3 to 255 characters", func(w world) {
			for _, name := range []string{"ab", strings.Repeat("a", 256), "a b c"} {
				require.Equal(w.t, validation, code(createTable(w.ctx, w.client, name)), name)
			}
			require.NoError(w.t, createTable(w.ctx, w.client, w.table+strings.Repeat("-", 255-len(w.table))))
		}},
	}
}

// createTextTable makes a table whose sort key is a string.
func (w world) createTextTable(name string) {
	_, err := w.client.CreateTable(w.ctx, &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	require.NoError(w.t, err)
}

// update changes an item and returns all of it.
func (w world) update(k attributes, expression string, values attributes) (attributes, error) {
	out, err := w.client.UpdateItem(w.ctx, &dynamodb.UpdateItemInput{
		TableName: &w.table, Key: k, UpdateExpression: &expression, ExpressionAttributeValues: values,
		ReturnValues: types.ReturnValueAllNew,
	})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}
