package dynamodbtest

import (
	"maps"
	"slices"
)

// projection keeps a part of an item; nil keeps all of it.
type projection struct {
	whole  bool // the path ends here
	fields map[string]*projection
	elems  map[int]*projection
}

// parseProjection reads a ProjectionExpression.
func parseProjection(src string, p *params) (*projection, *Error) {
	ps := newParser("ProjectionExpression", src, p)
	paths := ps.paths()
	ps.mustBeApart(paths)
	if err := ps.end(); err != nil {
		return nil, err
	}
	return projectionOf(paths), nil
}

func (p *parser) paths() []path {
	paths := []path{p.path()}
	for p.accept(",") {
		paths = append(paths, p.path())
	}
	return paths
}

// mustBeApart refuses paths of which one leads through the other.
func (p *parser) mustBeApart(paths []path) {
	for i, a := range paths {
		for _, b := range paths[:i] {
			if p.err == nil && a.overlaps(b) {
				p.fail("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", b, a)
			}
		}
	}
}

func projectionOf(paths []path) *projection {
	root := &projection{}
	for _, path := range paths {
		at := root
		for _, s := range path {
			at = at.child(s)
		}
		at.whole = true
	}
	return root
}

func (pr *projection) child(s step) *projection {
	if s.name != "" {
		if pr.fields == nil {
			pr.fields = map[string]*projection{}
		}
		if pr.fields[s.name] == nil {
			pr.fields[s.name] = &projection{}
		}
		return pr.fields[s.name]
	}
	if pr.elems == nil {
		pr.elems = map[int]*projection{}
	}
	if pr.elems[s.index] == nil {
		pr.elems[s.index] = &projection{}
	}
	return pr.elems[s.index]
}

func (pr *projection) of(it item) item {
	if pr == nil {
		return it
	}
	out := item{}
	for name, inner := range pr.fields {
		if v, ok := it[name]; ok {
			if part, ok := inner.part(v); ok {
				out[name] = part
			}
		}
	}
	return out
}

// part is what is kept of v. Elements of a list move together.
func (pr *projection) part(v value) (value, bool) {
	switch {
	case pr.whole:
		return v, true
	case v.kind == kindM && pr.fields != nil:
		attrs := pr.of(v.attrs)
		return value{kind: kindM, attrs: attrs}, len(attrs) > 0
	case v.kind == kindL:
		out := value{kind: kindL}
		for _, i := range slices.Sorted(maps.Keys(pr.elems)) {
			if i >= len(v.list) {
				break
			}
			if part, ok := pr.elems[i].part(v.list[i]); ok {
				out.list = append(out.list, part)
			}
		}
		return out, len(out.list) > 0
	}
	return value{}, false
}
