package esdb

import (
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// serverFilter selects events of $all by a regular expression on the stream's name
// or on the event's type; the server takes one of the two. The zero value selects
// all. It is never a list of prefixes, which the protocol has too: a server with
// culture data (ICU) compares those by the rules of languages, so that the prefix
// "Cafe" misses a stream "Cafe" with a combining accent. What a filter misses
// cannot be put right here; what it lets through too much can.
type serverFilter struct {
	stream, eventType string
}

// filter returns the narrowest filter of the server that holds all that the store
// shows and f selects, and the record of the store's identity, which ends reads
// backward. What passes is held against f again.
func (n names) filter(f eventstore.Filter) serverFilter {
	if selected := selectedStreams(f); len(selected) > 0 {
		return serverFilter{stream: n.orIdentity("^" + escape(n.prefix()) + anyOf(selected))}
	}
	switch {
	case len(f.Types) > 0:
		return serverFilter{eventType: exactly(append([]string{kindIdentity}, f.Types...)...)}
	case n.namespace != "":
		return serverFilter{stream: n.orIdentity("^" + escape(n.prefix()))}
	}
	return serverFilter{stream: `^[^$]`} // which the identity's stream passes
}

// orIdentity lets the stream of the store's identity through as well.
func (n names) orIdentity(expression string) string {
	return expression + "|" + exactly(n.identity())
}

// selectedStreams returns expressions for the stream IDs that f selects; none
// where it selects no streams. An ID must have one of the categories and one of the
// prefixes, so of each such pair the narrower one counts, if both can match.
func selectedStreams(f eventstore.Filter) []string {
	var selected []string
	for _, category := range f.Categories {
		whole := escape(category) + `(?:\x2D|\z)` // an ID is its category, or goes on with "-"
		if len(f.StreamPrefixes) == 0 {
			selected = append(selected, whole)
		}
		for _, prefix := range f.StreamPrefixes {
			switch {
			case strings.HasPrefix(category, prefix):
				selected = append(selected, whole)
			case strings.HasPrefix(prefix, category+"-"):
				selected = append(selected, escape(prefix))
			}
		}
	}
	if len(f.Categories) == 0 {
		for _, prefix := range f.StreamPrefixes {
			selected = append(selected, escape(prefix))
		}
	}
	if len(selected) == 0 && len(f.Categories) > 0 {
		selected = append(selected, `\z`) // nothing can match
	}
	return selected
}

// exactly is an expression for these names and no others.
func exactly(texts ...string) string {
	escaped := make([]string, len(texts))
	for i, text := range texts {
		escaped[i] = escape(text)
	}
	return "^" + anyOf(escaped) + `\z`
}

func anyOf(expressions []string) string { return "(?:" + strings.Join(expressions, "|") + ")" }

// escape writes a text as a regular expression that matches it alone. The server
// compares the UTF-16 units of an expression as they are.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r >= 0x80, '0' <= r && r <= '9', 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\x%02X`, r)
		}
	}
	return b.String()
}
