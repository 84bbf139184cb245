package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Zero-width and tag characters are invisible, and carry what nobody sees: no
// JSON that a command prints holds one, and what it means is unchanged.
func TestNoJSONOutputHoldsAHiddenCharacter(t *testing.T) {
	const hidden = "a\u200b\U000E0041\u202e\ufeff\u00ad"
	url, copied := sqliteURL(t), sqliteURL(t)
	stream, data := "cart-"+hidden, `{"k":"`+hidden+`"}`
	ok(t, "", "append", url, stream, "--type", "T"+hidden, "--data", data, "--meta", "k"+hidden+"="+hidden)
	ok(t, "", "append", url, stream, "--type", "T", "--data", hidden, "--content-type", "text/plain")
	for _, args := range [][]string{
		{"read", url, "--all"},
		{"read", url, stream},
		{"export", url},
		{"stats", url},
		{"caps", url},
		{"append", url, stream, "--type", "T", "--data", "1"},
	} {
		out := ok(t, "", append(args, "--json")...)
		require.NotContains(t, out, hidden[1:])
		for _, r := range out {
			require.False(t, unicode.Is(unicode.Cf, r), "%v prints %U", args, r)
		}
		for text := range strings.Lines(out) {
			require.True(t, json.Valid([]byte(text)), text)
		}
	}
	ok(t, ok(t, "", "export", url), "import", copied)
	require.Contains(t, ok(t, "", "verify", url, copied), `"equal":true`, "byte by byte")
	var shown struct{ Subject, Type, Data string }
	second := strings.Split(ok(t, "", "read", copied, stream), "\n")[1]
	require.NoError(t, json.Unmarshal([]byte(second), &shown))
	require.Equal(t, []string{stream, hidden}, []string{shown.Subject, shown.Data})
}

func TestTextOutputEndsBetweenCharacters(t *testing.T) {
	for _, character := range []string{"x", "é", "日", "😀"} {
		for before := range 4 {
			text := strings.Repeat("y", before) + strings.Repeat(character, 600)
			url := sqliteURL(t)
			ok(t, text, "append", url, "a-1", "--type", "T", "--content-type", "text/plain")
			out := ok(t, "", "read", url, "a-1", "--text")
			require.Contains(t, out, " T "+strings.Repeat("y", before)+character, "it is not quoted as bytes that are no text")
			require.True(t, strings.HasSuffix(out, character+"…\n"), out)
		}
	}
	require.Equal(t, "\xff\xbf\xbf\xbf\xbf", beginning([]byte("\xff\xbf\xbf\xbf\xbf\xbf"), 5), "no text is cut where it is told to be")
}

func TestTheLineBreakAfterPipedJSONIsNotPartOfTheData(t *testing.T) {
	for name, test := range map[string]struct{ stdin, contentType, want string }{
		"JSON":                          {"{\"a\":1}\n", "application/json", `{"a":1}`},
		"JSON of Windows":               {"{\"a\":1}\r\n", "application/json", `{"a":1}`},
		"JSON without one":              {`{"a":1}`, "application/json", `{"a":1}`},
		"JSON with two":                 {"{}\n\n", "application/vnd.x+json", "{}\n"},
		"text keeps every byte":         {"a\n", "text/plain", "a\n"},
		"bytes keep every byte":         {"\x00\n", "application/octet-stream", "\x00\n"},
		"data of --data keeps its byte": {"", "application/json", "{}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			url := sqliteURL(t)
			args := []string{"append", url, "a-1", "--type", "T", "--content-type", test.contentType}
			if test.stdin == "" {
				args = append(args, "--data", test.want)
			}
			ok(t, test.stdin, args...)
			require.Equal(t, test.want, storedData(t, url))
		})
	}
}

// storedData returns the data of the first event of a store.
func storedData(t *testing.T, url string) string {
	t.Helper()
	store, err := all.Open(t.Context(), url, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		return string(event.Data)
	}
	return ""
}

func TestAnIDInCapitalsIsTheSameIDEverywhere(t *testing.T) {
	url := sqliteURL(t)
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	add := []string{"append", url, "a-1", "--type", "T", "--data", "1", "--id"}
	ok(t, "", append(add, strings.ToUpper(id))...)
	require.Contains(t, ok(t, "", append(add, id)...), `"duplicate":true`)
	text := `{"specversion":"1.0","id":"` + strings.ToUpper(id) + `","source":"switchyard:x","type":"T","subject":"a-1","data":1}`
	require.JSONEq(t, `{"read":1,"stored":0,"duplicates":1}`, ok(t, text, "import", url))
	for _, wrong := range []string{"{" + id + "}", strings.ReplaceAll(id, "-", ""), "00000000-0000-0000-0000-000000000000", "7"} {
		got := call(t, "", append(add, wrong)...)
		require.Equal(t, exitUsage, got.code, wrong)
		require.Contains(t, got.err, "is not a UUID such as")
	}
}

// cutOff ends the work at its first output, as Ctrl-C does.
type cutOff struct{ end func() }

func (c cutOff) Write(p []byte) (int, error) {
	c.end()
	return len(p), nil
}

func TestAnExportToStandardOutputThatIsInterruptedSaysHowFarItCame(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(10, 0, 3000), "import", url)
	ctx, cancel := context.WithCancel(t.Context())
	var errs strings.Builder
	code := run(ctx, []string{"export", url}, streams{in: strings.NewReader(""), out: cutOff{cancel}, err: &errs})
	require.Equal(t, exitFailed, code)
	require.Regexp(t, `^switchyard: interrupted after [\d,]+ events\n$`, errs.String())
}

func TestAQuietCopyDoesNotTellWhatItChecks(t *testing.T) {
	from, to := sqliteURL(t), sqliteURL(t)
	text := lines(10, 0, 2100)
	ok(t, text, "import", from)
	ok(t, text, "import", to)
	got := call(t, "", "copy", from, to, "--quiet")
	require.Equal(t, outcome{exitOK, `{"duplicates":0,"read":0,"stored":0}` + "\n", ""}, got)
}
