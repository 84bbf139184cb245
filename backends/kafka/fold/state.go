package fold

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// State is what a log means up to an offset. Reads may run at the same time;
// [State.Fold] needs it alone.
type State struct {
	store  uuid.UUID
	next   int64
	hash   [sha256.Size]byte
	halted error

	streams map[string]*stream
	seed    maphash.Seed // of the streams' ID tables
	head    *stream      // that of the last event; nil before the first

	seal      *Sealed
	sealEpoch uint64
	leases    map[string]Lease

	counts Counts

	// What Fold works with, kept to spare the allocations.
	asked  adapter.Streams
	record Record
	parts  []eventstore.StreamAppend
	events []eventstore.Event
}

// Sealed is the seal that a store is under.
type Sealed struct {
	// Offset is that of the seal's record: every event lies before it.
	Offset int64
	// At is when it was asked for, by its writer's clock.
	At     time.Time
	Reason string
}

// Lease is the last accepted lease of a name.
type Lease struct {
	Epoch uint64
	Owner string
	TTL   time.Duration
	// At is when it was taken, by its writer's clock.
	At time.Time
	// ResetEpoch is the last epoch that began without an owner, and ResetID the ID of
	// the record that began it: what was kept under earlier epochs is void.
	ResetEpoch uint64
	ResetID    uuid.UUID
}

// Counts says what a state was folded from.
type Counts struct {
	Streams, Events uint64
	// Accepted, Repeated and Refused count records. The refused ones, and the
	// copies of accepted ones, stay in the log for ever.
	Accepted, Repeated, Refused uint64
	// Ignored counts what was no record of ours.
	Ignored uint64
}

// New returns the state before the first record.
func New() *State {
	s := &State{streams: make(map[string]*stream), seed: maphash.MakeSeed(), leases: make(map[string]Lease)}
	s.asked = adapter.Streams{Version: s.version, Find: s.find}
	return s
}

// HaltError says why a log cannot be folded any further by this program. It is
// no fault that passes, and matches no sentinel.
type HaltError struct {
	Offset int64
	Reason string
	Err    error // nil where the reason says all
}

func (e *HaltError) Error() string {
	text := fmt.Sprintf("the log cannot be read on at offset %d: %s", e.Offset, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *HaltError) Unwrap() error { return e.Err }

// Outcome is what became of a record.
type Outcome byte

// The outcomes of records.
const (
	// Ignored: it was none of ours, or a late genesis.
	Ignored Outcome = iota
	// Accepted: an append was stored; a seal, its end or a lease holds.
	Accepted
	// Repeated: all of an append was stored already; nothing was added.
	Repeated
	// Refused: nothing was added, and no copy of the record ever adds anything.
	Refused
	// Overtaken: nothing was added, and no copy ever adds anything, but the request
	// may pass: what came before the record changed what its writer had judged by.
	// The writer judges anew and sends a new record.
	Overtaken
)

// Verdict is what became of a record, the same in every process.
type Verdict struct {
	Outcome Outcome
	Kind    Kind
	// ID is the request's; a record may be in the log more than once.
	ID uuid.UUID
	// Offset is the record's, and At its time by its writer's clock.
	Offset int64
	At     time.Time
	// Decisions are on the parts of an append that was accepted or repeated. The
	// record times of repetitions are zero: the index does not have them.
	Decisions []adapter.Decision
	// Err says why an append was refused: an [eventstore.ConflictError], an
	// [eventstore.EventIDReusedError] or a [eventstore.SealedError].
	Err error
}

// Fold takes in the record at an offset, which must be [State.Next]; an empty
// value is nothing of ours. The bytes are not kept. After a [HaltError] every
// further call returns the same.
func (s *State) Fold(offset int64, value []byte) (Verdict, error) {
	if s.halted != nil {
		return Verdict{}, s.halted
	}
	if offset != s.next {
		return Verdict{}, fmt.Errorf("fold: the record at offset %d was given, the one at %d is next", offset, s.next)
	}
	if offset > maxOffset {
		return Verdict{}, s.halt("the log is longer than positions reach", nil)
	}
	verdict := Verdict{Offset: offset}
	err := s.record.Decode(value)
	if err != nil && !errors.Is(err, ErrMalformed) {
		return Verdict{}, s.halt("a record was", err)
	}
	if offset == 0 {
		if verdict, err = s.genesis(err); err != nil {
			return Verdict{}, err
		}
	} else if err == nil {
		verdict = s.judge()
	}
	s.count(verdict.Outcome)
	if verdict.Outcome != Ignored {
		s.chain(verdict)
	}
	s.next++
	return verdict, nil
}

func (s *State) halt(reason string, err error) error {
	s.halted = &HaltError{Offset: s.next, Reason: reason, Err: err}
	return s.halted
}

// genesis takes in the first record, which decides whether this is a store.
func (s *State) genesis(malformed error) (Verdict, error) {
	if malformed != nil || s.record.Kind != KindGenesis {
		return Verdict{}, s.halt("the first record is no genesis: this is not a Switchyard store", malformed)
	}
	if s.record.Rules > rules {
		return Verdict{}, s.halt(fmt.Sprintf("the store has rules %d, and this program knows up to %d: upgrade it", s.record.Rules, rules), nil)
	}
	s.store = s.record.Store
	return s.verdict(Accepted), nil
}

// judge comes to the verdict on a record after the first, and acts on it.
func (s *State) judge() Verdict {
	record := &s.record
	verdict := s.verdict(Refused)
	switch record.Kind {
	case KindAppend:
		return s.judgeAppend()
	case KindSeal:
		if s.seal == nil && record.SealEpoch == s.sealEpoch {
			s.seal = &Sealed{Offset: s.next, At: At(record.Time), Reason: string(record.Reason)}
			s.sealEpoch++
			verdict.Outcome = Accepted
		}
	case KindUnseal:
		if s.seal != nil && record.SealEpoch == s.sealEpoch {
			s.seal = nil
			verdict.Outcome = Accepted
		}
	case KindLease:
		if lease := s.leases[string(record.Name)]; record.Epoch == lease.Epoch+1 {
			lease.Epoch, lease.Owner, lease.TTL, lease.At = record.Epoch, string(record.Owner), record.TTL, At(record.Time)
			if lease.Owner == "" {
				lease.ResetEpoch, lease.ResetID = record.Epoch, record.ID
			}
			s.leases[string(record.Name)] = lease
			verdict.Outcome = Accepted
		}
	case KindGenesis:
		verdict.Outcome = Ignored
	}
	return verdict
}

// verdict starts one on the record at hand.
func (s *State) verdict(outcome Outcome) Verdict {
	return Verdict{Outcome: outcome, Kind: s.record.Kind, ID: s.record.ID, Offset: s.next, At: At(s.record.Time)}
}

func (s *State) count(outcome Outcome) {
	switch outcome {
	case Ignored:
		s.counts.Ignored++
	case Accepted:
		s.counts.Accepted++
	case Repeated:
		s.counts.Repeated++
	case Refused, Overtaken:
		s.counts.Refused++
	}
}

// chain makes the hash that equal folds have in common, and no others.
func (s *State) chain(verdict Verdict) {
	var link [sha256.Size + 8 + 16 + 1]byte
	copy(link[:], s.hash[:])
	binary.BigEndian.PutUint64(link[sha256.Size:], uint64(s.next))
	copy(link[sha256.Size+8:], verdict.ID[:])
	if verdict.Outcome == Accepted {
		link[sha256.Size+8+16] = 1
	}
	s.hash = sha256.Sum256(link[:])
}
