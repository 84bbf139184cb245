package fold

import (
	"hash/maphash"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestAnEventIsFoundByItsIDInStreamsOfAnyLength(t *testing.T) {
	seed := maphash.MakeSeed()
	var s stream
	id := func(n int) uuid.UUID { return uuid.UUID{0: byte(n), 1: byte(n >> 8), 2: byte(n >> 16)} }
	require.Zero(t, s.find(id(0), seed))
	for n := range 5000 {
		require.Zero(t, s.find(id(n), seed), "not yet there")
		s.add(entry{place: place(n), id: id(n)}, seed)
		require.Equal(t, uint64(n)+1, s.find(id(n), seed))
		if n%97 == 0 || n >= scanLength-2 && n <= scanLength+2 { // around where the table begins, and later on
			for m := range n + 1 {
				require.Equal(t, uint64(m)+1, s.find(id(m), seed), "%d of %d", m, n)
			}
		}
		require.Equal(t, n >= scanLength, s.ids != nil, "a short stream has no table")
	}
	require.LessOrEqual(t, 4*len(s.entries), 3*len(s.ids), "a table keeps free slots, or a search has no end")
}

func TestAPlaceHoldsAnOffsetAndAnIndex(t *testing.T) {
	for _, offset := range []int64{1, 1 << 32, maxOffset} {
		for _, index := range []int{0, 1, maxEvents - 1} {
			hi, lo := newPlace(offset, index).position().Words()
			require.Equal(t, uint64(offset), hi)
			require.Equal(t, uint64(index), lo)
		}
	}
	require.Less(t, newPlace(1, maxEvents-1), newPlace(2, 0))
}
