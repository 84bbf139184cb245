package dynamodbtest

import (
	"slices"
	"strings"
	"unicode/utf16"
)

// maxIn is how many operands IN may have.
const maxIn = 100

// condition says yes or no to an item; an absent item is one without
// attributes.
type condition func(item) bool

// operand yields a value of the item, if there is one.
type operand struct {
	of       func(item) (value, bool)
	constant *value // of a :value
	path     path   // of an attribute
}

// name is how messages name the operand.
func (o operand) name() string {
	if o.constant != nil {
		return o.constant.String()
	}
	return o.path.String()
}

func constantOperand(v value) operand {
	return operand{of: func(item) (value, bool) { return v, true }, constant: &v}
}

func pathOperand(p path) operand { return operand{of: p.of, path: p} }

// parseCondition reads a condition or a filter.
func parseCondition(what, src string, p *params) (condition, *Error) {
	ps := newParser(what, src, p)
	c := ps.or()
	return c, ps.end()
}

func (p *parser) or() condition {
	left := p.and()
	for p.accept("OR") {
		a, b := left, p.and()
		left = func(it item) bool { return a(it) || b(it) }
	}
	return left
}

func (p *parser) and() condition {
	left := p.not()
	for p.accept("AND") {
		a, b := left, p.not()
		left = func(it item) bool { return a(it) && b(it) }
	}
	return left
}

func (p *parser) not() condition {
	if p.accept("NOT") {
		inner := p.not()
		return func(it item) bool { return !inner(it) }
	}
	if p.accept("(") {
		inner := p.or()
		p.expect(")")
		return inner
	}
	if p.atFunction() && p.peek() != "size" {
		return p.function()
	}
	return p.comparison()
}

func (p *parser) comparison() condition {
	left := p.operand()
	switch op := p.next(); {
	case slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, op):
		right := p.operand()
		p.mustHaveOrder(op, left, right)
		return compares(left, op, right)
	case strings.EqualFold(op, "BETWEEN"):
		low := p.operand()
		p.expect("AND")
		high := p.operand()
		p.mustHaveOrder("BETWEEN", left, low, high)
		p.mustBeRange(low, high)
		from, to := compares(left, ">=", low), compares(left, "<=", high)
		return func(it item) bool { return from(it) && to(it) }
	case strings.EqualFold(op, "IN"):
		return p.in(left)
	case op != "":
		p.at--
	}
	p.syntax()
	return nil
}

