// Package printable says what of a text cannot be stored and shown everywhere.
package printable

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Fault returns what is wrong with a text: invalid UTF-8, or a control character.
// Everything else is data, and the answer is empty.
func Fault(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && ' ' <= s[i] && s[i] < 0x7f
	}
	if plain {
		return ""
	}
	if !utf8.ValidString(s) {
		return "it is not valid UTF-8"
	}
	for i, r := range s {
		if unicode.IsControl(r) {
			return fmt.Sprintf("control character %U at byte %d; remove it", r, i)
		}
	}
	return ""
}
