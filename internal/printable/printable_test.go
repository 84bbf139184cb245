package printable

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyWhatCannotBeStoredEverywhereIsAFault(t *testing.T) {
	for text, fault := range map[string]string{
		"":                        "",
		"Order-42 'quoted' %_/\\": "",
		"注文 \u200f e\u0301":       "",
		"\xff":                    "not valid UTF-8",
		"a\nb":                    "U+000A at byte 1",
		"é\x00":                   "U+0000 at byte 2",
		"\x7f":                    "U+007F at byte 0",
		"a\u0085":                 "U+0085 at byte 1",
	} {
		if got := Fault(text); fault == "" {
			require.Empty(t, got, "%q", text)
		} else {
			require.Contains(t, got, fault, "%q", text)
		}
	}
}
