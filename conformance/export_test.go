package conformance

import "github.com/switchyard-dev/switchyard/eventstore"

// OwnRecords returns what gives all handles of a store the suite's own records in
// place of theirs.
func OwnRecords() func(eventstore.Backend) eventstore.Backend {
	kept := newRecords()
	return func(b eventstore.Backend) eventstore.Backend {
		return &supplemented{Backend: noRecords{b}, kept: kept, closed: make(chan struct{})}
	}
}

// noRecords declares that there are none.
type noRecords struct{ eventstore.Backend }

func (n noRecords) Capabilities() eventstore.Capabilities {
	caps := n.Backend.Capabilities()
	caps.Checkpoints, caps.Snapshots = eventstore.No("for a test"), eventstore.No("for a test")
	return caps
}
