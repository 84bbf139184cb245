package dynamodbtest_test

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// met asks whether the item with key a 1 meets a condition. Of the values only
// those are sent that the expression uses.
func (w world) met(expression string, values attributes) (bool, error) {
	sent := used(expression, values)
	if len(sent) == 0 {
		sent = nil
	}
	names := map[string]string{}
	for placeholder, name := range map[string]string{"#s": "s", "#dash": "with-dash.and dot"} {
		if strings.Contains(expression, placeholder) {
			names[placeholder] = name
		}
	}
	if len(names) == 0 {
		names = nil
	}
	// Without an update expression nothing is changed.
	_, err := w.client.UpdateItem(w.ctx, &dynamodb.UpdateItemInput{
		TableName: &w.table, Key: key("a", 1), ConditionExpression: &expression,
		ExpressionAttributeValues: sent, ExpressionAttributeNames: names,
	})
	if code(err) == refused {
		return false, nil
	}
	return err == nil, err
}

func expressionRows() []row {
	subject := with(key("a", 1),
		"s", str("hello"), "n", num(5), "b", bin([]byte("bytes")), "t", boolean(true), "z", null(),
		"ss", strs("x", "y"), "ns", nums("1", "2"), "l", list(str("x"), num(1), object(attributes{"k": str("v")})),
		"m", object(attributes{"k": num(7), "deeper": object(attributes{"deep": str("d")})}), "with-dash.and dot", num(1))
	values := attributes{
		":hello": str("hello"), ":hel": str("hel"), ":five": num("5.0"), ":four": num(4), ":six": num(6), ":seven": num(7),
		":bytes": bin([]byte("bytes")), ":by": bin([]byte("by")), ":true": boolean(true), ":null": null(), ":x": str("x"), ":one": num(1),
		":yx": strs("y", "x"), ":l": list(str("x"), num("1.0"), object(attributes{"k": str("v")})), ":d": str("d"), ":v": str("v"),
		":S": str("S"), ":M": str("M"), ":L": str("L"),
	}
	conditions := func(w world, want bool, expressions ...string) {
		w.put(subject)
		for _, e := range expressions {
			got, err := w.met(e, values)
			require.NoError(w.t, err, e)
			require.Equal(w.t, want, got, e)
		}
	}
	return []row{
		{"D2 conditions that hold", func(w world) {
			conditions(w, true,
				"attribute_exists(s)", "attribute_exists(m.deeper.deep)", "attribute_exists(l[2].k)", "attribute_not_exists(q)",
				"attribute_not_exists(l[3])", "attribute_not_exists(s.x)", "#s = :hello", "n = :five", "n <> :four", "n > :four", "n < :six",
				"n <= :five", "n >= :five", "n BETWEEN :four AND :six", "n between :five and :five", "n IN (:four, :five)",
				"b = :bytes", "begins_with(b, :by)", "begins_with(s, :hel)", "t = :true", "z = :null", "contains(s, :hel)",
				"contains(ss, :x)", "contains(l, :one)", "contains(ns, :one)", "ss = :yx", "l = :l", "m.k = :seven", "m.deeper.deep = :d",
				"l[2].k = :v", "size(s) = :five", "size(ss) < :four", "size(m) < :four", "attribute_type(s, :S)", "attribute_type(m, :M)",
				"NOT attribute_exists(q)", "q <> :x", "n = :five AND NOT s = :x", "s = :x OR n = :five",
				"s = :x AND s = :x OR n = :five", "NOT (s = :x OR n = :four)", ":four < n", "#dash = :one",
				"s <> n", "n = n", "  (n = :five)  ", "m.k>n")
		}},
		{"D2 conditions that do not hold", func(w world) {
			conditions(w, false,
				"attribute_not_exists(s)", "attribute_exists(q)", "attribute_exists(s[0])", "attribute_exists(m.l[0])", "s = :five", "q = :x",
				"q < :six", "n < :hello", "n BETWEEN :six AND :seven", "n IN (:four, :six)", "begins_with(n, :hel)", "begins_with(s, :by)",
				"contains(n, :one)", "contains(ss, :one)", "size(n) = :one", "size(q) < :six", "attribute_type(s, :L)", "NOT n = :five",
				"s = :hello AND n = :four", "(s = :hello OR n = :five) AND n = :four", "q = q", "t < n")
		}},
		{"D2 expressions that are no conditions", func(w world) {
			w.put(subject)
			for _, e := range []string{
				"", " ", "n", "n =", "= :five", "n = :five AND", "n == :five", "(n = :five", "n = :five)", "nonsense(n)", "attribute_exists(n, n)",
				"attribute_exists(:five)", "attribute_exists()", "contains(s)", "n IN ()", "n BETWEEN :four", "l[x] = :one", "l[-1] = :one",
				"n = 5", "n = 'x'", "status = :one", "Timestamp = :one", "n = :missing", "#missing = :one", "m..k = :seven", "!n = :five",
				"n & :five", "n BETWEEN :six AND :four", "n BETWEEN :four AND :hello", "contains(s, s)",
				"begins_with(s, :five)", "NOT", "size(s)",
			} {
				_, err := w.met(e, values)
				require.Equal(w.t, validation, code(err), "%q", e)
			}
		}},
		{"D2 a constant without an order cannot be compared by one", func(w world) {
			w.put(subject)
			for _, e := range []string{"t < :true", "z >= :null", "l > :l", "ss BETWEEN :yx AND :yx", ":true < n"} {
				_, err := w.met(e, values)
				require.Equal(w.t, validation, code(err), e)
				require.ErrorContains(w.t, err, "Incorrect operand type for operator or function; operator: ", e)
			}
		}},
		{"D2 an attribute type has one of ten names", func(w world) {
			w.put(subject)
			for _, e := range []string{"attribute_type(s, :x)", "attribute_type(s, :one)"} {
				_, err := w.met(e, values)
				require.Equal(w.t, validation, code(err), e)
			}
		}},
		{"D2 what is wrong with an expression is said", func(w world) {
			w.put(subject)
			for e, message := range map[string]string{
				"n == :five":     `Syntax error; token: "=", near: "== :five"`,
				"status = :one":  "Attribute name is a reserved keyword; reserved keyword: status",
				"n = :missing":   "An expression attribute value used in expression is not defined; attribute value: :missing",
				"#missing = n":   "An expression attribute name used in the document path is not defined; attribute name: #missing",
				"nonsense(n)":    "Invalid function name; function: nonsense",
				"contains(s, s)": "The first operand must be distinct from the remaining operands",
			} {
				_, err := w.met(e, values)
				require.ErrorContains(w.t, err, message, e)
			}
		}},
		{"D2 placeholders must be used", func(w world) {
			in := w.putInput(key("a", 1))
			in.ConditionExpression = aws.String("attribute_not_exists(pk)")
			in.ExpressionAttributeNames = map[string]string{"#x": "x"}
			_, err := w.client.PutItem(w.ctx, in)
			require.ErrorContains(w.t, err, "Value provided in ExpressionAttributeNames unused in expressions: keys: {#x}")
			in.ExpressionAttributeNames, in.ExpressionAttributeValues = nil, attributes{":x": num(1)}
			_, err = w.client.PutItem(w.ctx, in)
			require.ErrorContains(w.t, err, "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}")
			in.ConditionExpression = nil
			_, err = w.client.PutItem(w.ctx, in)
			require.Equal(w.t, validation, code(err))
		}},
		{"D2 an IN has 100 operands and no more", func(w world) {
			w.put(subject)
			expression := func(n int) string { return "n IN (" + strings.Repeat(":five, ", n-1) + ":five)" }
			got, err := w.met(expression(100), values)
			require.NoError(w.t, err)
			require.True(w.t, got)
			_, err = w.met(expression(101), values)
			require.Equal(w.t, validation, code(err))
		}},
		{"D2 a refused put shows the old item where it is asked to", func(w world) {
			w.put(with(key("a", 1), "x", str("old")))
			in := w.putInput(with(key("a", 1), "x", str("new")))
			in.ConditionExpression = aws.String("attribute_not_exists(pk)")
			_, err := w.client.PutItem(w.ctx, in)
			var failed *types.ConditionalCheckFailedException
			require.ErrorAs(w.t, err, &failed)
			require.Empty(w.t, failed.Item)
			in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
			_, err = w.client.PutItem(w.ctx, in)
			require.ErrorAs(w.t, err, &failed)
			require.Equal(w.t, with(key("a", 1), "x", str("old")), failed.Item)
			require.Equal(w.t, str("old"), w.get(key("a", 1))["x"])
		}},
		{"D2 a put and a delete return what they replaced", func(w world) {
			in := w.putInput(with(key("a", 1), "x", num(1)))
			in.ReturnValues = types.ReturnValueAllOld
			out, err := w.client.PutItem(w.ctx, in)
			require.NoError(w.t, err)
			require.Empty(w.t, out.Attributes)
			out, err = w.client.PutItem(w.ctx, in)
			require.NoError(w.t, err)
			require.Equal(w.t, in.Item, out.Attributes)
			remove := &dynamodb.DeleteItemInput{TableName: &w.table, Key: key("a", 1), ReturnValues: types.ReturnValueAllOld}
			gone, err := w.client.DeleteItem(w.ctx, remove)
			require.NoError(w.t, err)
			require.Equal(w.t, in.Item, gone.Attributes)
			gone, err = w.client.DeleteItem(w.ctx, remove)
			require.NoError(w.t, err, "deleting what is absent is fine")
			require.Empty(w.t, gone.Attributes)
			in.ReturnValues = types.ReturnValueAllNew
			_, err = w.client.PutItem(w.ctx, in)
			require.ErrorContains(w.t, err, "ReturnValues can only be ALL_OLD or NONE")
		}},
		{"D2 a projection keeps parts of an item", func(w world) {
			w.put(subject)
			for expression, want := range map[string]attributes{
				"s, n":              {"s": str("hello"), "n": num(5)},
				"pk, q":             {"pk": str("a")},
				"m.deeper.deep":     {"m": object(attributes{"deeper": object(attributes{"deep": str("d")})})},
				"l[2].k, l[0]":      {"l": list(str("x"), object(attributes{"k": str("v")}))},
				"l[5], m.x, s.x":    {},
				"#dash":             {"with-dash.and dot": num(1)},
				"m.k,m.deeper.deep": {"m": object(attributes{"k": num(7), "deeper": object(attributes{"deep": str("d")})})},
			} {
				in := &dynamodb.GetItemInput{TableName: &w.table, Key: key("a", 1), ProjectionExpression: aws.String(expression)}
				if strings.Contains(expression, "#dash") {
					in.ExpressionAttributeNames = map[string]string{"#dash": "with-dash.and dot"}
				}
				out, err := w.client.GetItem(w.ctx, in)
				require.NoError(w.t, err, expression)
				require.Len(w.t, out.Item, len(want), expression)
				for name, v := range want {
					require.Equal(w.t, v, out.Item[name], expression)
				}
			}
			for _, expression := range []string{"s, s", "m, m.k", "s,", "m.k n", "status"} {
				_, err := w.client.GetItem(w.ctx, &dynamodb.GetItemInput{TableName: &w.table, Key: key("a", 1), ProjectionExpression: aws.String(expression)})
				require.Equal(w.t, validation, code(err), expression)
			}
		}},
	}
}
