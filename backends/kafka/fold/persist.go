package fold

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// stateFormat is that of a saved state. Another one is not read: the log is folded
// anew instead.
const stateFormat = 1

// ErrState is the error of [Restore] for bytes that are no saved state of this
// version.
var ErrState = errors.New("not a saved state of this version")

// Image is what a state was at a moment. It may be used while the state folds on: what
// they share never changes.
type Image struct {
	state   State // but for what follows
	leases  map[string]Lease
	head    string
	streams []streamImage
}

// streamImage has the entries that there were: later ones are added behind them.
type streamImage struct {
	name    string
	entries []entry
}

// Image returns what the state is now. It takes as long as there are streams, however
// many events they have. A halted state is not to be saved.
func (s *State) Image() *Image {
	i := &Image{state: *s, leases: maps.Clone(s.leases), streams: make([]streamImage, 0, len(s.streams))}
	if s.head != nil {
		i.head = s.head.name
	}
	for name, stream := range s.streams {
		i.streams = append(i.streams, streamImage{name, stream.entries})
	}
	return i
}

// Append encodes the state after the bytes of b, about 32 bytes an event.
func (i *Image) Append(b []byte) []byte {
	start, s := len(b), &i.state
	b = append(b, magic, stateFormat, rules)
	b = append(b, s.store[:]...)
	b = binary.AppendUvarint(b, uint64(s.next))
	b = append(b, s.hash[:]...)
	for _, n := range []uint64{s.counts.Streams, s.counts.Events, s.counts.Accepted, s.counts.Repeated, s.counts.Refused, s.counts.Ignored, s.sealEpoch} {
		b = binary.AppendUvarint(b, n)
	}
	if s.seal != nil {
		b = append(b, 1)
		b = binary.AppendUvarint(b, uint64(s.seal.Offset))
		b = appendTime(b, s.seal.At)
		b = appendText(b, s.seal.Reason)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(i.leases)))
	for _, name := range slices.Sorted(maps.Keys(i.leases)) {
		lease := i.leases[name]
		b = appendText(b, name)
		b = binary.AppendUvarint(b, lease.Epoch)
		b = appendText(b, lease.Owner)
		b = binary.AppendUvarint(b, uint64(lease.TTL))
		b = appendTime(b, lease.At)
		b = binary.AppendUvarint(b, lease.ResetEpoch)
		b = append(b, lease.ResetID[:]...)
	}
	b = appendText(b, i.head)
	b = binary.AppendUvarint(b, uint64(len(i.streams)))
	for _, stream := range i.streams {
		b = appendText(b, stream.name)
		b = binary.AppendUvarint(b, uint64(len(stream.entries)))
		for j := range stream.entries {
			e := &stream.entries[j]
			b = binary.BigEndian.AppendUint64(b, uint64(e.place))
			b = append(b, e.id[:]...)
			b = binary.BigEndian.AppendUint64(b, e.digest)
		}
	}
	return binary.BigEndian.AppendUint32(b, checksum(b[start:]))
}

// Restore decodes a saved state.
func Restore(b []byte) (*State, error) {
	end := len(b) - trailerSize
	if end < 3 || b[0] != magic || b[1] != stateFormat || b[2] != rules {
		return nil, ErrState
	}
	if binary.BigEndian.Uint32(b[end:]) != checksum(b[:end]) {
		return nil, fmt.Errorf("%w: it is damaged", ErrState)
	}
	in := reader{rest: b[3:end]}
	s := New()
	s.store = in.uuid()
	s.next = int64(in.uvarint())
	copy(s.hash[:], in.take(uint64(len(s.hash))))
	for _, n := range []*uint64{&s.counts.Streams, &s.counts.Events, &s.counts.Accepted, &s.counts.Repeated, &s.counts.Refused, &s.counts.Ignored, &s.sealEpoch} {
		*n = in.uvarint()
	}
	if in.byte() == 1 {
		s.seal = &Sealed{Offset: int64(in.uvarint()), At: At(in.time()), Reason: string(in.text())}
	}
	for n := in.uvarint(); n > 0 && !in.bad; n-- {
		name := in.text()
		s.leases[string(name)] = Lease{
			Epoch: in.uvarint(), Owner: string(in.text()), TTL: time.Duration(in.uvarint()), At: At(in.time()),
			ResetEpoch: in.uvarint(), ResetID: in.uuid(),
		}
	}
	head := in.text()
	for n := in.uvarint(); n > 0 && !in.bad; n-- {
		s.restoreStream(&in)
	}
	s.head = s.streams[string(head)]
	if in.bad || len(in.rest) > 0 || s.store == uuid.Nil || s.next <= 0 {
		return nil, fmt.Errorf("%w: its parts do not fit", ErrState)
	}
	return s, nil
}

func (s *State) restoreStream(in *reader) {
	const entrySize = 8 + 16 + 8
	to := &stream{name: string(in.text())}
	count := in.uvarint()
	if count > uint64(len(in.rest))/entrySize {
		in.bad = true
		return
	}
	to.entries = make([]entry, count)
	for i := range to.entries {
		to.entries[i] = entry{place: place(in.time()), id: in.uuid(), digest: uint64(in.time())}
	}
	if len(to.entries) > scanLength {
		to.ids.add(to.entries, s.seed)
	}
	s.streams[to.name] = to
}
