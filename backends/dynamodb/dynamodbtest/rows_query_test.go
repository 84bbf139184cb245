package dynamodbtest_test

import (
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// fill stores items 1 to n of partition a.
func (w world) fill(n, size int) {
	for i := range n {
		w.put(ofSize(key("a", i+1), size))
	}
}

func keyConditionRows() []row {
	return []row{
		{"D2 key conditions select a range", func(w world) {
			w.fill(9, 50)
			w.put(key("b", 5))
			for condition, want := range map[string][]string{
				"pk = :p":                             {"1", "2", "3", "4", "5", "6", "7", "8", "9"},
				"pk = :p AND sk = :3":                 {"3"},
				"pk = :p AND sk < :3":                 {"1", "2"},
				"pk = :p AND sk <= :3":                {"1", "2", "3"},
				"pk = :p AND sk > :7":                 {"8", "9"},
				"sk >= :7 AND pk = :p":                {"7", "8", "9"},
				"pk = :p and sk between :3 and :7":    {"3", "4", "5", "6", "7"},
				"(pk = :p) AND (sk > :7)":             {"8", "9"},
				"pk = :p AND sk BETWEEN :half AND :3": {"3"},
			} {
				in := w.queryInput("a")
				in.KeyConditionExpression = aws.String(condition)
				in.ExpressionAttributeValues = used(condition, attributes{":p": str("a"), ":3": num(3), ":7": num(7), ":half": num("2.5")})
				require.Equal(w.t, want, sortKeysOf(w.query(in).Items), condition)
			}
		}},
		{"D2 begins_with selects by the beginning of a string", func(w world) {
			name := w.table + "-text"
			w.createTextTable(name)
			w.table = name
			for _, sk := range []string{"a", "ab", "abc", "abd", "ac", "b"} {
				w.put(attributes{"pk": str("p"), "sk": str(sk)})
			}
			in := w.queryInput("p")
			in.KeyConditionExpression = aws.String("pk = :p AND begins_with(sk, :ab)")
			in.ExpressionAttributeValues[":ab"] = str("ab")
			require.EqualValues(w.t, 3, w.query(in).Count)
		}},
		{"D2 expressions that are no key conditions", func(w world) {
			values := attributes{":p": str("a"), ":3": num(3), ":7": num(7), ":s": str("x")}
			for _, condition := range []string{
				"sk = :3", "pk > :p", "pk = :p OR sk = :3", "pk = :p AND sk <> :3", "pk = :p AND sk = :s", "pk = :3", "pk = :p AND x = :3",
				"pk = :p AND sk = :3 AND sk = :7", "pk = :p AND sk BETWEEN :7 AND :3", "pk = :p AND begins_with(sk, :3)",
				"pk = :p AND NOT sk = :3", "pk = :p AND contains(sk, :3)", "pk = :p AND sk IN (:3)", "pk = :p AND", "pk", "pk = :p AND pk.x = :3",
				"pk = :p AND attribute_exists(sk)",
			} {
				in := w.queryInput("a")
				in.KeyConditionExpression = aws.String(condition)
				in.ExpressionAttributeValues = used(condition, values)
				_, err := w.client.Query(w.ctx, in)
				require.Equal(w.t, validation, code(err), condition)
			}
		}},
		{"D2 a filter looks at all but the key", func(w world) {
			w.put(with(key("a", 1), "x", num(1)), with(key("a", 2), "x", num(2)), key("a", 3))
			in := w.queryInput("a")
			in.FilterExpression = aws.String("x > :one")
			in.ExpressionAttributeValues[":one"] = num(1)
			out := w.query(in)
			require.Equal(w.t, []string{"2"}, sortKeysOf(out.Items))
			require.EqualValues(w.t, 1, out.Count)
			require.EqualValues(w.t, 3, out.ScannedCount)
			in.FilterExpression = aws.String("sk > :one")
			_, err := w.client.Query(w.ctx, in)
			require.Equal(w.t, validation, code(err))
		}},
		{"D2 a query goes backward, projects and counts", func(w world) {
			w.put(with(key("a", 1), "x", num(1)), with(key("a", 2), "x", num(2)))
			in := w.queryInput("a")
			in.ScanIndexForward = aws.Bool(false)
			in.ProjectionExpression = aws.String("x")
			require.Equal(w.t, []attributes{{"x": num(2)}, {"x": num(1)}}, w.query(in).Items)
			in.ProjectionExpression, in.Select = nil, types.SelectCount
			out := w.query(in)
			require.Empty(w.t, out.Items)
			require.EqualValues(w.t, 2, out.Count)
		}},
		{"D2 a scan meets every item once, whole or in segments", func(w world) {
			for p := range 10 {
				w.put(key(fmt.Sprint("p", p), 1), key(fmt.Sprint("p", p), 2))
			}
			collect := func(segments, limit int32) []string {
				var got []string
				for segment := range segments {
					in := &dynamodb.ScanInput{TableName: &w.table, Limit: &limit, ConsistentRead: aws.Bool(true)}
					if segments > 1 {
						in.Segment, in.TotalSegments = aws.Int32(segment), aws.Int32(segments)
					}
					for {
						out, err := w.client.Scan(w.ctx, in)
						require.NoError(w.t, err)
						for _, it := range out.Items {
							got = append(got, it["pk"].(*types.AttributeValueMemberS).Value+it["sk"].(*types.AttributeValueMemberN).Value)
						}
						if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
							break
						}
					}
				}
				return got
			}
			whole := collect(1, 100)
			require.Len(w.t, whole, 20)
			require.Equal(w.t, whole, collect(1, 3), "in pages")
			require.ElementsMatch(w.t, whole, collect(3, 7), "in segments")
		}},
	}
}

