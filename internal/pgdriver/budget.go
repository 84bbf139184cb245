package pgdriver

import (
	"math"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// PageBudget asks the server for about as many events as a page's bytes allow,
// by the size of the events that were read last. The page's own bound is kept in
// any case; this only keeps rows off the wire that the bound would drop.
type PageBudget struct{ meanSize atomic.Int64 }

// firstPage is how many events to ask for while nothing is known of their sizes.
const firstPage = 64

// Limit is how many events to ask for.
func (p *PageBudget) Limit(size eventstore.PageSize) int {
	mean := p.meanSize.Load()
	if mean == 0 {
		return min(size.MaxEvents, firstPage)
	}
	return max(1, min(size.MaxEvents, 2*min(size.MaxBytes, math.MaxInt/2)/int(mean)))
}

// Learn notes what a page held.
func (p *PageBudget) Learn(events, bytes int) {
	if events > 0 {
		p.meanSize.Store(int64(bytes/events) + 1)
	}
}
