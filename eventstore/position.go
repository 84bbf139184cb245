package eventstore

import (
	"cmp"
	"strconv"
	"strings"
)

// Position is a place in a store's global order. It is opaque: positions may be
// sparse, so they are compared and resumed from, never computed. The zero
// Position lies before the first event. Positions are comparable with ==.
//
// Two 64-bit words, the high one first, are enough for every backend: a
// sequence number, EventStoreDB's commit and prepare, or an offset and an index.
type Position struct{ hi, lo uint64 }

// NewPosition makes a Position from its two words. It is for adapters.
func NewPosition(hi, lo uint64) Position { return Position{hi, lo} }

// Words returns the two words that NewPosition took. It is for adapters.
func (p Position) Words() (hi, lo uint64) { return p.hi, p.lo }

// IsZero tells whether p lies before the first event.
func (p Position) IsZero() bool { return p == Position{} }

// Compare returns -1 if p lies before q, 0 if they are equal, +1 if p lies after q.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.hi, q.hi); c != 0 {
		return c
	}
	return cmp.Compare(p.lo, q.lo)
}

// Before tells whether p lies before q.
func (p Position) Before(q Position) bool { return p.Compare(q) < 0 }

// String returns the text form that [ParsePosition] reads: the high word in
// decimal, then a slash and the low word where that is not zero.
func (p Position) String() string {
	s := strconv.FormatUint(p.hi, 10)
	if p.lo != 0 {
		s += "/" + strconv.FormatUint(p.lo, 10)
	}
	return s
}

// ParsePosition reads what [Position.String] wrote. Any other spelling of the
// same numbers (signs, leading zeros, "5/0") is refused with ErrInvalid, so one
// position has one text.
func ParsePosition(s string) (Position, error) {
	high, low, two := strings.Cut(s, "/")
	hi, errHigh := strconv.ParseUint(high, 10, 64)
	var lo uint64
	var errLow error
	if two {
		lo, errLow = strconv.ParseUint(low, 10, 64)
	}
	p := Position{hi, lo}
	if errHigh != nil || errLow != nil || p.String() != s {
		return Position{}, invalid("position", "%q is not a position; pass one that a store printed, such as 42 or 42/7", clip(s))
	}
	return p, nil
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParsePosition.
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}
