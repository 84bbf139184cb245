package eventstore

import (
	"bytes"
	"context"
)

// LoadSnapshot returns the latest snapshot of a stream of the given type, and
// whether there is one. Read the stream After its Version to bring it up to date.
func (s *Store) LoadSnapshot(ctx context.Context, stream, snapshotType string) (Snapshot, bool, error) {
	snapshot, ok, err := s.loadSnapshot(ctx, stream, snapshotType)
	return snapshot, ok, opError("load snapshot", stream, err)
}

func (s *Store) loadSnapshot(ctx context.Context, stream, snapshotType string) (snapshot Snapshot, ok bool, err error) {
	if err := s.checkSnapshotKey(ctx, stream, snapshotType); err != nil {
		return Snapshot{}, false, err
	}
	snapshot, err = again(ctx, s, func() (Snapshot, error) {
		found, exists, err := s.backend.Snapshots().Load(ctx, stream, snapshotType)
		ok = exists
		return found, err
	})
	return snapshot, ok, err
}

// SaveSnapshot stores a snapshot, unless the stored one has a higher version.
// It fails with ErrInvalid where the snapshot's version is zero or beyond the
// stream's last event. Its data is at most MaxEventBytes long.
func (s *Store) SaveSnapshot(ctx context.Context, snapshot Snapshot) error {
	return opError("save snapshot", snapshot.Stream, s.saveSnapshot(ctx, snapshot))
}

func (s *Store) saveSnapshot(ctx context.Context, snapshot Snapshot) error {
	if err := s.checkSnapshotKey(ctx, snapshot.Stream, snapshot.Type); err != nil {
		return err
	}
	switch {
	case snapshot.SchemaVersion < 0:
		return invalid("snapshot schema version", "%d is negative; count from 1", snapshot.SchemaVersion)
	case len(snapshot.Data) > s.limits.MaxEventBytes:
		return invalid("snapshot data", "%d bytes, limit %d", len(snapshot.Data), s.limits.MaxEventBytes)
	case snapshot.Version == 0:
		return invalid("snapshot version", "it is zero; give the version of the last event in the fold")
	}
	current, err := s.StreamVersion(ctx, snapshot.Stream)
	if err != nil {
		return err
	}
	if snapshot.Version > current {
		return invalid("snapshot version", "%d is beyond the stream's last event, %d", snapshot.Version, current)
	}
	snapshot.SchemaVersion = max(snapshot.SchemaVersion, 1)
	snapshot.Data = bytes.Clone(snapshot.Data)
	return s.backend.Snapshots().Save(ctx, snapshot)
}

// DeleteSnapshot removes a snapshot; one that does not exist is no error.
func (s *Store) DeleteSnapshot(ctx context.Context, stream, snapshotType string) error {
	err := s.checkSnapshotKey(ctx, stream, snapshotType)
	if err == nil {
		err = s.backend.Snapshots().Delete(ctx, stream, snapshotType)
	}
	return opError("delete snapshot", stream, err)
}

func (s *Store) checkSnapshotKey(ctx context.Context, stream, snapshotType string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.checkStream(stream); err != nil {
		return err
	}
	return s.checkName("snapshot type", snapshotType, s.limits.MaxTypeBytes)
}
