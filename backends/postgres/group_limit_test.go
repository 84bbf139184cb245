package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// turns gives out positions by a pattern, over and over: 'o' is a group of our
// own, 'x' one of another process, and '<' swaps the last two answers to ours.
func turns(l *groupLimit, at *uint64, pattern string, times int) (flushes int) {
	type span struct{ first, last uint64 }
	for range times {
		var ours []span
		for _, turn := range pattern {
			switch n := len(ours); turn {
			case 'o':
				ours = append(ours, span{*at + 1, *at + 3})
				*at += 3
			case 'x':
				*at += 2
			case '<':
				ours[n-1], ours[n-2] = ours[n-2], ours[n-1]
			}
		}
		for _, s := range ours {
			flushes = l.wrote(s.first, s.last)
		}
	}
	return flushes
}

func TestOneGroupIsUnderWayAmongOthersAndTwoAlone(t *testing.T) {
	for name, test := range map[string]struct {
		pattern string
		flushes int
	}{
		"alone": {"ooo", groups},
		"alone, with answers swapped now and then":   {"oooooooo<", groups},
		"another process takes turns":                {"ox", 1},
		"each has two under way":                     {"ooxx", 1},
		"two other processes":                        {"oxx", 1},
		"another process writes once in a while":     {"oooooooox", groups},
		"another process, and answers that overtake": {"oxo<x", 1},
	} {
		t.Run(name, func(t *testing.T) {
			at := uint64(1000) // what was there before proves nothing
			require.Equal(t, test.flushes, turns(&groupLimit{}, &at, test.pattern, 30))
		})
	}
}

func TestAProcessNoticesWhenOthersComeAndLeave(t *testing.T) {
	var c groupLimit
	var at uint64
	for range 3 {
		require.Equal(t, groups, turns(&c, &at, "o", metMax), "alone")
		require.Equal(t, groups, turns(&c, &at, "ox", 2), "a chance meeting")
		require.Equal(t, 1, turns(&c, &at, "ox", metMax), "among others")
		require.Equal(t, 1, turns(&c, &at, "o", 2), "a pause of theirs")
	}
}
