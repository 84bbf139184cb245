package dynamodbtest

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustNumber(t *testing.T, text string) number {
	t.Helper()
	n, err := parseNumber(text)
	require.Nil(t, err, text)
	return n
}

func TestNumbersAreAddedExactly(t *testing.T) {
	for _, sum := range [][3]string{
		{"1", "2", "3"},
		{"0", "0", "0"},
		{"-1", "1", "0"},
		{"0", "1e-130", "0." + strings.Repeat("0", 129) + "1"},
		{"0.1", "0.2", "0.3"},
		{"99999999999999999999999999999999999999", "1", "1" + strings.Repeat("0", 38)},
		{"1e20", "-1", "99999999999999999999"},
		{"-2.5", "-2.5", "-5"},
		{"100", "-100.001", "-0.001"},
	} {
		got, err := mustNumber(t, sum[0]).plus(mustNumber(t, sum[1]))
		require.Nil(t, err)
		require.Equal(t, sum[2], got.String())
	}
	_, err := mustNumber(t, "1e40").plus(mustNumber(t, "1"))
	require.ErrorContains(t, err, "more than 38 significant digits")
	_, err = mustNumber(t, "9e125").plus(mustNumber(t, "9e125"))
	require.ErrorContains(t, err, "overflow")
}

// Against the rational numbers of the standard library.
func FuzzNumber(f *testing.F) {
	for _, seed := range [][2]string{{"0", "-0"}, {"1.50", "2e3"}, {"-12.5e-3", "+7."}, {".5", "1e125"}, {"1e-130", "x"}, {"1e", "--1"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		a, errA := parseNumber(first)
		b, errB := parseNumber(second)
		if errA != nil || errB != nil {
			return
		}
		ratOf := func(text string) *big.Rat {
			r, ok := new(big.Rat).SetString(text)
			require.True(t, ok, text)
			return r
		}
		x, y := ratOf(first), ratOf(second)
		require.Zero(t, ratOf(a.String()).Cmp(x), "written %s", a)
		require.Equal(t, a, mustNumber(t, a.String()), "one form for one value")
		require.Equal(t, x.Cmp(y), sign(a.compare(b)))
		require.Equal(t, sign(b.compare(a)), -sign(a.compare(b)))
		require.LessOrEqual(t, a.size(), 22)
		if sum, err := a.plus(b); err == nil {
			require.Zero(t, ratOf(sum.String()).Cmp(new(big.Rat).Add(x, y)))
		}
	})
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestSmallIntegersAreNumbers(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 100, 4096, 123456} {
		require.Equal(t, mustNumber(t, intValue(n).String()), intValue(n).num, n)
	}
}
