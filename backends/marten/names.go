package marten

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	tombstoneType   = "tombstone"
	tombstoneStream = "mt_tombstone"
	uuidForm        = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	uuidLength      = 36
	mostTypeLength  = 500 // of the column
)

// names map the names of streams and event types to Marten's, and back.
type names struct {
	uuidKeys bool
	types    map[string]EventType // by Go name
	byAlias  map[string]EventType
	aliases  map[string]string // of aggregates, by category
}

func newNames(opts Options, uuidKeys bool) (*names, error) {
	n := &names{uuidKeys: uuidKeys, types: make(map[string]EventType), byAlias: make(map[string]EventType), aliases: make(map[string]string)}
	for _, t := range opts.Types {
		if t.Alias == "" {
			t.Alias = alias(t.Name)
		}
		switch other, twice := n.byAlias[t.Alias]; {
		case t.Name == "" || !isText(t.Name, t.Alias, t.DotNet):
			return nil, invalid("option Types", "an event type has no name, or one with a NUL character or invalid UTF-8")
		case utf8.RuneCountInString(t.Alias) > mostTypeLength:
			return nil, invalid("option Types", "the alias of %.80q has more than %d characters", t.Name, mostTypeLength)
		case t.Alias == tombstoneType:
			return nil, invalid("option Types", "%q has the alias %s, which is Marten's own", t.Name, tombstoneType)
		case twice:
			return nil, invalid("option Types", "%q and %q have the alias %q", other.Name, t.Name, t.Alias)
		}
		if _, twice := n.types[t.Name]; twice {
			return nil, invalid("option Types", "%q is there twice", t.Name)
		}
		n.types[t.Name], n.byAlias[t.Alias] = t, t
	}
	for name := range n.types {
		if other, ok := n.byAlias[name]; ok && other.Name != name {
			return nil, invalid("option Types", "%q is the name of one event type and the alias of %q", name, other.Name)
		}
	}
	for _, t := range opts.StreamTypes {
		switch _, twice := n.aliases[t.Category]; {
		case uuidKeys:
			return nil, invalid("option StreamTypes", "the store's streams have UUIDs: the category of a stream is its aggregate's alias already")
		case t.Category == "" || t.Alias == "" || strings.Contains(t.Category, "-") || !isText(t.Category, t.Alias):
			return nil, invalid("option StreamTypes", "a category or its alias is empty, or has a NUL character or invalid UTF-8, or the category holds a '-'")
		case twice:
			return nil, invalid("option StreamTypes", "the category %q is there twice", t.Category)
		}
		n.aliases[t.Category] = t.Alias
	}
	return n, nil
}

// isText tells whether PostgreSQL takes each of these for a text.
func isText(all ...string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return strings.ContainsRune(s, 0) || !utf8.ValidString(s) })
}

// alias is what Marten makes of the name of a .NET type: HTTPRequestSent is
// http_request_sent, Order2 is order_2, Order_Placed is order___placed. Of a nested type
// it takes the inner name; that of a generic one, such as Compacted<OrderView>, it keeps.
func alias(name string) string {
	if strings.Contains(name, "<") {
		return name
	}
	name = name[strings.LastIndex(name, "+")+1:]
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if i > 0 && startsWord(runes, i) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// startsWord tells whether a word begins at the i-th character: at a capital after
// anything else or before a small letter, at a digit after a small letter, and around a '_'.
func startsWord(name []rune, i int) bool {
	previous, r := name[i-1], name[i]
	switch {
	case r == '_' || previous == '_':
		return true
	case unicode.IsDigit(r):
		return unicode.IsLower(previous)
	case unicode.IsUpper(r):
		return !unicode.IsUpper(previous) || i+1 < len(name) && unicode.IsLower(name[i+1])
	}
	return false
}

// eventType returns the alias and the .NET name that an event is stored with.
func (n *names) eventType(name string) (alias, dotnet string, err error) {
	if t, ok := n.types[name]; ok {
		return t.Alias, t.DotNet, nil
	}
	if t, ok := n.byAlias[name]; ok {
		return "", "", invalid("event type", "%q is how Marten writes %q, which is what to say here", name, t.Name)
	}
	return name, "", nil
}

// goType returns the Go name of a stored type.
func (n *names) goType(alias string) string {
	if t, ok := n.byAlias[alias]; ok {
		return t.Name
	}
	return alias
}

// typeFilter returns what events are stored as that are read with one of these types. A
// type that has an alias may be stored as itself too, from before it was given one; one
// that is another's alias is read as that other.
func (n *names) typeFilter(types []string) []string {
	stored := make([]string, 0, len(types))
	for _, name := range types {
		if t, ok := n.types[name]; ok {
			stored = append(stored, t.Alias)
		}
		if n.goType(name) == name {
			stored = append(stored, name)
		}
	}
	return stored
}

// streamKey is how Marten knows a stream.
type streamKey struct {
	id   string // the ID as text
	kind string // the aggregate's alias that a new stream is given; "" is none
}

// stream returns the key of a stream's name.
func (n *names) stream(name string) (streamKey, error) {
	if !n.uuidKeys {
		if name == tombstoneStream {
			return streamKey{}, invalid("stream", "%q is where Marten keeps its tombstones", name)
		}
		return streamKey{id: name, kind: n.aliases[eventstore.Category(name)]}, nil
	}
	id, kind := name, ""
	if cut := len(name) - uuidLength; cut > 1 && name[cut-1] == '-' {
		id, kind = name[cut:], name[:cut-1]
	}
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return streamKey{}, invalid("stream", "%.80q is not TYPE-UUID or UUID, in lower case, as the streams of this store are named", name)
	}
	return streamKey{id: id, kind: kind}, nil
}

// streamName is the inverse of stream for a stored stream.
func (n *names) streamName(id, kind string) string {
	if n.uuidKeys && kind != "" {
		return kind + "-" + id
	}
	return id
}

// streamPattern matches the names of streams that the store can hold.
func (n *names) streamPattern() string {
	if n.uuidKeys {
		return `(?s:.+-)?` + uuidForm
	}
	return anythingBut(tombstoneStream)
}

// typePattern matches the names of event types that can be appended.
func (n *names) typePattern() string { return anythingBut(tombstoneType) }

// anythingBut returns a regular expression that matches every text but one.
func anythingBut(text string) string {
	// From the end: what may follow after a beginning that agrees.
	rest := `(?s:.+)`
	for i := len(text) - 1; i >= 0; i-- {
		c := regexp.QuoteMeta(text[i : i+1])
		rest = fmt.Sprintf(`(?:[^%s](?s:.*)|%s%s)`, c, c, rest)
		if i > 0 {
			rest += `?`
		}
	}
	return rest
}
