package memory

import "github.com/switchyard-dev/switchyard/eventstore"

// chunks is a list of events that never moves what it holds: one growing slice
// would copy every event several times and hold the lock for each of the copies.
type chunks struct {
	full   [][]eventstore.RecordedEvent
	length int
}

const chunkLength = 4096

// at returns the event at an index below length.
func (c *chunks) at(i int) *eventstore.RecordedEvent {
	return &c.full[i/chunkLength][i%chunkLength]
}

func (c *chunks) add(event eventstore.RecordedEvent) {
	if c.length == len(c.full)*chunkLength {
		c.full = append(c.full, make([]eventstore.RecordedEvent, chunkLength))
	}
	*c.at(c.length) = event
	c.length++
}
