package conformance

import (
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// firstVersion is the version of an append's first event; 0 where it has none.
func firstVersion(r eventstore.AppendResult) uint64 {
	if len(r.Events) == 0 {
		return 0
	}
	return r.Events[0].Version
}

// describeResult says where the events of an append are.
func describeResult(r eventstore.AppendResult) string {
	text := fmt.Sprintf("versions %d to %d, position %s, duplicate %t", firstVersion(r), r.Version, r.Position, r.Duplicate)
	for _, event := range r.Events {
		text += fmt.Sprintf("; %d at %s on %s", event.Version, event.Position, event.RecordedAt)
	}
	return text
}

// sameResult tells whether two answers say the same of where the events are.
// Content is not compared: it is the caller's own.
func sameResult(a, b eventstore.AppendResult) bool {
	return a.Version == b.Version && a.Position == b.Position && a.Duplicate == b.Duplicate &&
		slices.EqualFunc(a.Events, b.Events, func(x, y eventstore.RecordedEvent) bool {
			return x.Place() == y.Place() && x.RecordedAt.Equal(y.RecordedAt)
		})
}
