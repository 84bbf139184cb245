package transfer

import "github.com/switchyard-dev/switchyard/eventstore"

// Estimate says how many events a copy, or another read of a store, has to come to. Nobody counts
// them: positions grow with what lies between them, so that the part of the way that is
// done tells about how much is left.
type Estimate struct {
	read  int // when the first was seen
	first float64
}

// Total returns 0 while nothing can be said.
func (e *Estimate) Total(p Progress) int {
	at, head := wayOf(p.Copied.Position), wayOf(p.Head.Position)
	if e.first == 0 {
		e.read, e.first = p.Read, at
		return 0
	}
	done := at - e.first
	if done <= 0 || head <= at {
		return p.Read
	}
	return p.Read + int(float64(p.Read-e.read)/done*(head-at))
}

// wayOf is how far a position is from the beginning, in its store's own measure.
func wayOf(p eventstore.Position) float64 {
	hi, _ := p.Words()
	return float64(hi)
}
