package marten

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestWhatJsonbCannotHoldIsRefusedBeforeItIsSent(t *testing.T) {
	server, err := testservers.StartPostgres(t.Context(), testservers.PostgresOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	refused := 0
	for _, text := range []string{
		`{}`, `[]`, `null`, `"x"`, `1`, `-0`, `1.10e2`, `1e1000`, `1e131000`, `1e131073`, `1e-16000`, `1e-17000`, `0.5e-16383`, `123456789012345678901234567890.5`,
		`"\u0000"`, `"\\u0000"`, `"\\\u0000"`, `{"\u0000": 1}`, `{"a": [{"b": "x\u0000"}]}`, `"\u0001"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00"`, `"\ud83dx"`, `"\ud83d\ud83d"`, `"\ud83d\n"`,
		`{"a": 1, "a": 2}`, `"ünïcode ✓ 日本"`, `{"u": "\u00e9\u20ac"}`, `"\"\\u0000"`, `"e1000000"`, `[1e5,2E+5,3e-5]`, `"\uD83D\uDE00"`, `"\uDE00\uD83D"`,
	} {
		var stored string
		held := conn.QueryRow(t.Context(), `select $1::text::jsonb::text`, text).Scan(&stored)
		checked := checkJSON([]byte(text))
		require.Equal(t, held == nil, checked == nil, "%s: PostgreSQL says %v, we say %v", text, held, checked)
		if checked != nil {
			refused++
		}
	}
	require.Greater(t, refused, 8)
}

// A jsonb writes numbers without their exponents: a small event could be stored that no
// reader would get past.
func TestAnEventThatCouldNotBeReadIsNotStored(t *testing.T) {
	for text, refused := range map[string]bool{
		`[` + strings.Repeat(`1e131000,`, 63) + `1]`: false, `[` + strings.Repeat(`1e131000,`, 65) + `1]`: true,
		`[` + strings.Repeat(`1e-16000,`, 520) + `1]`: false, `[` + strings.Repeat(`1e-16000,`, 530) + `1]`: true,
		`[` + strings.Repeat(`1.7976931348623157e308,`, 11_000) + `1]`: false, // the largest event of doubles by the portable limits
		`[` + strings.Repeat(`123.456e-2,`, 100_000) + `1]`:            false,
	} {
		err := checkJSON([]byte(text))
		require.Equal(t, refused, err != nil, "%.40s: %v", text, err)
		if refused {
			require.ErrorContains(t, err, "as texts")
		}
	}
}

func TestAnAliasIsWhatMartenMakesOfAName(t *testing.T) {
	for name, want := range map[string]string{
		"OrderPlaced": "order_placed", "HTTPRequestSent": "http_request_sent", "Order2": "order_2", "OrderV2Placed": "order_v2_placed",
		"Order_Placed": "order___placed", "Outer+Inner": "inner", "Compacted<OrderView>": "Compacted<OrderView>", "order": "order",
	} {
		require.Equal(t, want, alias(name), name)
	}
}

func TestAPatternMatchesEverythingButOneText(t *testing.T) {
	pattern := regexp.MustCompile(`\A(?:` + anythingBut(tombstoneStream) + `)\z`)
	require.False(t, pattern.MatchString(tombstoneStream))
	for i := range tombstoneStream {
		require.Equal(t, i > 0, pattern.MatchString(tombstoneStream[:i]))
		require.True(t, pattern.MatchString(tombstoneStream[:i]+"\n"+tombstoneStream[i+1:]))
	}
	for _, name := range []string{tombstoneStream + "s", strings.ToUpper(tombstoneStream), "x" + tombstoneStream, "ß", tombstoneStream + "\n"} {
		require.True(t, pattern.MatchString(name), name)
	}
}

// Every table's number is the shape of a fixture, so the fixtures must be there.
func TestTheFixturesAreComplete(t *testing.T) {
	entries, err := os.ReadDir("testdata/fixtures")
	require.NoError(t, err)
	for _, entry := range entries {
		for _, file := range []string{"schema.facts.json", "mt_streams.jsonl", "mt_events.jsonl", "expected.jsonl"} {
			info, err := os.Stat(fmt.Sprintf("testdata/fixtures/%s/%s", entry.Name(), file))
			require.NoError(t, err)
			require.Positive(t, info.Size())
		}
	}
}

func TestHeadersThatAreNoTextsReadAsTheirJSON(t *testing.T) {
	column := "by column"
	metadata, err := decodeMetadata([]byte(`{"text": "a\"b", "empty": "", "null": null, "number": 1.50, "truth": true, "list": ["x", null], "object": {"x": "y"}, "word": "null", "$correlationId": "by header"}`), &column, nil, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"text": `a"b`, "empty": "", "null": "null", "number": "1.50", "truth": "true", "list": `["x", null]`, "object": `{"x": "y"}`, "word": "null",
		"$correlationId": "by column",
	}, metadata)
	for _, headers := range []string{`null`, `{}`} {
		metadata, err = decodeMetadata([]byte(headers), nil, nil, nil)
		require.NoError(t, err)
		require.Nil(t, metadata)
	}
	for _, headers := range []string{`"text"`, `[]`, `1`, `true`} { // which stop .NET's daemon too
		_, err = decodeMetadata([]byte(headers), nil, nil, nil)
		require.ErrorContains(t, err, "no JSON object")
	}
}
