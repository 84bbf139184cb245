package dynamodbtest

import (
	"fmt"
	"strconv"
	"strings"
)

// parser reads one expression. The first error is kept, and from then on every
// token is the end: rules need not look at it.
type parser struct {
	what   string // such as "ConditionExpression", for messages
	src    string
	tokens []token
	at     int
	params *params
	err    *Error
}

func newParser(what, src string, p *params) *parser {
	ps := &parser{what: what, src: src, tokens: tokens(src), params: p}
	switch {
	case len(ps.tokens) == 0:
		ps.fail("The expression can not be empty;")
	case len(src) > maxExpression:
		ps.fail("Expression size has exceeded the maximum allowed size; expression size: %d", len(src))
	}
	return ps
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = invalid("Invalid " + p.what + ": " + fmt.Sprintf(format, args...))
	}
}

// syntax fails at the current token.
func (p *parser) syntax() {
	if p.err != nil {
		return
	}
	token := p.peek()
	if token == "" {
		token = "<EOF>"
	}
	near := p.tokens[max(p.at-1, 0):min(p.at+2, len(p.tokens))]
	p.fail(`Syntax error; token: "%s", near: "%s"`, token, p.src[near[0].start:near[len(near)-1].end])
}

// peek is the current token, "" at the end.
func (p *parser) peek() string { return p.ahead(0) }

func (p *parser) ahead(n int) string {
	if p.err != nil || p.at+n >= len(p.tokens) {
		return ""
	}
	return p.tokens[p.at+n].text
}

func (p *parser) next() string {
	token := p.peek()
	if token != "" {
		p.at++
	}
	return token
}

// accept takes the token, a keyword in any case, if it is the next one.
func (p *parser) accept(token string) bool {
	if !strings.EqualFold(p.peek(), token) {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(token string) {
	if !p.accept(token) {
		p.syntax()
	}
}

// end fails unless everything was read.
func (p *parser) end() *Error {
	if p.peek() != "" {
		p.syntax()
	}
	return p.err
}

// step is one part of a path: a name, or an index where the name is "".
type step struct {
	name  string
	index int
}

// path leads to an attribute, or into a document.
type path []step

func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.name
		if s.name == "" {
			parts[i] = "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// overlaps says whether one path leads through the other.
func (p path) overlaps(o path) bool {
	n := min(len(p), len(o))
	for i := range n {
		if p[i] != o[i] {
			return false
		}
	}
	return true
}

// conflicts says whether one path takes for a list what the other takes for a
// map.
func (p path) conflicts(o path) bool {
	for i := range min(len(p), len(o)) {
		if p[i] != o[i] {
			return (p[i].name == "") != (o[i].name == "")
		}
	}
	return false
}

// of finds what the path leads to.
func (p path) of(it item) (value, bool) {
	v := value{kind: kindM, attrs: it}
	for _, s := range p {
		var ok bool
		if v, ok = s.of(v); !ok {
			return value{}, false
		}
	}
	return v, true
}

func (s step) of(v value) (value, bool) {
	if s.name != "" {
		v, ok := v.attrs[s.name]
		return v, ok
	}
	if v.kind != kindL || s.index >= len(v.list) {
		return value{}, false
	}
	return v.list[s.index], true
}

func (p *parser) path() path {
	out := path{{name: p.name()}}
	p.params.roots[out[0].name] = true
	for p.err == nil {
		switch {
		case p.accept("."):
			out = append(out, step{name: p.name()})
		case p.accept("["):
			if !isNumber(p.peek()) {
				p.syntax()
				return nil
			}
			index, err := strconv.Atoi(p.next())
			if err != nil {
				p.fail("List index is not within the allowable range; index: [%s]", p.tokens[p.at-1].text)
			}
			p.expect("]")
			out = append(out, step{index: index})
		default:
			return out
		}
	}
	return nil
}

func (p *parser) name() string {
	token := p.peek()
	switch {
	case token != "" && token[0] == '#':
		p.at++
		name, ok := p.params.names[token]
		if !ok {
			p.fail("An expression attribute name used in the document path is not defined; attribute name: %s", token)
		}
		p.params.usedNames[token] = true
		return name
	case !isName(token):
		p.syntax()
	case isReserved(token):
		p.fail("Attribute name is a reserved keyword; reserved keyword: %s", token)
	default:
		p.at++
	}
	return token
}

// constant reads a :value.
func (p *parser) constant() value {
	token := p.peek()
	if token == "" || token[0] != ':' {
		p.syntax()
		return value{}
	}
	p.at++
	v, ok := p.params.values[token]
	if !ok {
		p.fail("An expression attribute value used in expression is not defined; attribute value: %s", token)
	}
	p.params.usedValues[token] = true
	return v
}

// atFunction says whether a function call begins here.
func (p *parser) atFunction() bool { return isName(p.peek()) && p.ahead(1) == "(" }
