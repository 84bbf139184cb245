package cloudevents

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

func TestDataIsEmbeddedWhereEveryReaderFindsItsBytes(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, data, want string
	}{
		"JSON":                           {"application/json", `{"b":1,"b":[1.0]}`, `,"data":{"b":1,"b":[1.0]}`},
		"JSON of no stated type":         {"", `1`, `,"data":1`},
		"a +json type":                   {"application/vnd.x+json", `1`, `,"data":1`},
		"a pair of surrogates":           {"", `"\ud83d\ude00"`, `,"data":"\ud83d\ude00"`},
		"a backslash before a u":         {"", `"\\ud800"`, `,"data":"\\ud800"`},
		"half a pair":                    {"", `"\ud800"`, ""},
		"half a pair at the end":         {"", `"\ud83d"`, ""},
		"half a pair before an escape":   {"", `"\ud83d\n\ude00"`, ""},
		"half a pair before a character": {"", `"\ud83d\u0041"`, ""},
		"the second half":                {"", `"\udc00"`, ""},
		"the halves in the wrong order":  {"", `"\ude00\ud83d"`, ""},
		"JSON on lines of its own":       {"", "{\n}", ""},
		"JSON with space around it":      {"", " {}", ""},
		"JSON that is not shown whole":   {"", "\"\u200d\"", ""},
		"what is no JSON":                {"application/json", "{", ""},
		"no bytes of JSON":               {"application/json", "", `,"data_base64":""`},
		"text":                           {"text/plain", "a\n\"b\"\u202e", `,"data":"a\u000a\"b\"\u202e"`},
		"no text":                        {"text/plain", "", `,"data":""`},
		"bytes":                          {"application/octet-stream", "\xff\x00", `,"data_base64":"/wA="`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == "" {
				c.want = `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(c.data)) + `"`
			}
			require.Equal(t, c.want, string(AppendData(nil, c.contentType, []byte(c.data))))
		})
	}
}

// FuzzEmbeds holds what is embedded against a strict parser: jsontext refuses
// invalid UTF-8 and lone surrogates, as CloudEvents do.
func FuzzEmbeds(f *testing.F) {
	for _, seed := range []string{`{"a":"\ud83d\ude00"}`, `"\ud800\u0041"`, `"\\\ud800"`, "\"\xff\"", `[1,2e5,null]`, `"\u00"`, `"\`, "\"\u200b\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := embeds(data)
		strict := jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true))
		plain := len(data) > 0 && data[0] > ' ' && data[len(data)-1] > ' '
		for _, r := range string(data) {
			plain = plain && !Hidden(r)
		}
		require.Equal(t, strict && plain, got, "%q", data)
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\u0000\u202e\U000E0041😀")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip("a value is valid UTF-8")
		}
		var back string
		require.NoError(t, json.Unmarshal(AppendString(nil, s), &back))
		require.Equal(t, s, back)
	})
}
