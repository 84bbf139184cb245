package bench

import "fmt"

// Usage is what a database that bills by use has counted so far.
type Usage struct {
	Requests              int64
	ReadUnits, WriteUnits float64
}

// Prices are what a million units cost, in dollars. Dollars a million events are
// printed with them, because they differ by region and change.
type Prices struct{ Reads, Writes float64 }

// Meter counts what a store consumes, for a [Target] on a database that bills by use.
type Meter struct {
	Now    func() Usage
	Prices Prices
}

// note says what n events, written in so many calls, have cost.
func (m *Meter) note(before, after Usage, events, calls int) string {
	if events == 0 || calls == 0 {
		return ""
	}
	n := float64(events)
	reads, writes := (after.ReadUnits-before.ReadUnits)/n, (after.WriteUnits-before.WriteUnits)/n
	return fmt.Sprintf("an event: %.2f write and %.3f read units; a call: %.2f requests; $%.2f a million events at $%g and $%g a million write and read units",
		writes, reads, float64(after.Requests-before.Requests)/float64(calls),
		writes*m.Prices.Writes+reads*m.Prices.Reads, m.Prices.Writes, m.Prices.Reads)
}
