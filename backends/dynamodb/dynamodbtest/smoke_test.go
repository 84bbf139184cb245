package dynamodbtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	_, c := withTable(t, nil)
	_, err := c.PutItem(t.Context(), putNew(with(key("a", 1), "x", str("y"))))
	require.NoError(t, err)
	_, err = c.PutItem(t.Context(), putNew(with(key("a", 1), "x", str("y"))))
	require.Equal(t, "ConditionalCheckFailedException", code(err))
	it, err := get(t.Context(), c, key("a", 1))
	require.NoError(t, err)
	require.Equal(t, str("y"), it["x"])
	out, err := c.TransactWriteItems(t.Context(), transact(transactPutNew(key("a", 2)), transactPutNew(key("b", 2))))
	require.NoError(t, err)
	require.EqualValues(t, 4, *out.ConsumedCapacity[0].CapacityUnits)
	_, err = c.TransactWriteItems(t.Context(), transact(transactPutNew(key("a", 2)), transactPutNew(key("b", 3))))
	require.Equal(t, []string{"ConditionalCheckFailed", "None"}, reasons(t, err))
	keys, err := sortKeys(t.Context(), c, "a")
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2"}, keys)
}
