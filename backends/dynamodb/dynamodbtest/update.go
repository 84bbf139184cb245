package dynamodbtest

import (
	"maps"
	"slices"
	"strings"
)

const (
	badPath      = "The document path provided in the update expression is invalid for update"
	badOperand   = "An operand in the update expression has an incorrect data type"
	noAttribute  = "The provided expression refers to an attribute that does not exist in the item"
	typeMismatch = "Type mismatch for attribute to update"
)

// update changes an item: every action reads the item as it was.
type update struct {
	actions []action
}

// action changes what is at a path.
type action struct {
	verb string // SET, REMOVE, ADD or DELETE
	path path
	set  expression // of SET
	with value      // of ADD and DELETE
}

// expression yields the value to set.
type expression func(item) (value, *Error)

// parseUpdate reads an UpdateExpression.
func parseUpdate(src string, key schema, p *params) (*update, *Error) {
	ps := newParser("UpdateExpression", src, p)
	u := &update{}
	seen := map[string]bool{}
	for ps.peek() != "" {
		verb := strings.ToUpper(ps.peek())
		switch {
		case !slices.Contains([]string{"SET", "REMOVE", "ADD", "DELETE"}, verb):
			ps.syntax()
		case seen[verb]:
			ps.fail("The %q section can only be used once in an update expression;", verb)
		default:
			ps.at++
			seen[verb] = true
			u.actions = append(u.actions, ps.section(verb)...)
		}
	}
	ps.mustBeApart(u.paths())
	ps.mustAgree(u.paths())
	if err := ps.end(); err != nil {
		return nil, err
	}
	for _, path := range u.paths() {
		if _, err := key.attribute(path[0].name); err == nil {
			return nil, invalid(badParameters + "Cannot update attribute " + path[0].name + ". This attribute is part of the key")
		}
	}
	return u, nil
}

// mustAgree refuses paths of which one takes for a list what another takes for a
// map.
func (p *parser) mustAgree(paths []path) {
	for i, a := range paths {
		for _, b := range paths[:i] {
			if p.err == nil && a.conflicts(b) {
				p.fail("Two document paths conflict with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", b, a)
			}
		}
	}
}

func (u *update) paths() []path {
	out := make([]path, len(u.actions))
	for i, a := range u.actions {
		out[i] = a.path
	}
	return out
}

func (p *parser) section(verb string) []action {
	var actions []action
	for {
		a := action{verb: verb, path: p.path()}
		switch verb {
		case "SET":
			p.expect("=")
			a.set = p.sum()
		case "ADD", "DELETE":
			a.with = p.constant()
			if !a.with.kind.isSet() && (verb == "DELETE" || a.with.kind != kindN) {
				p.fail("Incorrect operand type for operator or function; operator: %s, operand type: %s", verb, a.with.kind)
			}
		}
		actions = append(actions, a)
		if !p.accept(",") {
			return actions
		}
	}
}

func (p *parser) sum() expression {
	left := p.term()
	switch {
	case p.accept("+"):
		return arithmetic(left, p.term(), func(b number) number { return b })
	case p.accept("-"):
		return arithmetic(left, p.term(), number.negated)
	}
	return left
}

func arithmetic(left, right expression, signed func(number) number) expression {
	return func(it item) (value, *Error) {
		a, err := left(it)
		if err != nil {
			return value{}, err
		}
		b, err := right(it)
		if err != nil {
			return value{}, err
		}
		if a.kind != kindN || b.kind != kindN {
			return value{}, invalid(badOperand)
		}
		n, err := a.num.plus(signed(b.num))
		return value{kind: kindN, num: n}, err
	}
}

func (p *parser) term() expression {
	switch token := p.peek(); {
	case token != "" && token[0] == ':':
		v := p.constant()
		return func(item) (value, *Error) { return v, nil }
	case p.accept("("):
		inner := p.sum()
		p.expect(")")
		return inner
	case p.atFunction():
		return p.setFunction()
	}
	path := p.path()
	return func(it item) (value, *Error) {
		v, ok := path.of(it)
		if !ok {
			return value{}, invalid(noAttribute)
		}
		return v, nil
	}
}