func (p *parser) in(left operand) condition {
	p.expect("(")
	var among []condition
	for {
		among = append(among, compares(left, "=", p.operand()))
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	if len(among) > maxIn {
		p.fail("The IN operator is provided with too many operands; number of operands: %d", len(among))
	}
	return func(it item) bool {
		return slices.ContainsFunc(among, func(c condition) bool { return c(it) })
	}
}

// compares treats values of different kinds, and one that is absent, as unequal
// and without order.
func compares(left operand, op string, right operand) condition {
	return func(it item) bool {
		a, hasA := left.of(it)
		b, hasB := right.of(it)
		related := hasA && hasB && a.kind == b.kind
		switch op {
		case "=":
			return related && a.equal(b)
		case "<>":
			return !related || !a.equal(b)
		}
		if !related || !a.ordered() {
			return false
		}
		switch order := a.compare(b); op {
		case "<":
			return order < 0
		case "<=":
			return order <= 0
		case ">":
			return order > 0
		default:
			return order >= 0
		}
	}
}

// mustHaveOrder refuses constants that can never be compared by op.
func (p *parser) mustHaveOrder(op string, operands ...operand) {
	if op == "=" || op == "<>" {
		return
	}
	for _, o := range operands {
		if o.constant != nil && !o.constant.ordered() {
			p.fail("Incorrect operand type for operator or function; operator: %s, operand type: %s", op, o.constant.kind)
		}
	}
}

func (p *parser) mustBeRange(low, high operand) {
	if low.constant == nil || high.constant == nil || p.err != nil {
		return
	}
	switch {
	case low.constant.kind != high.constant.kind:
		p.fail("The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {%s:%s}, upper bound operand: AttributeValue: {%s:%s}",
			low.constant.kind, low.constant, high.constant.kind, high.constant)
	case low.constant.compare(*high.constant) > 0:
		p.fail("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {%s:%s}, upper bound operand: AttributeValue: {%s:%s}",
			low.constant.kind, low.constant, high.constant.kind, high.constant)
	}
}

func (p *parser) wrongType(function string, v value) {
	p.fail("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", function, v.kind)
}

func (p *parser) operand() operand {
	switch token := p.peek(); {
	case token != "" && token[0] == ':':
		return constantOperand(p.constant())
	case p.atFunction() && token == "size":
		p.at += 2
		inner := p.operand()
		p.expect(")")
		if inner.constant != nil && !hasSize(*inner.constant) {
			p.wrongType("size", *inner.constant)
		}
		return operand{of: func(it item) (value, bool) {
			v, ok := inner.of(it)
			return sizeOf(v), ok && hasSize(v)
		}}
	case p.atFunction():
		p.fail("Invalid function name; function: %s", token)
	}
	return pathOperand(p.path())
}

func hasSize(v value) bool { return v.kind != kindN && v.kind != kindBool && v.kind != kindNull }

// sizeOf counts a string in UTF-16 code units.
func sizeOf(v value) value {
	switch v.kind {
	case kindS:
		return intValue(len(utf16.Encode([]rune(v.bytes))))
	case kindM:
		return intValue(len(v.attrs))
	case kindL, kindSS, kindNS, kindBS:
		return intValue(len(v.list))
	default:
		return intValue(len(v.bytes))
	}
}

func (p *parser) function() condition {
	name := p.next()
	p.at++ // the bracket that atFunction has seen
	var args []operand
	for p.peek() != ")" && p.err == nil {
		if len(args) > 0 {
			p.expect(",")
		}
		args = append(args, p.operand())
	}
	p.expect(")")
	want := map[string]int{"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}[name]
	switch {
	case p.err != nil:
		return nil
	case want == 0:
		p.fail("Invalid function name; function: %s", name)
		return nil
	case want != len(args):
		p.fail("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(args))
		return nil
	}
	return p.call(name, args)
}

func (p *parser) call(name string, args []operand) condition {
	first, second := args[0], args[len(args)-1]
	switch name {
	case "begins_with":
		for _, arg := range args {
			if c := arg.constant; c != nil && c.kind != kindS && c.kind != kindB {
				p.wrongType(name, *c)
			}
		}
		return both(first, second, func(a, b value) bool {
			return a.kind == b.kind && (a.kind == kindS || a.kind == kindB) && strings.HasPrefix(a.bytes, b.bytes)
		})
	case "contains":
		if first.path != nil && first.path.String() == second.path.String() {
			p.fail("The first operand must be distinct from the remaining operands for this operator or function; operator: contains, first operand: %s", first.path)
		}
		return both(first, second, contains)
	}
	if first.path == nil {
		p.fail("Operator or function requires a document path; operator or function: %s", name)
	}
	switch name {
	case "attribute_type":
		if c := second.constant; c == nil || c.kind != kindS || !isKind(c.bytes) {
			p.fail("Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}", second.name())
		}
		return both(first, second, func(a, b value) bool { return a.kind == kind(b.bytes) })
	case "attribute_not_exists":
		return func(it item) bool { _, ok := first.of(it); return !ok }
	}
	return func(it item) bool { _, ok := first.of(it); return ok }
}

func isKind(name string) bool {
	return slices.Contains([]kind{kindS, kindN, kindB, kindBool, kindNull, kindSS, kindNS, kindBS, kindL, kindM}, kind(name))
}

func both(a, b operand, test func(a, b value) bool) condition {
	return func(it item) bool {
		x, hasX := a.of(it)
		y, hasY := b.of(it)
		return hasX && hasY && test(x, y)
	}
}

// contains looks for a part of a text or of bytes, a member of a set, an element
// of a list.
func contains(whole, part value) bool {
	switch {
	case whole.kind == kindS || whole.kind == kindB:
		return whole.kind == part.kind && strings.Contains(whole.bytes, part.bytes)
	case whole.kind.isSet() || whole.kind == kindL:
		return whole.has(part)
	}
	return false
}
