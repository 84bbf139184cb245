package fold

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Decode reads a frame. It returns [ErrMalformed], or a [NewerError]. It takes
// one spelling of each value only, so that equal contents have equal bytes.
func (r *Record) Decode(value []byte) error {
	*r = Record{Parts: r.Parts[:0], events: r.events[:0]}
	if len(value) < headSize+trailerSize || value[0] != magic {
		return ErrMalformed
	}
	// First of all, for every format: what is damaged says nothing, not even that
	// it is new.
	end := len(value) - trailerSize
	if binary.BigEndian.Uint32(value[end:]) != checksum(value[:end]) {
		return ErrMalformed
	}
	if value[1] > format || value[1] == format && Kind(value[2]) > KindLease {
		return &NewerError{Format: value[1], Kind: value[2]}
	}
	if value[1] != format {
		return ErrMalformed
	}
	r.Kind = Kind(value[2])
	r.ID = uuid.UUID(value[3:headSize])
	rest := reader{rest: value[headSize:end]}
	r.read(&rest)
	if rest.bad || len(rest.rest) > 0 {
		return ErrMalformed
	}
	return nil
}

func (r *Record) read(in *reader) {
	if r.Kind != KindGenesis {
		r.Time = in.time()
	}
	switch r.Kind {
	case KindGenesis:
		r.Store = in.uuid()
		r.Rules = in.uvarint()
	case KindAppend:
		r.SealEpoch = in.uvarint()
		r.readParts(in)
	case KindSeal:
		r.SealEpoch = in.uvarint()
		r.Reason = in.text()
	case KindUnseal:
		r.SealEpoch = in.uvarint()
	case KindLease:
		r.Name = in.text()
		r.Epoch = in.uvarint()
		if length := in.uvarint(); length <= math.MaxInt64 {
			r.TTL = time.Duration(length)
		} else {
			in.bad = true
		}
		r.Owner = in.text()
	default: // kind 0
		in.bad = true
	}
}

func (r *Record) readParts(in *reader) {
	parts := in.uvarint()
	if parts == 0 || parts > maxEvents {
		in.bad = true
	}
	for ; parts > 0 && !in.bad; parts-- {
		part := Part{Stream: in.text(), Expected: in.expected(), Time: r.Time}
		flags := in.byte()
		if flags&^(flagRecordedAt|flagRepetition) != 0 {
			in.bad = true
		}
		part.Repetition = flags&flagRepetition != 0
		if flags&flagRecordedAt != 0 {
			part.Time, part.Imported = in.time(), true
		}
		count := in.uvarint()
		if count == 0 && part.Repetition {
			in.bad = true // there is nothing to repeat
		}
		first := len(r.events)
		for ; count > 0 && !in.bad && len(r.events) < maxEvents; count-- {
			r.events = append(r.events, Event{ID: in.uuid(), Body: in.body()})
		}
		if count > 0 {
			in.bad = true
		}
		part.Events = r.events[first:len(r.events):len(r.events)]
		r.Parts = append(r.Parts, part)
	}
	if len(r.events) == 0 || r.repeatsID() {
		in.bad = true
	}
}

// repeatsID tells whether an event ID occurs twice for one stream.
func (r *Record) repeatsID() bool {
	if len(r.events) == 1 {
		return false
	}
	seen := newIDSet(len(r.events))
	for _, part := range r.Parts {
		for _, event := range part.Events {
			if !seen.add(part.Stream, event.ID) {
				return true
			}
		}
	}
	return false
}

// reader takes values off the front of a frame. Once bad, it returns zeroes.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 && !r.bad { // nearly always
		n := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(n)
	}
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 || size > 1 && r.rest[size-1] == 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) text() []byte { return r.take(r.uvarint()) }

func (r *reader) uuid() (id uuid.UUID) {
	copy(id[:], r.take(16))
	return id
}

func (r *reader) time() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) expected() eventstore.ExpectedVersion {
	switch r.byte() {
	case codeAny:
		return eventstore.Any()
	case codeExists:
		return eventstore.StreamExists()
	case codeExactly:
		return eventstore.Exactly(r.uvarint())
	}
	r.bad = true
	return eventstore.ExpectedVersion{}
}

// body takes an event's content, and returns its bytes.
func (r *reader) body() []byte {
	start := r.rest
	r.text() // type
	r.text() // content type
	var last []byte
	n := r.uvarint()
	for i := uint64(0); i < n && !r.bad; i++ {
		key := r.text()
		if i > 0 && bytes.Compare(last, key) >= 0 {
			r.bad = true
		}
		last = key
		r.text() // value
	}
	r.text() // data
	if r.bad {
		return nil
	}
	size := len(start) - len(r.rest)
	return start[:size:size]
}
