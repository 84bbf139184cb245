package move

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// maxDecisions is how many decisions a report lists; the others are counted.
const maxDecisions = 1000

// decisions are what TO says of the events that it holds otherwise than FROM, whichever
// run did it. Its fields are kept with the digests.
type decisions struct {
	List     []transfer.Decision
	Unlisted int
	// Streams are those that are renamed or renumbered: only the first event of so many
	// is listed, unless there is more to an event.
	Streams map[string]shift
}

// shift is how the events of a stream are called in TO.
type shift struct {
	Stream string
	Lower  uint64 // by so much their versions are
}

// event names an event of FROM.
type event struct {
	stream  string
	version uint64
	id      uuid.UUID
}

// add takes in an event of TO, and what it was in FROM.
func (d *decisions) add(stored eventstore.RecordedEvent, was transfer.Original) {
	if len(was.Remedies) == 0 {
		return
	}
	if !was.Apart() {
		now := shift{Stream: stored.Stream, Lower: was.Version - stored.Version}
		known, ok := d.Streams[was.Stream]
		if ok && known == now && asItsStream(stored, was) {
			return
		}
		if d.Streams == nil {
			d.Streams = make(map[string]shift)
		}
		d.Streams[was.Stream] = now
	}
	if len(d.List) == maxDecisions {
		d.Unlisted++
		return
	}
	d.List = append(d.List, transfer.Decision{
		Remedies: was.Remedies, Stream: was.Stream, Version: was.Version, ID: was.ID,
		ToStream: stored.Stream, ToVersion: stored.Version, ToID: stored.ID,
	})
}

// asItsStream tells whether nothing but an event's stream and version is otherwise in TO.
func asItsStream(stored eventstore.RecordedEvent, was transfer.Original) bool {
	only := func(remedy transfer.Remedy) bool { return remedy == transfer.Rename || remedy == transfer.Renumber }
	if slices.ContainsFunc(was.Remedies, func(remedy transfer.Remedy) bool { return !only(remedy) }) {
		return false
	}
	for key, value := range was.Metadata {
		if stored.Metadata[key] != value {
			return false
		}
	}
	return was.ID == stored.ID && was.Type == stored.Type
}

// clone returns a copy that later events do not change.
func (d *decisions) clone() *decisions {
	if d == nil {
		return nil
	}
	return &decisions{List: slices.Clone(d.List), Unlisted: d.Unlisted, Streams: maps.Clone(d.Streams)}
}

// unknownReason stands where no run has kept why TO refused an event.
const unknownReason = "by an earlier run, whose reason is not known"

// explain gives the reasons that this run knows: why TO refuses events as FROM has them
// or, of those that came later, what it said to the copy.
func (d *decisions) explain(copied []transfer.Decision, fits map[event]string) {
	reasons := make(map[event]string, len(copied)+len(fits))
	for _, c := range copied {
		reasons[event{c.Stream, c.Version, c.ID}] = c.Reason
	}
	maps.Copy(reasons, fits)
	for i := range d.List {
		c := &d.List[i]
		if reason, ok := reasons[event{c.Stream, c.Version, c.ID}]; ok {
			c.Reason = reason
		}
	}
}

// listed returns the decisions for a report: those of TO, and those of this run's copy
// that were not read back.
func (d *decisions) listed(copied transfer.Refusals) ([]transfer.Decision, int) {
	list, known := make([]transfer.Decision, 0, len(d.List)), make(map[event]struct{}, len(d.List))
	for _, c := range d.List {
		if c.Reason == "" {
			c.Reason = unknownReason
		}
		list = append(list, c)
		known[event{c.Stream, c.Version, c.ID}] = struct{}{}
	}
	unlisted := d.Unlisted
	for _, c := range copied.Decisions {
		if _, ok := known[event{c.Stream, c.Version, c.ID}]; ok || unlisted > 0 {
			continue
		}
		list = append(list, c)
	}
	return list, max(unlisted, copied.Unlisted)
}
