package conformance

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChecksThatWaitTakeNoTurnFromTheOthersAndThoseAloneComeLast(t *testing.T) {
	checks := []Check{
		{Name: "alone", Alone: true},
		{Name: "short"},
		{Name: "rests", Long: true, Rests: true},
		{Name: "long", Long: true},
		{Name: "rests too", Long: true, Rests: true},
		{Name: "not selected"},
	}
	selected := []int{0, 1, 2, 3, 4}
	for _, test := range []struct {
		name     string
		parallel int
		begun    []time.Duration // of each check that is selected
	}{
		{"one at a time, in their order", 1, []time.Duration{4 * time.Second, 0, time.Second, 2 * time.Second, 3 * time.Second}},
		{"two at once", 2, []time.Duration{time.Second, 0, 0, 0, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				var mu sync.Mutex
				begun := make(map[int]time.Duration)
				schedule(checks, selected, test.parallel, func(i int) {
					mu.Lock()
					begun[i] = time.Since(started)
					mu.Unlock()
					pass(time.Second)
				})
				require.Len(t, begun, len(selected))
				for i, at := range test.begun {
					require.Equal(t, at, begun[i], checks[i].Name)
				}
			})
		})
	}
}
