package adapter

import (
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	// fewEvents are all that most pages hold: those of a young stream, and those of a
	// subscription that is caught up.
	fewEvents = 16
	// maxRoom bounds what a page with a large limit holds on to before it is filled.
	maxRoom = 8192
)

// GrowPage returns the events of a page, of which there are at most limit, with room for the
// next: for a few at first, and then for many at once, since a page that has more than a few
// most often becomes full. Growing a little again and again copies every event several times.
// It is called before each append to the page.
func GrowPage(events []eventstore.RecordedEvent, limit int) []eventstore.RecordedEvent {
	left := max(1, limit-len(events))
	switch len(events) {
	case 0:
		return slices.Grow(events, min(left, fewEvents))
	case fewEvents:
		return slices.Grow(events, min(left, maxRoom))
	}
	return events
}
