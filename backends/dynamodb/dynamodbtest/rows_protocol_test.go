package dynamodbtest_test

import (
	"encoding/json"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

const signature = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0000"

// signed is the head of a request as clients send it.
func signed(operation string) http.Header {
	return http.Header{
		"Content-Type":  {"application/x-amz-json-1.0"},
		"X-Amz-Target":  {"DynamoDB_20120810." + operation},
		"X-Amz-Date":    {"20260101T000000Z"},
		"Authorization": {signature},
	}
}

// exchange sends a request by hand and returns status, error type and body.
func (w world) exchange(header http.Header, body string) (status int, typ string, answer map[string]any) {
	resp, err := w.post(header, body)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, strconv.FormatUint(uint64(crc32.ChecksumIEEE(text)), 10), resp.Header.Get("X-Amz-Crc32"))
	require.NotEmpty(w.t, resp.Header.Get("X-Amzn-Requestid"))
	require.NoError(w.t, json.Unmarshal(text, &answer))
	typ, _ = answer["__type"].(string)
	return resp.StatusCode, typ, answer
}

func protocolRows() []row {
	return []row{
		{"D1 an answer has its checksum and a request ID", func(w world) {
			status, _, answer := w.exchange(signed("ListTables"), `{}`)
			require.Equal(w.t, http.StatusOK, status)
			require.Contains(w.t, answer["TableNames"], w.table)
		}},
		{"D1 an error has its type with a namespace", func(w world) {
			status, typ, _ := w.exchange(signed("DescribeTable"), `{"TableName":"nowhere"}`)
			require.Equal(w.t, http.StatusBadRequest, status)
			require.Equal(w.t, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", typ)
			_, typ, _ = w.exchange(signed("DescribeTable"), `{"TableName":"x"}`)
			require.Equal(w.t, "com.amazon.coral.validate#ValidationException", typ)
		}},
		{"D1 a request without a signature is refused", func(w world) {
			header := signed("ListTables")
			header.Del("Authorization")
			_, typ, _ := w.exchange(header, `{}`)
			require.Equal(w.t, "com.amazon.coral.service#MissingAuthenticationTokenException", typ)
		}},
		{"D1 half a signature is refused", func(w world) {
			header := signed("ListTables")
			header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test")
			_, typ, _ := w.exchange(header, `{}`)
			require.Equal(w.t, "com.amazon.coral.service#IncompleteSignatureException", typ)
		}},
		{"D1 an unknown operation is refused", func(w world) {
			_, typ, _ := w.exchange(signed("Nonsense"), `{}`)
			require.Equal(w.t, "com.amazon.coral.service#UnknownOperationException", typ)
		}},
		{"D1 a body that is no JSON is refused", func(w world) {
			_, typ, _ := w.exchange(signed("GetItem"), `{"TableName":`)
			require.Equal(w.t, "com.amazon.coral.service#SerializationException", typ)
		}},
		{"D1 a member of the wrong type is refused", func(w world) {
			_, typ, _ := w.exchange(signed("GetItem"), `{"TableName":1}`)
			require.Equal(w.t, "com.amazon.coral.service#SerializationException", typ)
		}},
		{"D1 a cancelled transaction spells its message with a capital", func(w world) {
			body := `{"TransactItems":[{"ConditionCheck":{"TableName":"` + w.table + `","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"ConditionExpression":"attribute_exists(pk)"}}]}`
			_, typ, answer := w.exchange(signed("TransactWriteItems"), body)
			require.Equal(w.t, "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", typ)
			require.Equal(w.t, "Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]", answer["Message"])
			require.Equal(w.t, []any{map[string]any{"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}}, answer["CancellationReasons"])
		}},
		{"D1 answers to puts are empty unless more was asked for", func(w world) {
			body := `{"TableName":"` + w.table + `","Item":{"pk":{"S":"a"},"sk":{"N":"1"}}}`
			status, _, answer := w.exchange(signed("PutItem"), body)
			require.Equal(w.t, http.StatusOK, status)
			require.Empty(w.t, answer)
		}},
		{"D2 unknown attribute value types are refused", func(w world) {
			for _, v := range []string{`{}`, `{"S":"a","N":"1"}`} {
				body := `{"TableName":"` + w.table + `","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"x":` + v + `}}`
				_, typ, answer := w.exchange(signed("PutItem"), body)
				require.Equal(w.t, "com.amazon.coral.validate#ValidationException", typ)
				require.True(w.t, strings.HasPrefix(answer["message"].(string), "Supplied AttributeValue "), answer)
			}
		}},
	}
}
