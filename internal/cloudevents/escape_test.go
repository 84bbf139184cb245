package cloudevents

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatATerminalObeysOrHidesIsHidden(t *testing.T) {
	for _, r := range []rune{
		0, '\t', '\n', 0x1b, 0x7f, 0x80, 0x9b, 0xad, 0x34f, 0x61c, 0x115f, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f,
		0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x3164, 0xfeff, 0xffa0, 0xfff9, 0xE0001, 0xE0020, 0xE007F, 0xE0100, 0xE01EF,
	} {
		require.True(t, Hidden(r), "%U", r)
	}
	for _, r := range " ~é日　ا😀\u00a0\u0301\ufe0e\ufe0f\ufffd" {
		require.False(t, Hidden(r), "%U", r)
	}
}

func TestEscapedJSONMeansTheSame(t *testing.T) {
	for _, text := range []string{
		"plain é 日本 ❤\ufe0f", "\u202e", "a\u200bb", "\U000E0041\U000E007F", "\x1b[31m", "\u009b", "\u2028", "\ufeff", "\u00ad", "\U000E0101", "\u3164",
	} {
		plain, err := json.Marshal(map[string]string{text: text})
		require.NoError(t, err)
		escaped := EscapeJSON("{\n\t" + string(plain[1:]) + "\n")
		for _, r := range strings.NewReplacer("\n", "", "\t", "").Replace(escaped) {
			require.False(t, Hidden(r), "%U in %q", r, escaped)
		}
		var back map[string]string
		require.NoError(t, json.Unmarshal([]byte(escaped), &back))
		require.Equal(t, map[string]string{text: text}, back)
	}
	require.Equal(t, "\"❤\ufe0f 日本　\"", EscapeJSON("\"❤\ufe0f 日本　\""), "what is shown stays as it is")
}
