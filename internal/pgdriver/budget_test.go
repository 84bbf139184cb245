package pgdriver_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

func TestAPageIsAskedForWithRoomForTwiceItsUsualEvents(t *testing.T) {
	var budget pgdriver.PageBudget
	require.Equal(t, 10, budget.Limit(eventstore.PageSize{MaxEvents: 10, MaxBytes: 1}), "nothing was learned")
	budget.Learn(10, 990)
	for name, test := range map[string]struct {
		size eventstore.PageSize
		want int
	}{
		"bytes bound it":           {eventstore.PageSize{MaxEvents: 1000, MaxBytes: 1000}, 20},
		"events bound it":          {eventstore.PageSize{MaxEvents: 10, MaxBytes: 1000}, 10},
		"one event is always room": {eventstore.PageSize{MaxEvents: 10, MaxBytes: 1}, 1},
		"no bound on bytes":        {eventstore.PageSize{MaxEvents: 1000, MaxBytes: math.MaxInt}, 1000},
		"no bound at all":          {eventstore.PageSize{MaxEvents: math.MaxInt, MaxBytes: math.MaxInt}, math.MaxInt / 100},
	} {
		t.Run(name, func(t *testing.T) {
			require.GreaterOrEqual(t, budget.Limit(test.size), test.want)
			require.LessOrEqual(t, budget.Limit(test.size), test.want+1)
		})
	}
}
