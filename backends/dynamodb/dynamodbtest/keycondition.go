package dynamodbtest

import (
	"slices"
	"strings"
)

// keyCondition selects a range of one partition.
type keyCondition struct {
	partition value
	// sort says where a sort key lies: before the range, in it, or after it.
	sort func(value) int
}

// sortRange is one condition on one key attribute.
type keyTest struct {
	attribute string
	op        string
	operands  []value
}

// parseKeyCondition reads a KeyConditionExpression for a table with this key.
func parseKeyCondition(src string, key schema, p *params) (keyCondition, *Error) {
	ps := newParser("KeyConditionExpression", src, p)
	tests := ps.keyTests()
	if err := ps.end(); err != nil {
		return keyCondition{}, err
	}
	out := keyCondition{sort: func(value) int { return 0 }}
	seen := map[string]bool{}
	for _, test := range tests {
		if seen[test.attribute] {
			return keyCondition{}, invalid("Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key")
		}
		seen[test.attribute] = true
	}
	if !seen[key.partition.name] {
		return keyCondition{}, invalid("Query condition missed key schema element: " + key.partition.name)
	}
	for _, test := range tests {
		attribute, err := key.attribute(test.attribute)
		if err != nil {
			return keyCondition{}, err
		}
		for _, v := range test.operands {
			if v.kind != attribute.kind {
				return keyCondition{}, invalid(badParameters + "Condition parameter type does not match schema type")
			}
		}
		switch {
		case test.attribute != key.partition.name:
			out.sort = test.position()
		case test.op != "=":
			return keyCondition{}, invalid("Query key condition not supported")
		default:
			out.partition = test.operands[0]
		}
	}
	return out, key.checkSizes(item{key.partition.name: out.partition})
}

func (p *parser) keyTests() []keyTest {
	var tests []keyTest
	for p.err == nil {
		if p.accept("(") {
			tests = append(tests, p.keyTests()...)
			p.expect(")")
		} else {
			tests = append(tests, p.keyTest())
		}
		if !p.accept("AND") {
			break
		}
	}
	return tests
}

func (p *parser) keyTest() keyTest {
	if p.peek() == "begins_with" && p.ahead(1) == "(" {
		p.at += 2
		test := keyTest{attribute: p.keyAttribute(), op: "begins_with"}
		p.expect(",")
		test.operands = []value{p.constant()}
		p.expect(")")
		if k := test.operands[0].kind; k == kindN {
			p.wrongType("begins_with", test.operands[0])
		}
		return test
	}
	if p.atFunction() {
		p.fail("Invalid operator used in KeyConditionExpression: %s", p.peek())
	}
	test := keyTest{attribute: p.keyAttribute()}
	switch op := p.next(); {
	case slices.Contains([]string{"=", "<", "<=", ">", ">="}, op):
		test.op, test.operands = op, []value{p.constant()}
	case op == "<>":
		p.fail("Invalid operator used in KeyConditionExpression: <>")
	case strings.EqualFold(op, "BETWEEN"):
		low := constantOperand(p.constant())
		p.expect("AND")
		high := constantOperand(p.constant())
		p.mustHaveOrder("BETWEEN", low, high)
		p.mustBeRange(low, high)
		test.op, test.operands = "BETWEEN", []value{*low.constant, *high.constant}
	default:
		if op != "" {
			p.at--
		}
		p.syntax()
	}
	return test
}

func (p *parser) keyAttribute() string {
	path := p.path()
	if len(path) > 1 {
		p.fail("KeyConditionExpressions cannot have conditions on nested attributes")
	}
	if p.err != nil {
		return ""
	}
	return path[0].name
}

// position places sort keys relative to the range that the test selects.
func (t keyTest) position() func(value) int {
	first, last := t.operands[0], t.operands[len(t.operands)-1]
	switch t.op {
	case "=":
		return func(v value) int { return v.compare(first) }
	case "<":
		return func(v value) int { return unless(v.compare(first) < 0, 1) }
	case "<=":
		return func(v value) int { return unless(v.compare(first) <= 0, 1) }
	case ">":
		return func(v value) int { return unless(v.compare(first) > 0, -1) }
	case ">=":
		return func(v value) int { return unless(v.compare(first) >= 0, -1) }
	case "begins_with":
		return func(v value) int {
			return unless(strings.HasPrefix(v.bytes, first.bytes), v.compare(first))
		}
	}
	return func(v value) int {
		if v.compare(first) < 0 {
			return -1
		}
		return unless(v.compare(last) <= 0, 1)
	}
}

func unless(inside bool, outside int) int {
	if inside {
		return 0
	}
	return outside
}
