package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Digests are those of a store's streams, and one of its order, taken event by
// event as they are read. They hold one digest for each stream in memory.
type Digests struct {
	// AsJSON takes the data of JSON events by what it says; see [AsJSON].
	AsJSON bool
	// Source is the other store, such as "switchyard:UUID": events that were changed on
	// their way from it are taken as they were there; see [Restore].
	Source string
	// Streams has the digest of each stream by its name.
	Streams map[string]StreamDigest
	// Events counts all events.
	Events int
	// Refused counts those of them that were changed, parked or skipped on their way
	// from Source; it has no decisions.
	Refused Refusals
	// Order is a chain over all events in the order in which they were added.
	Order Digest

	canonical []byte
}

// StreamDigest is a chain: the digest of the digest so far and the next event.
type StreamDigest struct {
	Sum    Digest
	Events uint64
}

// AsJSON tells whether stores can be compared only by what their JSON says: one of
// them keeps JSON and not its bytes (capability ExactData).
func AsJSON(stores ...*eventstore.Store) bool { return !keepsBytes(stores...) }

// NewDigests returns the digests of no events, to be held against those of the source.
func NewDigests(asJSON bool, source string) *Digests {
	return &Digests{AsJSON: asJSON, Source: source, Streams: make(map[string]StreamDigest)}
}

// Add takes in the next event of the store.
func (d *Digests) Add(event eventstore.RecordedEvent) {
	original := Restore(event, d.Source)
	s, sum := d.Streams[original.Stream], original.Digest(d.AsJSON)
	d.canonical = append(append(d.canonical[:0], s.Sum[:]...), sum[:]...)
	s.Sum = sha256.Sum256(d.canonical)
	s.Events++
	d.Streams[original.Stream] = s
	d.Events++
	d.Refused.count(original.Remedies)
	d.canonical = append(d.canonical[:0], d.Order[:]...)
	d.canonical = append(d.canonical, s.Sum[:]...)
	d.Order = sha256.Sum256(append(d.canonical, original.Stream...))
}

// Clone returns a copy that later events do not change.
func (d *Digests) Clone() *Digests {
	return &Digests{AsJSON: d.AsJSON, Source: d.Source, Streams: maps.Clone(d.Streams), Events: d.Events, Refused: d.Refused, Order: d.Order}
}

// Summary returns what was added, as one digest over all streams by their names.
func (d *Digests) Summary() Summary {
	whole := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(d.Streams)) {
		s := d.Streams[name]
		var line []byte
		line = binary.BigEndian.AppendUint64(line, uint64(len(name)))
		line = append(line, name...)
		line = binary.BigEndian.AppendUint64(line, s.Events)
		_, _ = whole.Write(append(line, s.Sum[:]...)) // a hash takes everything
	}
	return Summary{Streams: len(d.Streams), Events: d.Events, Digest: Digest(whole.Sum(nil))}
}

// Differing returns how many streams are not the same in both, and the first of
// them by name.
func (d *Digests) Differing(other *Digests) (n int, first string) {
	differs := func(name string) {
		if n++; n == 1 || name < first {
			first = name
		}
	}
	for name, s := range d.Streams {
		if there, ok := other.Streams[name]; !ok || there != s {
			differs(name)
		}
	}
	for name := range other.Streams {
		if _, ok := d.Streams[name]; !ok {
			differs(name)
		}
	}
	return n, first
}
