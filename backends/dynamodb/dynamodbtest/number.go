package dynamodbtest

import (
	"math/big"
	"strconv"
	"strings"
)

// Limits of a number: significant digits, and the powers of ten of the first
// of them (9.99…E+125 down to 1E-130).
const (
	maxDigits   = 38
	maxExponent = 125
	minExponent = -130
)

// number is a decimal ±d.ddd × 10^exp. digits has neither leading nor trailing
// zeros; zero has none at all.
type number struct {
	neg    bool
	digits string
	exp    int
}

// parseNumber reads a number as clients send it, which may be in scientific
// notation.
func parseNumber(text string) (number, *Error) {
	noNumber := invalid("The parameter cannot be converted to a numeric value: " + text)
	rest := text
	var n number
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		n.neg = rest[0] == '-'
		rest = rest[1:]
	}
	exponent := 0
	if at := strings.IndexAny(rest, "eE"); at >= 0 {
		digits := strings.TrimLeft(rest[at+1:], "+-")
		if len(rest)-at-1-len(digits) > 1 || !allDigits(digits) {
			return number{}, noNumber
		}
		var err error
		if exponent, err = strconv.Atoi(rest[at+1:]); err != nil {
			return number{}, noNumber
		}
		rest = rest[:at]
	}
	whole, fraction, _ := strings.Cut(rest, ".")
	if !allDigits(whole + fraction) {
		return number{}, noNumber
	}
	all := whole + fraction
	significant := strings.TrimLeft(all, "0")
	n.exp = exponent + len(whole) - 1 - (len(all) - len(significant))
	n.digits = strings.TrimRight(significant, "0")
	return n.checked()
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// checked holds a number against the limits. Zero has one form.
func (n number) checked() (number, *Error) {
	switch {
	case n.digits == "":
		return number{}, nil
	case len(n.digits) > maxDigits:
		return number{}, invalid("Attempting to store more than 38 significant digits in a Number")
	case n.exp > maxExponent:
		return number{}, invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case n.exp < minExponent:
		return number{}, invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return n, nil
}

// String writes the number as the service answers it: plain, without exponent.
func (n number) String() string {
	var b strings.Builder
	if n.neg {
		b.WriteByte('-')
	}
	switch point := n.exp + 1; {
	case n.digits == "":
		b.WriteByte('0')
	case point <= 0:
		b.WriteString("0." + strings.Repeat("0", -point) + n.digits)
	case point >= len(n.digits):
		b.WriteString(n.digits + strings.Repeat("0", point-len(n.digits)))
	default:
		b.WriteString(n.digits[:point] + "." + n.digits[point:])
	}
	return b.String()
}

// compare orders by value.
func (n number) compare(o number) int {
	sign := func(n number) int {
		switch {
		case n.digits == "":
			return 0
		case n.neg:
			return -1
		}
		return 1
	}
	if a, b := sign(n), sign(o); a != b || a == 0 {
		return a - b
	}
	magnitude := n.exp - o.exp
	if magnitude == 0 {
		magnitude = strings.Compare(n.digits, o.digits) // no trailing zeros, so as fractions
	}
	if n.neg {
		return -magnitude
	}
	return magnitude
}

// plus adds exactly. A sum that needs more than 38 digits is refused.
func (n number) plus(o number) (number, *Error) {
	// 125+130+38 digits at most: no need to be clever.
	scale := min(n.exp-len(n.digits), o.exp-len(o.digits)) + 1
	sum := new(big.Int).Add(n.scaled(scale), o.scaled(scale))
	text := sum.Text(10)
	result := number{neg: sum.Sign() < 0}
	text = strings.TrimPrefix(text, "-")
	result.exp = scale + len(text) - 1
	result.digits = strings.Trim(text, "0")
	return result.checked()
}

// scaled is the number as a multiple of 10^scale, which must divide it.
func (n number) scaled(scale int) *big.Int {
	if n.digits == "" {
		return new(big.Int)
	}
	zeros := n.exp - len(n.digits) + 1 - scale
	i, _ := new(big.Int).SetString(n.digits+strings.Repeat("0", zeros), 10)
	if n.neg {
		i.Neg(i)
	}
	return i
}

func (n number) negated() number {
	if n.digits != "" {
		n.neg = !n.neg
	}
	return n
}

// size is what the number counts in an item: a byte for two digits on either
// side of the point, one for the number, one for a minus sign.
func (n number) size() int {
	whole := min(max(n.exp+1, 0), len(n.digits))
	size := (whole+1)/2 + (len(n.digits)-whole+1)/2 + 1
	if n.neg {
		size++
	}
	return size
}
