package fold

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Kind says what a record proposes. Kinds are never reused.
type Kind byte

// The kinds of records.
const (
	KindGenesis Kind = iota + 1
	KindAppend
	KindSeal
	KindUnseal
	KindLease
)

const (
	magic  = 0x5D
	format = 1
	rules  = 1

	headSize    = 3 + 16
	trailerSize = 4

	flagRecordedAt = 1
	flagRepetition = 2

	codeAny     = 1
	codeExists  = 2
	codeExactly = 3

	// maxEvents is the most events of one record: a place has 16 bits for the
	// event's index in its record. It bounds the parts too.
	maxEvents = 1 << 16
)

// TimeRange returns the earliest and the latest record time that a frame holds.
func TimeRange() (earliest, latest time.Time) {
	return time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, math.MaxInt64).UTC()
}

// Genesis encodes the first record of a store.
func Genesis(request, store uuid.UUID) []byte {
	frame := startFrame(nil, KindGenesis, request)
	frame = append(frame, store[:]...)
	frame = binary.AppendUvarint(frame, rules)
	return endFrame(frame)
}

// Seal encodes a seal. The epoch is [State.SealEpoch] of the unsealed state that
// the writer saw; a writer that sees a sealed one sends none.
func Seal(request uuid.UUID, at time.Time, epoch uint64, reason string) []byte {
	frame := startFrame(nil, KindSeal, request)
	frame = appendTime(frame, at)
	frame = binary.AppendUvarint(frame, epoch)
	return endFrame(appendText(frame, reason))
}

// Unseal encodes the end of a seal. The epoch is [State.SealEpoch] of the sealed
// state that the writer saw; a writer that sees an unsealed one sends none.
func Unseal(request uuid.UUID, at time.Time, epoch uint64) []byte {
	frame := startFrame(nil, KindUnseal, request)
	frame = appendTime(frame, at)
	return endFrame(binary.AppendUvarint(frame, epoch))
}

// TakeLease encodes the taking of a lease. The epoch is that of the last accepted
// lease of the name that the writer saw, plus one; a writer sends no higher one.
// One without an owner is free: it begins an epoch at a reset.
func TakeLease(request uuid.UUID, at time.Time, name string, epoch uint64, owner string, ttl time.Duration) []byte {
	frame := startFrame(nil, KindLease, request)
	frame = appendTime(frame, at)
	frame = appendText(frame, name)
	frame = binary.AppendUvarint(frame, epoch)
	frame = binary.AppendUvarint(frame, uint64(max(ttl, 0)))
	return endFrame(appendText(frame, owner))
}

// Request is an append that may be proposed: encoded once, judged as often as needed.
type Request struct {
	id uuid.UUID
	// parts are the caller's with each event's body, encoded, as its Data: that is
	// all that a verdict needs.
	parts []eventstore.StreamAppend
	size  int
}

// NewRequest prepares an append. Nothing of the parts is kept or changed. A
// record time that a frame cannot hold, and more than 65,536 events or parts, are an
// [eventstore.InvalidError]; an event ID twice for one stream is an
// [eventstore.EventIDReusedError].
func NewRequest(id uuid.UUID, parts []eventstore.StreamAppend) (*Request, error) {
	r := &Request{id: id, parts: make([]eventstore.StreamAppend, len(parts))}
	events := 0
	// The head, the time and three numbers, at their longest.
	r.size = headSize + 8 + 2*binary.MaxVarintLen64 + trailerSize
	earliest, latest := TimeRange()
	for i, part := range parts {
		if at := part.RecordedAt; at != nil && (at.Before(earliest) || at.After(latest)) {
			return nil, &eventstore.InvalidError{
				Field:  fmt.Sprintf("parts[%d].recordedAt", i),
				Reason: fmt.Sprintf("%s is not between %s and %s", at.Format(time.RFC3339), earliest.Format(time.RFC3339), latest.Format(time.RFC3339)),
			}
		}
		// The lengths, expectation, flags and time, at their longest.
		r.size += len(part.Stream) + 3*binary.MaxVarintLen64 + 1 + 1 + 8
		judged := part
		judged.Events = make([]eventstore.Event, len(part.Events))
		for j, event := range part.Events {
			judged.Events[j] = eventstore.Event{ID: event.ID, Data: appendBody(nil, event)}
			r.size += 16 + len(judged.Events[j].Data)
		}
		r.parts[i] = judged
		events += len(part.Events)
	}
	if max(events, len(parts)) > maxEvents {
		return nil, &eventstore.InvalidError{Field: "events", Reason: fmt.Sprintf("%d events in %d parts; at most %d of each", events, len(parts), maxEvents)}
	}
	if part, id, twice := repeatedID(r.parts); twice {
		return nil, &eventstore.EventIDReusedError{Stream: part.Stream, ID: id, Reason: "it occurs twice in this append"}
	}
	return r, nil
}

// ID returns the request's ID.
func (r *Request) ID() uuid.UUID { return r.id }

// MaxSize returns a bound on the size of the request's frame, in bytes.
func (r *Request) MaxSize() int { return r.size }

// frame encodes the request as judged: the parts that were repetitions are marked.
func (r *Request) frame(at time.Time, sealEpoch uint64, decisions []adapter.Decision) []byte {
	frame := startFrame(make([]byte, 0, r.size), KindAppend, r.id)
	frame = appendTime(frame, at)
	frame = binary.AppendUvarint(frame, sealEpoch)
	frame = binary.AppendUvarint(frame, uint64(len(r.parts)))
	for i, decision := range decisions {
		part := r.parts[i]
		frame = appendText(frame, part.Stream)
		frame = appendExpected(frame, part.Expected)
		var flags byte
		if part.RecordedAt != nil {
			flags |= flagRecordedAt
		}
		if decision.Recorded != nil {
			flags |= flagRepetition
		}
		frame = append(frame, flags)
		if part.RecordedAt != nil {
			frame = appendTime(frame, *part.RecordedAt)
		}
		frame = binary.AppendUvarint(frame, uint64(len(part.Events)))
		for _, event := range part.Events {
			frame = append(frame, event.ID[:]...)
			frame = append(frame, event.Data...)
		}
	}
	return endFrame(frame)
}

func appendExpected(frame []byte, expected eventstore.ExpectedVersion) []byte {
	if version, exact := expected.Exact(); exact {
		return binary.AppendUvarint(append(frame, codeExactly), version)
	}
	if expected == eventstore.StreamExists() {
		return append(frame, codeExists)
	}
	return append(frame, codeAny)
}

// appendBody encodes all of an event but its ID: what makes its content.
func appendBody(frame []byte, event eventstore.Event) []byte {
	frame = appendText(frame, event.Type)
	frame = appendText(frame, event.ContentType)
	frame = binary.AppendUvarint(frame, uint64(len(event.Metadata)))
	for _, key := range slices.Sorted(maps.Keys(event.Metadata)) {
		frame = appendText(frame, key)
		frame = appendText(frame, event.Metadata[key])
	}
	return appendText(frame, event.Data)
}

func appendText[T string | []byte](frame []byte, text T) []byte {
	frame = binary.AppendUvarint(frame, uint64(len(text)))
	return append(frame, text...)
}

func appendTime(frame []byte, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(frame, uint64(at.UnixNano()))
}

func startFrame(frame []byte, kind Kind, request uuid.UUID) []byte {
	frame = append(frame, magic, format, byte(kind))
	return append(frame, request[:]...)
}

func endFrame(frame []byte) []byte {
	return binary.BigEndian.AppendUint32(frame, checksum(frame))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
