package cloudevents

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden finds the characters that change how the text around them is shown, or
// are not shown at all: control characters (C0, DEL and C1), line and paragraph
// separators, and Unicode's format and ignorable characters, which are
// bidirectional controls, zero-width spaces and joiners, fillers, tag characters
// and the supplementary variation selectors. The sixteen variation selectors of
// the basic plane stay as they are: every second emoji ends in one.
func Hidden(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	case 0xE0100 <= r && r <= 0xE01EF:
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

// appendEscape appends a character as JSON escapes it.
func appendEscape(b []byte, r rune) []byte {
	if r > 0xFFFF {
		return fmt.Appendf(b, `\u%04x\u%04x`, (r-0x10000)>>10+0xD800, (r-0x10000)&0x3FF+0xDC00)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// EscapeJSON escapes in valid JSON text what a terminal would obey or hide. Such
// a character stands in a string, where its escape means the same; the line breaks
// between values stay.
func EscapeJSON(text string) string {
	isHidden := func(r rune) bool { return r != '\n' && r != '\t' && r != '\r' && Hidden(r) }
	if !strings.ContainsFunc(text, isHidden) {
		return text
	}
	b := make([]byte, 0, len(text)+64)
	for _, r := range text {
		if isHidden(r) {
			b = appendEscape(b, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}
