package dynamodbtest

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever comes over the wire is answered, and the server goes on.
func FuzzRequest(f *testing.F) {
	const key = `"Key":{"pk":{"S":"a"},"sk":{"N":"1"}}`
	for operation, bodies := range map[string][]string{
		"GetItem":                   {`{"TableName":"events",` + key + `,"ProjectionExpression":"a.b[0]"}`, `{"TableName":"events"}`, `{}`, `null`, `[]`},
		"PutItem":                   {`{"TableName":"events","Item":{"pk":{"S":"a"},"sk":{"N":"2"},"l":{"L":[{"M":{}},{"NULL":true}]}},"ConditionExpression":"attribute_not_exists(pk)"}`, `{"TableName":"events"}`},
		"UpdateItem":                {`{"TableName":"events",` + key + `,"UpdateExpression":"SET x = :v ADD n :v","ExpressionAttributeValues":{":v":{"N":"1"}},"ReturnValues":"UPDATED_NEW"}`, `{"TableName":"events"}`},
		"DeleteItem":                {`{"TableName":"events",` + key + `,"ReturnValues":"ALL_OLD"}`},
		"Query":                     {`{"TableName":"events","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}},"Limit":1,"ExclusiveStartKey":{"pk":{"S":"a"},"sk":{"N":"0"}}}`, `{"TableName":"events"}`},
		"Scan":                      {`{"TableName":"events","TotalSegments":2,"Segment":1}`, `{"TableName":"events","Segment":-1}`},
		"BatchGetItem":              {`{"RequestItems":{"events":{"Keys":[{"pk":{"S":"a"},"sk":{"N":"1"}}]}}}`, `{"RequestItems":{"events":{}}}`, `{}`},
		"BatchWriteItem":            {`{"RequestItems":{"events":[{"PutRequest":{"Item":{"pk":{"S":"a"},"sk":{"N":"1"}}}},{"DeleteRequest":{}},{}]}}`, `{}`},
		"TransactGetItems":          {`{"TransactItems":[{"Get":{"TableName":"events",` + key + `}},{}]}`, `{}`},
		"TransactWriteItems":        {`{"ClientRequestToken":"t","TransactItems":[{"Put":{"TableName":"events","Item":{"pk":{"S":"a"},"sk":{"N":"3"}}}},{"Update":{"TableName":"events"}},{"ConditionCheck":{}}]}`, `{"TransactItems":[{"Delete":{"TableName":"events",` + key + `}}]}`, `{}`},
		"CreateTable":               {`{"TableName":"more","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"B"}],"BillingMode":"PAY_PER_REQUEST"}`, `{}`},
		"DescribeTable":             {`{"TableName":"events"}`, `{}`},
		"UpdateTable":               {`{"TableName":"events"}`},
		"ListTables":                {`{"Limit":0}`, `{}`},
		"UpdateTimeToLive":          {`{"TableName":"events","TimeToLiveSpecification":{"AttributeName":"a","Enabled":true}}`, `{}`},
		"DescribeTimeToLive":        {`{"TableName":"events"}`},
		"DescribeContinuousBackups": {`{"TableName":"events"}`},
		"UpdateContinuousBackups":   {`{"TableName":"events"}`},
		"TagResource":               {`{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/events"}`, `{}`},
		"UntagResource":             {`{}`},
		"ListTagsOfResource":        {`{}`},
		"DeleteTable":               {`{"TableName":"events"}`},
		"Nonsense":                  {`{}`},
	} {
		for _, body := range bodies {
			f.Add(operation, body)
		}
	}
	f.Fuzz(func(t *testing.T, operation, body string) {
		s := &Server{store: newStore((*Options)(nil).withDefaults())}
		s.hooks.Store(&Hooks{})
		for _, first := range []struct{ operation, body string }{
			{"CreateTable", `{"TableName":"events","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],
				"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"}]}`},
			{"PutItem", `{"TableName":"events","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"n":{"N":"1"}}}`},
		} {
			_, err := s.carryOut(context.Background(), first.operation, []byte(first.body))
			require.Nil(t, err)
		}
		for range 2 {
			answer, refused := s.carryOut(context.Background(), operation, []byte(body))
			if refused != nil {
				require.Equal(t, http.StatusBadRequest, refused.Status, "%v", refused)
				require.NotEmpty(t, refused.body())
				continue
			}
			_, err := marshalAnswer(answer)
			require.NoError(t, err)
		}
		for name, table := range s.store.tables {
			for _, p := range table.partitions {
				for _, r := range p.rows {
					require.NotNil(t, r.current, "an empty row is left in %s", name)
					require.Nil(t, table.key.checkItem(r.current))
				}
			}
		}
	})
}
