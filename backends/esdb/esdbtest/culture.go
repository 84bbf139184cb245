package esdbtest

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The server compares prefixes with .NET's string.StartsWith, which compares by
// culture: as a reader sees the text and not as it is stored. What follows are the
// rules of the invariant culture that make a difference to names and types:
// equivalent spellings are equal, what is not seen does not count, and a character
// is whole with the marks that combine with it. Case counts. Its other rules, of
// ligatures and characters of the same weight, are not modelled.

// culturalPrefix is a prefix to compare with. Comparing is what a read of a long
// log is busy with, so what can be known of the prefix before is.
type culturalPrefix struct {
	text  string
	seen  string
	plain bool // of visible ASCII characters only, which stand for themselves
}

func newCulturalPrefix(text string) culturalPrefix {
	p := culturalPrefix{text: text, seen: seen(text), plain: true}
	for i := range len(text) {
		p.plain = p.plain && visible(text[i])
	}
	return p
}

func visible(char byte) bool { return char >= ' ' && char <= '~' }

// begins reports whether the text begins with the prefix to a reader.
func (p *culturalPrefix) begins(text string) bool {
	if p.plain {
		// Up to the first character that is not a plain one it is seen as it is.
		i := 0
		for i < len(text) && i < len(p.text) && text[i] == p.text[i] {
			i++
		}
		if i == len(text) || visible(text[i]) {
			return i == len(p.text)
		}
	}
	rest, ok := strings.CutPrefix(seen(text), p.seen)
	if !ok {
		return false
	}
	next, _ := utf8.DecodeRuneInString(rest)
	return rest == "" || p.seen == "" || !unicode.Is(unicode.M, next)
}

// seen is the text in its canonical decomposition, without what is not seen.
func seen(text string) string {
	return norm.NFD.String(strings.Map(func(r rune) rune {
		if ignorable(r) {
			return -1
		}
		return r
	}, text))
}

func ignorable(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r == 0x85: // white space
		return false
	default:
		return unicode.In(r, unicode.Cc, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
			(unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r))
	}
}