// used are the values that an expression names.
func used(expression string, values attributes) attributes {
	out := attributes{}
	for name, v := range values {
		if regexp.MustCompile(name + `\b`).MatchString(expression) {
			out[name] = v
		}
	}
	return out
}

func pageRows() []row {
	return []row{
		{"D8 a page has 1 MB of items and says where it ends", func(w world) {
			w.fill(7, 262144) // four of them are 1 MB
			in := w.queryInput("a")
			out := w.query(in)
			require.Equal(w.t, []string{"1", "2", "3", "4"}, sortKeysOf(out.Items))
			require.Equal(w.t, key("a", 4), out.LastEvaluatedKey)
			in.ExclusiveStartKey = out.LastEvaluatedKey
			out = w.query(in)
			require.Equal(w.t, []string{"5", "6", "7"}, sortKeysOf(out.Items))
			require.Nil(w.t, out.LastEvaluatedKey)
		}},
		{"D8 a byte more than 1 MB begins a new page", func(w world) {
			w.fill(3, 262144)
			w.put(ofSize(key("a", 4), 262145))
			require.Equal(w.t, []string{"1", "2", "3"}, sortKeysOf(w.query(w.queryInput("a")).Items))
		}},
		{"D8 the page is measured before the filter and the projection", func(w world) {
			w.fill(5, 262144)
			in := w.queryInput("a")
			in.FilterExpression = aws.String("attribute_not_exists(filling)")
			out := w.query(in)
			require.Empty(w.t, out.Items)
			require.Equal(w.t, key("a", 4), out.LastEvaluatedKey)
			in.FilterExpression, in.ProjectionExpression = nil, aws.String("sk")
			require.Equal(w.t, key("a", 4), w.query(in).LastEvaluatedKey)
		}},
		{"D8 the scanned count is that of the page", func(w world) {
			w.fill(5, 262144)
			out := w.query(w.queryInput("a"))
			require.EqualValues(w.t, 4, out.Count)
			require.EqualValues(w.t, 4, out.ScannedCount)
		}},
		{"D8 a limit counts before the filter, and its last page says it goes on", func(w world) {
			w.fill(4, 50)
			in := w.queryInput("a")
			in.Limit = aws.Int32(2)
			in.FilterExpression = aws.String("attribute_not_exists(filling)")
			out := w.query(in)
			require.Empty(w.t, out.Items)
			require.Equal(w.t, key("a", 2), out.LastEvaluatedKey)
			in.ExclusiveStartKey = out.LastEvaluatedKey
			out = w.query(in)
			require.Equal(w.t, key("a", 4), out.LastEvaluatedKey, "though nothing follows")
			in.ExclusiveStartKey = out.LastEvaluatedKey
			require.Nil(w.t, w.query(in).LastEvaluatedKey)
			in.Limit = aws.Int32(0)
			_, err := w.client.Query(w.ctx, in)
			require.Equal(w.t, validation, code(err))
		}},
		{"D8 pages go on behind a key that is gone, in both directions", func(w world) {
			w.fill(5, 50)
			_, err := w.client.DeleteItem(w.ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("a", 3)})
			require.NoError(w.t, err)
			in := w.queryInput("a")
			in.ExclusiveStartKey = key("a", 3)
			require.Equal(w.t, []string{"4", "5"}, sortKeysOf(w.query(in).Items))
			in.ScanIndexForward = aws.Bool(false)
			require.Equal(w.t, []string{"2", "1"}, sortKeysOf(w.query(in).Items))
		}},
		{"D8 a page may not begin in another partition", func(w world) {
			in := w.queryInput("a")
			in.ExclusiveStartKey = key("b", 3)
			_, err := w.client.Query(w.ctx, in)
			require.Equal(w.t, validation, code(err))
			in.ExclusiveStartKey = attributes{"pk": str("a")}
			_, err = w.client.Query(w.ctx, in)
			require.ErrorContains(w.t, err, "The provided starting key is invalid")
		}},
	}
}
