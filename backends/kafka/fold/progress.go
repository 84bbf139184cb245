package fold

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// tableKind says what a record of a compacted topic holds. These never meet the
// kinds of the log.
type tableKind byte

const (
	kindProgress tableKind = 0x41
	kindSnapshot tableKind = 0x42
)

const (
	flagFound    = 1
	flagRepaired = 2
)

// Progress is what is kept of a subscription under one epoch of its lease: its
// checkpoint and what the lease's owner has said since it took the lease. One
// record holds all of it, so that the last one of a key is enough.
type Progress struct {
	// Log is the identity of the store whose log decides on the epochs.
	Log uuid.UUID
	// Generation counts the resets within an epoch, and Opener names the one that
	// began this generation. They are for names whose lease was never taken; else a
	// reset takes a new epoch.
	Generation uint64
	Opener     uuid.UUID
	// Renewals, Owner and TTL are the lease's. Previous is the number of renewals
	// that the writer saw.
	Renewals, Previous uint64
	Owner              string
	TTL                time.Duration
	// Found tells whether there is a checkpoint; its Name and Epoch are the key's.
	Found      bool
	Checkpoint eventstore.Checkpoint
	// Repaired says that the writer saw records which contradict each other, and
	// that this is what they come to.
	Repaired bool
}

// ProgressKey is the key of what is kept under an epoch. A reset that begins an
// epoch is written before the epoch is taken, under the ID of the record that will
// take it; uuid.Nil is for what is written afterwards.
func ProgressKey(name string, epoch uint64, reset uuid.UUID) []byte {
	key := append([]byte(name), 0)
	key = binary.BigEndian.AppendUint64(key, epoch)
	if reset != uuid.Nil {
		key = append(key, reset[:]...)
	}
	return key
}

// parseProgressKey reads a key. Names have no zero byte.
func parseProgressKey(key []byte) (name string, epoch uint64, reset uuid.UUID, ok bool) {
	for i, b := range key {
		if b != 0 {
			continue
		}
		rest := key[i+1:]
		if len(rest) != 8 && len(rest) != 8+16 {
			return "", 0, uuid.Nil, false
		}
		copy(reset[:], rest[8:])
		return string(key[:i]), binary.BigEndian.Uint64(rest), reset, true
	}
	return "", 0, uuid.Nil, false
}

// Encode returns the record's value.
func (p Progress) Encode() []byte {
	frame := startFrame(nil, Kind(kindProgress), p.Log)
	frame = binary.AppendUvarint(frame, p.Generation)
	frame = append(frame, p.Opener[:]...)
	frame = binary.AppendUvarint(frame, p.Renewals)
	frame = binary.AppendUvarint(frame, p.Previous)
	frame = appendText(frame, p.Owner)
	frame = binary.AppendUvarint(frame, uint64(max(p.TTL, 0)))
	var flags byte
	if p.Found {
		flags |= flagFound
	}
	if p.Repaired {
		flags |= flagRepaired
	}
	frame = append(frame, flags)
	if p.Found {
		place := p.Checkpoint.Place
		hi, lo := place.Position.Words()
		frame = append(frame, p.Checkpoint.Store[:]...)
		frame = binary.AppendUvarint(frame, hi)
		frame = binary.AppendUvarint(frame, lo)
		frame = appendText(frame, place.Stream)
		frame = binary.AppendUvarint(frame, place.Version)
		frame = append(frame, place.ID[:]...)
	}
	return endFrame(frame)
}

// decodeProgress reads a record's value, as [Record.Decode] reads the log's.
func decodeProgress(value []byte) (Progress, error) {
	in, log, err := openFrame(value, kindProgress)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Log: log, Generation: in.uvarint(), Opener: in.uuid(), Renewals: in.uvarint(), Previous: in.uvarint(), Owner: string(in.text())}
	ttl, flags := in.uvarint(), in.byte()
	if ttl > math.MaxInt64 || flags&^(flagFound|flagRepaired) != 0 {
		return Progress{}, ErrMalformed
	}
	p.TTL, p.Repaired = time.Duration(ttl), flags&flagRepaired != 0
	if p.Found = flags&flagFound != 0; p.Found {
		p.Checkpoint.Store = in.uuid()
		place := &p.Checkpoint.Place
		hi := in.uvarint()
		place.Position = eventstore.NewPosition(hi, in.uvarint())
		place.Stream, place.Version, place.ID = string(in.text()), in.uvarint(), in.uuid()
	}
	if in.bad || len(in.rest) > 0 {
		return Progress{}, ErrMalformed
	}
	return p, nil
}

// openFrame checks a frame of a compacted topic and returns what is inside.
func openFrame(value []byte, kind tableKind) (in reader, log uuid.UUID, err error) {
	if len(value) < headSize+trailerSize || value[0] != magic {
		return reader{}, uuid.Nil, ErrMalformed
	}
	end := len(value) - trailerSize
	switch {
	case binary.BigEndian.Uint32(value[end:]) != checksum(value[:end]):
		return reader{}, uuid.Nil, ErrMalformed
	case value[1] > format || value[1] == format && tableKind(value[2]) > kindSnapshot:
		return reader{}, uuid.Nil, &NewerError{Format: value[1], Kind: value[2]}
	case value[1] != format || tableKind(value[2]) != kind:
		return reader{}, uuid.Nil, ErrMalformed
	}
	return reader{rest: value[headSize:end]}, uuid.UUID(value[3:headSize]), nil
}

// join returns what two records of one key come to, in their order, and whether
// the later one renewed the lease. Positions only grow within a generation; of two
// renewals of the same lease the first one counts.
func (p Progress) join(next Progress) (joined Progress, renewed bool) {
	switch {
	case next.Generation < p.Generation, next.Generation == p.Generation && next.Opener != p.Opener && !next.Repaired:
		return p, false // a reset came first
	case next.Generation > p.Generation, next.Opener != p.Opener:
		return next, true
	}
	joined, joined.Repaired = p, next.Repaired
	if next.Found && (!p.Found || p.Checkpoint.Place.Position.Before(next.Checkpoint.Place.Position)) {
		joined.Found, joined.Checkpoint = true, next.Checkpoint
	}
	// A writer has seen at most what is folded; where it has seen more, the
	// records in between were compacted.
	renewed = next.Renewals > p.Renewals && next.Previous >= p.Renewals
	if renewed || next.Repaired && next.Renewals == p.Renewals {
		joined.Renewals, joined.Previous, joined.Owner, joined.TTL = next.Renewals, next.Previous, next.Owner, next.TTL
	}
	return joined, renewed
}

// says tells whether a record holds all that it was joined to, so that it may
// stand alone.
func (p Progress) says(joined Progress) bool {
	p.Previous, joined.Previous, p.Repaired, joined.Repaired = 0, 0, false, false
	return p == joined
}
