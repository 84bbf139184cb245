package sqlite

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestMetadataIsKeptExactly(t *testing.T) {
	tests := []map[string]string{
		nil,
		{},
		{"a": ""},
		{"": "an empty key"},
		{"b": "2", "a": "1", "$correlationId": "0198c0de-0000-7000-8000-000000000042"},
		{"a": `","b":"`, `"`: `\`, `\`: `"`},
		{"a": "\x00\x1f\x7f\n"},
		{"ключ": "значение", "right-to-left": "\u200f", "line": "\u2028", "html": "<&>"},
		{"NFC": "é", "NFD": "e\u0301"},
		{"{": "}", ":": ",", " ": "  "},
	}
	for _, want := range tests {
		text, err := encodeMetadata(want)
		require.NoError(t, err)
		if want == nil {
			require.Nil(t, text)
			continue
		}
		got, err := decodeMetadata(text.(string))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestMetadataThatIsNoObjectOfStringsIsAnError(t *testing.T) {
	for _, text := range []string{``, `{`, `{}}`, `{"a"}`, `{"a":1}`, `{"a":"b"`, `{"a":"b",}`, `{"a":"b""c":"d"}`, `[]`, `"a"`} {
		_, err := decodeMetadata(text)
		require.Error(t, err, text)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add("$correlationId", "0198c0de", "k", "v")
	f.Add("a", `","b":"`, `"`, `\`)
	f.Add("é", "\x00", "<", "\u2028")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		for _, s := range []string{k1, v1, k2, v2} {
			if !utf8.ValidString(s) {
				t.Skip("refused before it gets here")
			}
		}
		want := map[string]string{k1: v1, k2: v2}
		text, err := encodeMetadata(want)
		require.NoError(t, err)
		got, err := decodeMetadata(text.(string))
		require.NoError(t, err)
		require.Equal(t, want, got)
		var standard map[string]string
		require.NoError(t, json.Unmarshal([]byte(text.(string)), &standard))
		require.Equal(t, want, standard)
	})
}

func FuzzMetadataText(f *testing.F) {
	f.Add(`{"a":"b","c":"d"}`)
	f.Add(`{"a":"b",}`)
	f.Add(`{"a":"\u0041"}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := decodePlain(text)
		if !ok {
			return
		}
		// Whatever the fast way accepts, the standard library reads the same.
		var standard map[string]string
		require.NoError(t, json.Unmarshal([]byte(text), &standard))
		require.Equal(t, standard, got)
	})
}

// BenchmarkMetadata is why the plain form is read and written by hand:
//
//	go test ./backends/sqlite -run '^$' -bench '^BenchmarkMetadata$'
func BenchmarkMetadata(b *testing.B) {
	metadata := map[string]string{"$correlationId": "0198c0de-0000-7000-8000-000000000042", "$causationId": "0198c0de-0000-7000-8000-000000000043"}
	text, err := json.Marshal(metadata)
	require.NoError(b, err)
	for name, work := range map[string]func() error{
		"write/plain": func() error { _, err := encodeMetadata(metadata); return err },
		"write/json":  func() error { _, err := encodeAny(metadata); return err },
		"read/plain":  func() error { _, err := decodeMetadata(string(text)); return err },
		"read/json":   func() error { return json.Unmarshal(text, new(map[string]string)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := work(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
