package dynamodbtest_test

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

func updateRows() []row {
	subject := with(key("a", 1), "n", num(5), "l", list(num(0), num(1), num(2), num(3)), "m", object(attributes{"k": num(7)}), "ss", strs("a", "b"), "s", str("x"))
	return []row{
		{"D2 updates change what they name", func(w world) {
			one := attributes{":v": num(1)}
			for _, try := range []struct {
				expression string
				values     attributes
				attribute  string
				want       types.AttributeValue
			}{
				{"SET x = :v", one, "x", num(1)},
				{"SET n = n + :v", one, "n", num(6)},
				{"SET n = n - :v", one, "n", num(4)},
				{"SET n = :v - n", one, "n", num(-4)},
				{"SET x = if_not_exists(x, :v)", one, "x", num(1)},
				{"SET n = if_not_exists(n, :v)", one, "n", num(5)},
				{"SET n = if_not_exists(n, :v) + :v", one, "n", num(6)},
				{"SET l = list_append(l, :v)", attributes{":v": list(num(4))}, "l", list(num(0), num(1), num(2), num(3), num(4))},
				{"SET l[1] = :v", attributes{":v": str("x")}, "l", list(num(0), str("x"), num(2), num(3))},
				{"SET l[9] = :v", attributes{":v": str("x")}, "l", list(num(0), num(1), num(2), num(3), str("x"))},
				{"SET m.k = :v, m.j = m.k", one, "m", object(attributes{"k": num(1), "j": num(7)})},
				{"set x = s", nil, "x", str("x")},
				{"REMOVE n", nil, "n", nil},
				{"REMOVE q", nil, "q", nil},
				{"REMOVE l[0], l[2]", nil, "l", list(num(1), num(3))},
				{"REMOVE m.k", nil, "m", object(attributes{})},
				{"ADD n :v", one, "n", num(6)},
				{"ADD x :v", one, "x", num(1)},
				{"ADD ss :v", attributes{":v": strs("b", "c")}, "ss", strs("a", "b", "c")},
				{"DELETE ss :v", attributes{":v": strs("b", "z")}, "ss", strs("a")},
				{"DELETE ss :v", attributes{":v": strs("a", "b")}, "ss", nil},
				{"DELETE x :v", attributes{":v": strs("a")}, "x", nil},
				{"REMOVE s SET n = :v ADD x :v", one, "n", num(1)},
			} {
				w.put(subject)
				got, err := w.update(key("a", 1), try.expression, try.values)
				require.NoError(w.t, err, try.expression)
				if set, ok := try.want.(*types.AttributeValueMemberSS); ok {
					require.ElementsMatch(w.t, set.Value, got[try.attribute].(*types.AttributeValueMemberSS).Value, try.expression)
					continue
				}
				if try.want == nil {
					require.NotContains(w.t, got, try.attribute, try.expression)
					continue
				}
				require.Equal(w.t, try.want, got[try.attribute], try.expression)
			}
		}},
		{"D2 updates read the item as it was", func(w world) {
			w.put(with(key("a", 1), "x", num(1), "y", num(2)))
			got, err := w.update(key("a", 1), "SET x = y, y = x", nil)
			require.NoError(w.t, err)
			require.Equal(w.t, with(key("a", 1), "x", num(2), "y", num(1)), got)
		}},
		{"D2 an update makes the item it does not find", func(w world) {
			got, err := w.update(key("b", 1), "ADD n :v", attributes{":v": num(1)})
			require.NoError(w.t, err)
			require.Equal(w.t, with(key("b", 1), "n", num(1)), got)
			_, err = w.client.UpdateItem(w.ctx, &dynamodb.UpdateItemInput{TableName: &w.table, Key: key("c", 1)})
			require.NoError(w.t, err)
			require.Equal(w.t, key("c", 1), w.get(key("c", 1)))
		}},
		{"D2 updates that are refused change nothing", func(w world) {
			w.put(subject)
			for _, try := range []struct {
				expression string
				values     attributes
			}{
				{"SET x = q", nil},
				{"SET x = s + :v", attributes{":v": num(1)}},
				{"SET q.x = :v", attributes{":v": num(1)}},
				{"SET s.x = :v", attributes{":v": num(1)}},
				{"SET m[0] = :v", attributes{":v": num(1)}},
				{"SET x = list_append(n, :v)", attributes{":v": list()}},
				{"ADD s :v", attributes{":v": num(1)}},
				{"ADD n :v", attributes{":v": str("x")}},
				{"ADD ss :v", attributes{":v": nums("1")}},
				{"DELETE n :v", attributes{":v": num(1)}},
				{"SET pk = :v", attributes{":v": str("b")}},
				{"REMOVE sk", nil},
				{"SET n = :v, n = :v", attributes{":v": num(1)}},
				{"SET l[0] = :v, l.k = :v", attributes{":v": num(1)}},
				{"SET m = :v, m.k = :v", attributes{":v": num(1)}},
				{"SET n = :v SET x = :v", attributes{":v": num(1)}},
				{"SET n :v", attributes{":v": num(1)}},
				{"SET n = :v,", attributes{":v": num(1)}},
				{"n = :v", attributes{":v": num(1)}},
				{"SET n = nonsense(:v)", attributes{":v": num(1)}},
				{"SET n = n * :v", attributes{":v": num(1)}},
			} {
				_, err := w.update(key("a", 1), try.expression, try.values)
				require.Equal(w.t, validation, code(err), try.expression)
			}
			require.Equal(w.t, subject, w.get(key("a", 1)))
		}},
		{"D2 an update returns what it is asked for", func(w world) {
			for values, want := range map[types.ReturnValue]attributes{
				types.ReturnValueAllOld:     subject,
				types.ReturnValueAllNew:     with(subject, "n", num(6), "x", num(1)),
				types.ReturnValueUpdatedOld: {"n": num(5)},
				types.ReturnValueUpdatedNew: {"n": num(6), "x": num(1)},
				types.ReturnValueNone:       nil,
			} {
				w.put(subject)
				out, err := w.client.UpdateItem(w.ctx, &dynamodb.UpdateItemInput{
					TableName: &w.table, Key: key("a", 1), UpdateExpression: aws.String("SET n = n + :v, x = :v"),
					ExpressionAttributeValues: attributes{":v": num(1)}, ReturnValues: values,
				})
				require.NoError(w.t, err)
				require.Equal(w.t, want, out.Attributes, values)
			}
		}},
		{"D2 a conditional update is refused whole", func(w world) {
			w.put(subject)
			_, err := w.client.UpdateItem(w.ctx, &dynamodb.UpdateItemInput{
				TableName: &w.table, Key: key("a", 1), UpdateExpression: aws.String("SET n = :v"), ConditionExpression: aws.String("n < :v"),
				ExpressionAttributeValues: attributes{":v": num(1)},
			})
			require.Equal(w.t, refused, code(err))
			require.Equal(w.t, subject, w.get(key("a", 1)))
		}},
		{"D2 a number that outgrows its range is refused", func(w world) {
			w.put(with(key("a", 1), "n", num("9e125")))
			_, err := w.update(key("a", 1), "ADD n :v", attributes{":v": num("9e125")})
			require.Equal(w.t, validation, code(err))
		}},
	}
}
