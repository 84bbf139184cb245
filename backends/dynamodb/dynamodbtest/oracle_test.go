package dynamodbtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// differences are the rows that dynoxide does not share, and why the double is
// right.
func differences() map[string]string {
	return map[string]string{
		"D2 a constant without an order cannot be compared by one": "the developer guide orders strings, numbers and binaries only; dynoxide answers false",
		"D2 an attribute type has one of ten names":                "the developer guide lists ten; dynoxide answers false",
		"D2 an IN has 100 operands and no more":                    "the developer guide says up to 100 values; dynoxide takes more",
		"D8 the scanned count is that of the page":                 "ScannedCount is the number of items evaluated; where a page ends by its size dynoxide counts the first item of the next one too",
		"D2 point-in-time recovery is kept":                        "dynoxide does not know the operation",
	}
}

// A double that is held against its own authors' reading alone may share their
// errors. dynoxide's authors check it against the service.
func TestDynoxideAgrees(t *testing.T) {
	server := testservers.PrivateDynoxide(t, testservers.DynoxideOptions{})
	left := differences()
	for i, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			reason, differs := left[r.name]
			delete(left, r.name)
			if !differs {
				r.run(newWorld(t.Context(), t, server.URL(), i))
				return
			}
			wrong := verdict(r, func(rec require.TestingT) world { return newWorld(t.Context(), rec, server.URL(), i) })
			require.NotEmpty(t, wrong, "dynoxide agrees now; it was said of it: %s", reason)
		})
	}
	require.Empty(t, left, "differences in rows that do not exist")
}
