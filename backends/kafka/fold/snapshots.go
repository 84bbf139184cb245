package fold

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Snapshots is what the compacted topic of the snapshots means: where the one with
// the highest version of each stream and type is.
type Snapshots struct {
	log   uuid.UUID
	kept  map[string]KeptSnapshot
	lower map[string]bool // keys whose last record has a lower version than the one that is kept
}

// KeptSnapshot is where a snapshot is, and of which version.
type KeptSnapshot struct {
	Offset  int64
	Version uint64
}

// NewSnapshots returns the meaning of an empty topic beside the log of a store.
func NewSnapshots(log uuid.UUID) *Snapshots {
	return &Snapshots{log: log, kept: make(map[string]KeptSnapshot), lower: make(map[string]bool)}
}

// SnapshotKey is the key of a stream's snapshot of a type. Neither has a zero byte.
func SnapshotKey(stream, snapshotType string) []byte {
	return append(append([]byte(stream), 0), snapshotType...)
}

// EncodeSnapshot returns a record's value.
func EncodeSnapshot(log uuid.UUID, snapshot eventstore.Snapshot) []byte {
	frame := startFrame(make([]byte, 0, len(snapshot.Data)+64), Kind(kindSnapshot), log)
	frame = binary.AppendUvarint(frame, snapshot.Version)
	frame = binary.AppendUvarint(frame, uint64(max(snapshot.SchemaVersion, 0)))
	return endFrame(appendText(frame, snapshot.Data))
}

// DecodeSnapshot reads a record. The data is part of the value.
func DecodeSnapshot(key, value []byte) (snapshot eventstore.Snapshot, log uuid.UUID, err error) {
	stream, snapshotType, ok := bytes.Cut(key, []byte{0})
	in, log, err := openFrame(value, kindSnapshot)
	if err != nil {
		return eventstore.Snapshot{}, uuid.Nil, err
	}
	snapshot = eventstore.Snapshot{Stream: string(stream), Type: string(snapshotType), Version: in.uvarint()}
	schema := in.uvarint()
	snapshot.Data = in.text()
	if !ok || in.bad || len(in.rest) > 0 || schema > math.MaxInt64 {
		return eventstore.Snapshot{}, uuid.Nil, ErrMalformed
	}
	snapshot.SchemaVersion = int(schema)
	return snapshot, log, nil
}

// Fold takes in a record; a nil value deletes its key. What is no snapshot of this
// store's is ignored. lower is true where the record has a lower version than one
// before it, which must be written again: compaction would keep this one. The error
// is a [NewerError].
func (s *Snapshots) Fold(offset int64, key, value []byte) (lower bool, err error) {
	if value == nil {
		delete(s.kept, string(key))
		delete(s.lower, string(key))
		return false, nil
	}
	snapshot, log, err := DecodeSnapshot(key, value)
	switch {
	case errors.Is(err, ErrMalformed) || err == nil && log != s.log:
		return false, nil
	case err != nil:
		return false, err
	}
	if snapshot.Version < s.kept[string(key)].Version {
		s.lower[string(key)] = true
		return true, nil
	}
	delete(s.lower, string(key))
	s.kept[string(key)] = KeptSnapshot{Offset: offset, Version: snapshot.Version}
	return false, nil
}

// Lower returns the keys whose kept snapshot must be written again, and has not been: its
// writer may have died.
func (s *Snapshots) Lower() [][]byte {
	var keys [][]byte
	for _, key := range slices.Sorted(maps.Keys(s.lower)) {
		keys = append(keys, []byte(key))
	}
	return keys
}

// Find returns where the snapshot of a key is.
func (s *Snapshots) Find(key []byte) (KeptSnapshot, bool) {
	kept, ok := s.kept[string(key)]
	return kept, ok
}
