package dynamodbtest

import (
	"maps"
	"slices"
	"strings"
)

// maxExpression is the size of an expression in bytes.
const maxExpression = 4 << 10

// params are a request's placeholders. Each must be used by one of the request's
// expressions.
type params struct {
	names      map[string]string
	values     map[string]value
	usedNames  map[string]bool
	usedValues map[string]bool
	roots      map[string]bool // the attributes that the last expressions are about
}

func newParams(names map[string]string, values map[string]value) (*params, *Error) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if len(name) < 2 || name[0] != '#' {
			return nil, invalid(`ExpressionAttributeNames contains invalid key: Syntax error; key: "` + name + `"`)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(name) < 2 || name[0] != ':' {
			return nil, invalid(`ExpressionAttributeValues contains invalid key: Syntax error; key: "` + name + `"`)
		}
	}
	return &params{names, values, map[string]bool{}, map[string]bool{}, map[string]bool{}}, nil
}

// allUsed is called after the last expression of a request.
func (p *params) allUsed() *Error {
	unused := func(what string, defined []string, used map[string]bool) *Error {
		left := slices.DeleteFunc(defined, func(name string) bool { return used[name] })
		if len(left) == 0 {
			return nil
		}
		return invalid("Value provided in " + what + " unused in expressions: keys: {" + strings.Join(left, ", ") + "}")
	}
	if err := unused("ExpressionAttributeNames", slices.Sorted(maps.Keys(p.names)), p.usedNames); err != nil {
		return err
	}
	return unused("ExpressionAttributeValues", slices.Sorted(maps.Keys(p.values)), p.usedValues)
}
