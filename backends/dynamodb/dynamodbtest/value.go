package dynamodbtest

import (
	"slices"
	"strconv"
	"strings"
)

// kind is the type of an attribute value, as the protocol names it.
type kind string

const (
	kindS    kind = "S"
	kindN    kind = "N"
	kindB    kind = "B"
	kindBool kind = "BOOL"
	kindNull kind = "NULL"
	kindSS   kind = "SS"
	kindNS   kind = "NS"
	kindBS   kind = "BS"
	kindL    kind = "L"
	kindM    kind = "M"
)

// maxNesting is how many lists and maps may lie inside each other: of the 32
// levels of the documentation the innermost value is one.
const maxNesting = 31

// value is an attribute value. Values are never changed once they are made, so
// that items can be shared between versions and requests.
type value struct {
	kind  kind
	bytes string // of S and B
	num   number
	yes   bool    // of BOOL
	list  []value // of L, and the members of a set
	attrs item    // of M
}

// item maps attribute names to values.
type item map[string]value

func stringValue(s string) value { return value{kind: kindS, bytes: s} }

func intValue(n int) value {
	text := strconv.Itoa(n)
	return value{kind: kindN, num: number{neg: n < 0, digits: strings.Trim(text, "-0"), exp: len(strings.TrimPrefix(text, "-")) - 1}}
}

// isScalarKey says whether a key attribute may have this kind.
func (k kind) isScalarKey() bool { return k == kindS || k == kindN || k == kindB }

func (k kind) isSet() bool { return k == kindSS || k == kindNS || k == kindBS }

// member is the kind of a set's members.
func (k kind) member() kind { return k[:1] }

// size is what the value counts in an item, in bytes.
func (v value) size() int {
	switch v.kind {
	case kindN:
		return v.num.size()
	case kindS, kindB:
		return len(v.bytes)
	case kindSS, kindNS, kindBS:
		size := 0
		for _, m := range v.list {
			size += m.size()
		}
		return size
	case kindL:
		size := 3
		for _, m := range v.list {
			size += 1 + m.size()
		}
		return size
	case kindM:
		return 3 + len(v.attrs) + v.attrs.size()
	default: // BOOL and NULL
		return 1
	}
}

// size is the item's size in bytes: names and values.
func (it item) size() int {
	size := 0
	for name, v := range it {
		size += len(name) + v.size()
	}
	return size
}

// valueSize leaves out the names.
func (it item) valueSize() int {
	size := 0
	for _, v := range it {
		size += v.size()
	}
	return size
}

// compare orders two values of one kind that has an order: S, N and B, the
// former two by unsigned bytes.
func (v value) compare(o value) int {
	if v.kind == kindN {
		return v.num.compare(o.num)
	}
	return strings.Compare(v.bytes, o.bytes)
}

func (v value) ordered() bool { return v.kind.isScalarKey() }

func (v value) equal(o value) bool {
	if v.kind != o.kind {
		return false
	}
	switch v.kind {
	case kindBool:
		return v.yes == o.yes
	case kindNull:
		return true
	case kindL:
		return slices.EqualFunc(v.list, o.list, value.equal)
	case kindM:
		return v.attrs.equal(o.attrs)
	case kindSS, kindNS, kindBS:
		return len(v.list) == len(o.list) && !slices.ContainsFunc(v.list, func(m value) bool { return !o.has(m) })
	default:
		return v.compare(o) == 0
	}
}

func (it item) equal(o item) bool {
	if len(it) != len(o) {
		return false
	}
	for name, v := range it {
		if w, ok := o[name]; !ok || !v.equal(w) {
			return false
		}
	}
	return true
}

// has says whether a set or a list holds m.
func (v value) has(m value) bool { return slices.ContainsFunc(v.list, m.equal) }

// depth counts the lists and maps inside each other.
func (v value) depth() int {
	deepest := 0
	for _, m := range v.list {
		deepest = max(deepest, m.depth())
	}
	for _, m := range v.attrs {
		deepest = max(deepest, m.depth())
	}
	if v.kind == kindL || v.kind == kindM {
		deepest++
	}
	return deepest
}

// String is the value as hooks see keys: S as it is, N plain, B in base64.
func (v value) String() string {
	switch v.kind {
	case kindN:
		return v.num.String()
	case kindB:
		return encodeBinary(v.bytes)
	default:
		return v.bytes
	}
}
