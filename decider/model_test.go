package decider

import (
	"container/list"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOneAtATimeHasATurnWhoeverGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := turns{waiting: make(map[string][]chan struct{})}
		var inside, given atomic.Int64
		var workers sync.WaitGroup
		for worker := range uint64(16) {
			workers.Go(func() {
				r := rand.New(rand.NewPCG(worker, 3))
				for range 100 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(3000))*time.Microsecond)
					if turns.take(ctx, "s", patience(ctx)) {
						given.Add(1)
						if inside.Add(1) > 1 {
							t.Error("two at once have the turn")
						}
						hold := time.NewTimer(time.Duration(r.IntN(100)) * time.Microsecond)
						<-hold.C
						inside.Add(-1)
						turns.leave("s")
					}
					cancel()
				}
			})
		}
		workers.Wait()
		require.Empty(t, turns.waiting, "no turn is left taken")
		require.Less(t, given.Load(), int64(1600), "some gave up")
		require.Positive(t, given.Load())
	})
}

func TestTheCacheIsAsAListOfTheMostRecent(t *testing.T) {
	type item struct {
		stream string
		known  remembered[int]
	}
	for size := 1; size < 5; size++ {
		c := cache[int]{size: size, entries: make(map[string]*list.Element)}
		var model []item // the most recently put first
		r := rand.New(rand.NewPCG(uint64(size), 4))
		for n := range 20000 {
			stream := fmt.Sprint(r.IntN(8))
			i := slices.IndexFunc(model, func(m item) bool { return m.stream == stream })
			switch r.IntN(5) {
			case 0, 1:
				known, ok := c.get(stream)
				require.Equal(t, i >= 0, ok)
				if ok {
					require.Equal(t, model[i].known, known)
				}
			case 2, 3:
				put := item{stream, remembered[int]{state: n, version: 1 + r.Uint64N(20)}}
				c.put(stream, put.known, c.lossesSeen())
				switch {
				case i >= 0:
					if model[i].known.version > put.known.version {
						put = model[i] // an older state is not put over a newer one
					}
					model = slices.Delete(model, i, i+1)
				case len(model) == size:
					model = model[:size-1]
				}
				model = slices.Insert(model, 0, put)
			case 4:
				before := c.lossesSeen()
				c.lost(stream)
				c.put(stream, remembered[int]{version: 1000}, before) // read before the loss
				if i >= 0 {
					model = slices.Delete(model, i, i+1)
				}
			}
			require.Len(t, c.entries, len(model))
		}
	}
}

func TestATurnThatIsGivenToWhoGivesUpAtThatMomentIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := turns{waiting: make(map[string][]chan struct{})}
		for range 500 { // which of the two is seen first is chance
			require.True(t, turns.take(t.Context(), "s", time.Second))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if turns.take(ctx, "s", patience(ctx)) {
					turns.leave("s")
				}
			}()
			synctest.Wait()
			cancel()
			turns.leave("s")
			synctest.Wait()
			require.Empty(t, turns.waiting)
		}
	})
}
