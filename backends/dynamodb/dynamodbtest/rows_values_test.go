package dynamodbtest_test

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

func valueRows() []row {
	return []row{
		{"D2 every type comes back as it was sent", func(w world) {
			it := with(key("a", 1),
				"s", str("é\x00\"\\ \u202e"), "n", num("-12.5"), "b", bin([]byte{0, 255, 1}), "t", boolean(true), "f", boolean(false),
				"z", null(), "l", list(str("x"), num(1), list()), "m", object(attributes{"k": object(attributes{"": str("")})}))
			delete(it["m"].(*types.AttributeValueMemberM).Value["k"].(*types.AttributeValueMemberM).Value, "")
			w.put(it)
			require.Equal(w.t, it, w.get(key("a", 1)))
		}},
		{"D2 sets come back whole", func(w world) {
			w.put(with(key("a", 1), "ss", strs("b", "a"), "ns", nums("2", "1.0"), "bs", &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}}))
			got := w.get(key("a", 1))
			require.ElementsMatch(w.t, []string{"a", "b"}, got["ss"].(*types.AttributeValueMemberSS).Value)
			require.ElementsMatch(w.t, []string{"1", "2"}, got["ns"].(*types.AttributeValueMemberNS).Value)
			require.ElementsMatch(w.t, [][]byte{{1}, {2}}, got["bs"].(*types.AttributeValueMemberBS).Value)
		}},
		{"D2 sets are neither empty nor hold a member twice", func(w world) {
			require.Equal(w.t, validation, code(w.tryPut(with(key("a", 1), "x", strs()))))
			require.ErrorContains(w.t, w.tryPut(with(key("a", 1), "x", strs("a", "a"))), "contains duplicates")
			require.ErrorContains(w.t, w.tryPut(with(key("a", 1), "x", nums("1", "1.0"))), "contains duplicates")
		}},
		{"D2 a nil binary is refused", func(w world) {
			err := w.tryPut(with(key("a", 1), "x", bin(nil)))
			require.ErrorContains(w.t, err, "Supplied AttributeValue is empty")
		}},
		{"D2 numbers come back plain and trimmed", func(w world) {
			for in, out := range map[string]string{
				"0": "0", "-0": "0", "0.0": "0", "007": "7", "1.50": "1.5", "1e3": "1000", "1E+3": "1000", "12e-1": "1.2",
				".5": "0.5", "5.": "5", "+3": "3", "-0.10": "-0.1", "18446744073709551615": "18446744073709551615",
				"12345678901234567890123456789012345678":   "12345678901234567890123456789012345678",
				"0.12345678901234567890123456789012345678": "0.12345678901234567890123456789012345678",
				"9.9e125": "99" + strings.Repeat("0", 124),
				"1e-130":  "0." + strings.Repeat("0", 129) + "1",
			} {
				w.put(with(key("a", 1), "x", num(in)))
				require.Equal(w.t, num(out), w.get(key("a", 1))["x"], in)
			}
		}},
		{"D2 numbers outside 38 digits and the range are refused", func(w world) {
			for in, message := range map[string]string{
				"123456789012345678901234567890123456789": "more than 38 significant digits",
				"1e126":  "Number overflow",
				"-1e126": "Number overflow",
				"1e-131": "Number underflow",
				"abc":    "cannot be converted to a numeric value",
				"1e":     "cannot be converted to a numeric value",
				"1 x":    "cannot be converted to a numeric value",
				"0x1":    "cannot be converted to a numeric value",
				"NaN":    "cannot be converted to a numeric value",
			} {
				err := w.tryPut(with(key("a", 1), "x", num(in)))
				require.Equal(w.t, validation, code(err), in)
				require.ErrorContains(w.t, err, message, in)
			}
		}},
		{"D2 an empty number is refused", func(w world) {
			require.Equal(w.t, validation, code(w.tryPut(with(key("a", 1), "x", num("")))))
		}},
		{"D3 two spellings of a letter are two keys", func(w world) {
			w.put(key("\u00e9", 1), key("e\u0301", 2))
			require.Equal(w.t, []string{"1"}, w.sortKeys("\u00e9"))
			require.Equal(w.t, []string{"2"}, w.sortKeys("e\u0301"))
		}},
		{"D3 numbers as sort keys have the order of their values", func(w world) {
			sorted := []string{"-1000000000000000000000", "-20", "-3", "-0.5", "0", "0.001", "0.5", "1", "9", "10", "10.5", "99999999999999999999"}
			for i := range sorted {
				w.put(key("a", sorted[(i*7+3)%len(sorted)]))
			}
			require.Equal(w.t, sorted, w.sortKeys("a"))
		}},
		{"D3 strings as sort keys have the order of their bytes", func(w world) {
			name := w.table + "-text"
			w.createTextTable(name)
			w.table = name
			sorted := []string{"\x00", "A", "AA", "B", "Z", "a", "ab", "é", "\ufb00", "\U00010000"}
			for i := range sorted {
				w.put(attributes{"pk": str("a"), "sk": str(sorted[(i*7+3)%len(sorted)])})
			}
			var got []string
			for _, it := range w.query(w.queryInput("a")).Items {
				got = append(got, it["sk"].(*types.AttributeValueMemberS).Value)
			}
			require.Equal(w.t, sorted, got)
		}},
	}
}