func (p *parser) setFunction() expression {
	name := p.next()
	p.at++ // the bracket that atFunction has seen
	switch name {
	case "if_not_exists":
		path := p.path()
		p.expect(",")
		otherwise := p.term()
		p.expect(")")
		return func(it item) (value, *Error) {
			if v, ok := path.of(it); ok {
				return v, nil
			}
			return otherwise(it)
		}
	case "list_append":
		first := p.term()
		p.expect(",")
		second := p.term()
		p.expect(")")
		return func(it item) (value, *Error) {
			a, err := first(it)
			if err != nil {
				return value{}, err
			}
			b, err := second(it)
			if err != nil {
				return value{}, err
			}
			if a.kind != kindL || b.kind != kindL {
				return value{}, invalid(badOperand)
			}
			return value{kind: kindL, list: slices.Concat(a.list, b.list)}, nil
		}
	}
	p.fail("Invalid function name; function: %s", name)
	return nil
}

// apply returns the changed item; it is left alone.
func (u *update) apply(it item) (item, *Error) {
	out := value{kind: kindM, attrs: it}
	var removed []path
	for _, a := range u.actions {
		next, remove, err := a.result(it)
		if err != nil {
			return nil, err
		}
		if remove {
			removed = append(removed, a.path)
			continue
		}
		if out, err = put(out, a.path, &next); err != nil {
			return nil, err
		}
	}
	// Indices are those before the update: the highest of a list goes first.
	slices.SortFunc(removed, func(a, b path) int { return -slices.CompareFunc(a, b, compareSteps) })
	for _, path := range removed {
		var err *Error
		if out, err = put(out, path, nil); err != nil {
			return nil, err
		}
	}
	if out.depth() > maxNesting+1 { // the item itself is one
		return nil, invalid(tooDeep)
	}
	return out.attrs, nil
}

func compareSteps(a, b step) int {
	if a.index != b.index {
		return a.index - b.index
	}
	return strings.Compare(a.name, b.name)
}

// result is the new value at the action's path, or that it is to be removed.
func (a action) result(it item) (next value, remove bool, err *Error) {
	old, exists := a.path.of(it)
	switch {
	case a.verb == "SET":
		next, err = a.set(it)
		return next, false, err
	case a.verb == "REMOVE":
		return value{}, true, nil
	case !exists:
		return a.with, a.verb == "DELETE", nil
	case old.kind != a.with.kind:
		return value{}, false, invalid(typeMismatch)
	case old.kind == kindN:
		n, err := old.num.plus(a.with.num)
		return value{kind: kindN, num: n}, false, err
	case a.verb == "ADD":
		next = value{kind: old.kind, list: slices.Clone(old.list)}
		for _, m := range a.with.list {
			if !next.has(m) {
				next.list = append(next.list, m)
			}
		}
		return next, false, nil
	}
	next = value{kind: old.kind, list: slices.DeleteFunc(slices.Clone(old.list), a.with.has)}
	return next, len(next.list) == 0, nil // there are no empty sets
}

// put returns v with another value at the path, or without it where next is nil.
func put(v value, at path, next *value) (value, *Error) {
	s, rest := at[0], at[1:]
	if s.name != "" && v.kind != kindM || s.name == "" && v.kind != kindL {
		return value{}, invalid(badPath)
	}
	if len(rest) > 0 {
		inner, ok := s.of(v)
		if !ok {
			return value{}, invalid(badPath)
		}
		changed, err := put(inner, rest, next)
		if err != nil {
			return value{}, err
		}
		next = &changed
	}
	if s.name != "" {
		attrs := maps.Clone(v.attrs)
		if attrs == nil {
			attrs = item{}
		}
		if next == nil {
			delete(attrs, s.name)
		} else {
			attrs[s.name] = *next
		}
		return value{kind: kindM, attrs: attrs}, nil
	}
	list := slices.Clone(v.list)
	switch {
	case next == nil && s.index < len(list):
		list = slices.Delete(list, s.index, s.index+1)
	case next != nil && s.index < len(list):
		list[s.index] = *next
	case next != nil: // behind the end is at the end
		list = append(list, *next)
	}
	return value{kind: kindL, list: list}, nil
}
