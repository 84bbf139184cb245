package fold

import (
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Subscriptions is what the compacted topic of the checkpoints means, together
// with the leases of the log, which decides on the epochs. Within an epoch the
// highest position counts; between epochs the highest one that the log accepted.
//
// Compaction keeps the last record of a key, and the records of two writers may
// come in another order than they were meant. So whoever sees that the last record
// is not what all of them come to writes that once more: [Kept].Repair.
type Subscriptions struct {
	log     uuid.UUID
	names   map[string]*subscription
	ignored uint64
}

type subscription struct {
	epochs map[uint64]Progress
	// inverted are the epochs whose last record is not what all of them come to.
	inverted map[uint64]bool
	resets   map[reset]Progress
	// foreign is of another log, whose topic this was before.
	foreign     Progress
	foreignKeys [][]byte
}

// reset is the beginning of an epoch, in force if the log took it by that record.
type reset struct {
	epoch uint64
	id    uuid.UUID
}

// Kept is what became of a record.
type Kept struct {
	// Renewed: it changed the lease.
	Renewed bool
	// Overtaken: a reset came before it, and it says nothing any more.
	Overtaken bool
	// Repair, where not nil, is to be written under the record's key.
	Repair []byte
}

// NewSubscriptions returns the meaning of an empty topic beside the log of a store.
func NewSubscriptions(log uuid.UUID) *Subscriptions {
	return &Subscriptions{log: log, names: make(map[string]*subscription)}
}

// Fold takes in a record; a nil value deletes its key. The error is a
// [NewerError]: nothing can be said of the topic any more.
func (s *Subscriptions) Fold(key, value []byte) (Kept, error) {
	name, epoch, id, ok := parseProgressKey(key)
	if !ok {
		s.ignored++
		return Kept{}, nil
	}
	if value == nil {
		s.remove(name, epoch, id)
		return Kept{}, nil
	}
	record, err := decodeProgress(value)
	if errors.Is(err, ErrMalformed) {
		s.ignored++
		return Kept{}, nil
	}
	if err != nil {
		return Kept{}, err
	}
	sub := s.names[name]
	if sub == nil {
		sub = &subscription{epochs: make(map[uint64]Progress), inverted: make(map[uint64]bool), resets: make(map[reset]Progress)}
		s.names[name] = sub
	}
	if record.Log != s.log {
		if record.Found {
			sub.foreign = record
		}
		sub.foreignKeys = append(sub.foreignKeys, slices.Clone(key))
		return Kept{}, nil
	}
	if id != uuid.Nil {
		sub.resets[reset{epoch, id}] = record
		return Kept{Renewed: true}, nil
	}
	current, known := sub.epochs[epoch]
	if !known {
		sub.epochs[epoch] = record
		return Kept{Renewed: record.Renewals > record.Previous}, nil
	}
	joined, renewed := current.join(record)
	sub.epochs[epoch] = joined
	kept := Kept{Renewed: renewed, Overtaken: joined.Generation != record.Generation || joined.Opener != record.Opener}
	if !record.says(joined) {
		sub.inverted[epoch] = true
		kept.Repair = joined.repair()
	} else {
		delete(sub.inverted, epoch)
	}
	return kept, nil
}

// repair is the record that stands for all that were joined.
func (p Progress) repair() []byte {
	p.Repaired = true
	return p.Encode()
}

// Repairs calls a function with what is to be written under which key, as [Kept].Repair
// is, but has not been: its writer may have died.
func (s *Subscriptions) Repairs(write func(key, value []byte) error) error {
	for _, name := range s.Names() {
		sub := s.names[name]
		for _, epoch := range slices.Sorted(maps.Keys(sub.inverted)) {
			if !sub.inverted[epoch] {
				continue // by what was folded meanwhile
			}
			if err := write(ProgressKey(name, epoch, uuid.Nil), sub.epochs[epoch].repair()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Subscriptions) remove(name string, epoch uint64, id uuid.UUID) {
	sub := s.names[name]
	if sub == nil {
		return
	}
	if id != uuid.Nil {
		delete(sub.resets, reset{epoch, id})
	} else {
		delete(sub.epochs, epoch)
		delete(sub.inverted, epoch)
	}
	key := ProgressKey(name, epoch, id)
	before := len(sub.foreignKeys)
	sub.foreignKeys = slices.DeleteFunc(sub.foreignKeys, func(k []byte) bool { return string(k) == string(key) })
	if before > 0 && len(sub.foreignKeys) == 0 {
		sub.foreign = Progress{}
	}
}

// Current returns what is in force for a name under the lease that the log has
// accepted last: the checkpoint with the lease's epoch, and the lease as its owner
// left it. It may be written under the lease's epoch once more.
func (s *Subscriptions) Current(name string, lease Lease) Progress {
	current := s.kept(name, lease)
	current.Log, current.Repaired = s.log, false
	if own, ok := s.own(name, lease.Epoch); !ok || lease.Epoch == 0 {
		current.Renewals, current.Owner, current.TTL = 0, lease.Owner, lease.TTL
	} else {
		current.Renewals, current.Owner, current.TTL = own.Renewals, own.Owner, own.TTL
	}
	current.Previous = current.Renewals
	current.Checkpoint.Name, current.Checkpoint.Epoch = name, lease.Epoch
	return current
}

func (s *Subscriptions) own(name string, epoch uint64) (Progress, bool) {
	if sub := s.names[name]; sub != nil {
		p, ok := sub.epochs[epoch]
		return p, ok
	}
	return Progress{}, false
}

// kept returns the checkpoint in force, and the generation of the lease's epoch.
func (s *Subscriptions) kept(name string, lease Lease) Progress {
	sub := s.names[name]
	if sub == nil {
		return Progress{}
	}
	if own, ok := sub.epochs[lease.Epoch]; ok {
		return own
	}
	// Nothing is written under the epoch yet: what the last one left counts.
	var last Progress
	var found bool
	var at uint64
	for epoch, p := range sub.epochs {
		if epoch < lease.Epoch && epoch >= lease.ResetEpoch && (!found || epoch > at) {
			last, found, at = p, true, epoch
		}
	}
	if !found && lease.ResetEpoch > 0 {
		last = sub.resets[reset{lease.ResetEpoch, lease.ResetID}]
	}
	if !found && lease.ResetEpoch == 0 && sub.foreign.Found {
		last = sub.foreign // which does not fit the store, and says so
	}
	return Progress{Found: last.Found, Checkpoint: last.Checkpoint}
}

// Stale returns the keys that the record under the epoch in force has made void.
func (s *Subscriptions) Stale(name string, lease Lease) [][]byte {
	sub := s.names[name]
	if sub == nil {
		return nil
	}
	keys := slices.Clone(sub.foreignKeys)
	for epoch := range sub.epochs {
		if epoch < lease.Epoch {
			keys = append(keys, ProgressKey(name, epoch, uuid.Nil))
		}
	}
	for r := range sub.resets {
		if r.epoch <= lease.Epoch {
			keys = append(keys, ProgressKey(name, r.epoch, r.id))
		}
	}
	return keys
}

// Names returns all names of which something is kept, in order.
func (s *Subscriptions) Names() []string { return slices.Sorted(maps.Keys(s.names)) }

// AsLease returns the lease of what is kept.
func (p Progress) AsLease() eventstore.Lease {
	if p.Checkpoint.Epoch == 0 {
		return eventstore.Lease{}
	}
	return eventstore.Lease{Name: p.Checkpoint.Name, Epoch: p.Checkpoint.Epoch, Owner: p.Owner, Renewals: p.Renewals, TTL: p.TTL}
}

// Last returns what is kept under an epoch, whether or not it is in force.
func (s *Subscriptions) Last(name string, epoch uint64) (Progress, bool) { return s.own(name, epoch) }
