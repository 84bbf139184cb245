package main

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestASealedStoreRefusesAppendsUntilItIsUnsealed(t *testing.T) {
	url := sqliteURL(t)
	ok(t, "", "append", url, "order-1", "--type", "Placed", "--data", "1", "--id", testID)
	require.Contains(t, ok(t, "", "seal", url, "--reason", "moved to PostgreSQL", "--text"), "sealed after position 1: moved to PostgreSQL")

	refused := call(t, "", "append", url, "order-1", "--type", "Placed", "--data", "2")
	require.Equal(t, exitSealed, refused.code)
	require.Contains(t, refused.err, "the store is sealed: moved to PostgreSQL")
	require.Empty(t, refused.out)
	require.Contains(t, ok(t, "", "append", url, "order-1", "--type", "Placed", "--data", "1", "--id", testID), `"duplicate":true`, "it was stored before the seal")
	imported := call(t, line("order-2", 1), "import", url)
	require.Equal(t, exitSealed, imported.code)
	require.Contains(t, imported.err, "moved to PostgreSQL")

	require.Contains(t, ok(t, "", "seal", url, "--reason", "another"), `"reason":"moved to PostgreSQL"`, "the first reason is kept")
	require.Contains(t, ok(t, "", "stats", url), `"sealed":true,"sealReason":"moved to PostgreSQL"`)
	require.Regexp(t, `(?m)^sealed +moved to PostgreSQL$`, ok(t, "", "stats", url, "--text"))

	require.Contains(t, ok(t, "", "unseal", url), `"sealed":false`)
	require.Contains(t, ok(t, "", "unseal", url, "--text"), "takes appends; its last event is at position 1")
	ok(t, "", "append", url, "order-1", "--type", "Placed", "--data", "2")
	require.NotRegexp(t, `(?m)^sealed`, ok(t, "", "stats", url, "--text"))
}

func TestASealNeedsAReasonAndAStoreThatIsThere(t *testing.T) {
	url := sqliteURL(t)
	got := call(t, "", "seal", url)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "--reason")
	got = call(t, "", "seal", url, "--reason", "x")
	require.NotZero(t, got.code, "a mistyped name makes no store")
	require.NotZero(t, call(t, "", "stats", url).code)
}

func TestAnUnknownOutcomeIsPrintedWithTheIDThatSettlesIt(t *testing.T) {
	unknown := &eventstore.OpError{Op: "append to stream", Err: &eventstore.UnknownOutcomeError{
		Parts: []eventstore.StreamAppend{{Stream: "order-1", Events: []eventstore.Event{{ID: uuid.MustParse(testID)}}}},
	}}
	for _, asJSON := range []bool{true, false} {
		a, out := testApp(asJSON)
		err := a.printAppended("order-1", eventstore.AppendResult{}, unknown)
		require.Equal(t, exitUnknownOutcome, exitCode(err))
		require.Contains(t, out.String(), testID)
		if asJSON {
			require.JSONEq(t, `{"stream":"order-1","id":"`+testID+`","outcome":"unknown"}`, out.String())
		} else {
			require.Contains(t, out.String(), "--id "+testID)
		}
	}
}
