package eventstore

import (
	"bytes"
	"context"
)

// Snapshot is a caller's fold of a stream's events up to a version. It is a
// cache: whoever loads one that is missing or of no use folds the stream anew.
type Snapshot struct {
	Stream string
	// Type names what was folded, such as "OrderState".
	Type string
	// Version is that of the last event in the fold.
	Version uint64
	// SchemaVersion is the version of Data's schema, from 1; a reader that knows
	// another one folds the stream anew.
	SchemaVersion int
	Data          []byte
}

// Snapshots keeps the latest snapshot for each stream and snapshot type.
type Snapshots interface {
	// Load returns a snapshot, and whether there is one.
	Load(ctx context.Context, req LoadSnapshotRequest) (LoadSnapshotResult, error)
	// Save stores a snapshot unless the stored one has a higher version.
	Save(ctx context.Context, req SaveSnapshotRequest) error
	// Delete removes a snapshot; one that does not exist is no error.
	Delete(ctx context.Context, req DeleteSnapshotRequest) error
}

// LoadSnapshotRequest asks for a snapshot.
type LoadSnapshotRequest struct{ Stream, Type string }

// LoadSnapshotResult is a snapshot, where there is one.
type LoadSnapshotResult struct {
	Snapshot Snapshot
	Found    bool
}

// SaveSnapshotRequest asks to store a snapshot.
type SaveSnapshotRequest struct{ Snapshot Snapshot }

// DeleteSnapshotRequest asks to remove a snapshot.
type DeleteSnapshotRequest struct{ Stream, Type string }

// LoadSnapshot returns the latest snapshot of a stream of the given type, and
// whether there is one that can be used: one ahead of its stream, as a restored
// backup leaves them, is not. Read the stream After its Version to bring it up to
// date.
func (s *Store) LoadSnapshot(ctx context.Context, stream, snapshotType string) (Snapshot, bool, error) {
	snapshot, ok, err := s.loadSnapshot(ctx, stream, snapshotType)
	return snapshot, ok, opError("load snapshot", stream, err)
}

func (s *Store) loadSnapshot(ctx context.Context, stream, snapshotType string) (Snapshot, bool, error) {
	snapshots, err := s.snapshots(ctx, stream, snapshotType)
	if err != nil {
		return Snapshot{}, false, err
	}
	result, err := again(ctx, s, func() (LoadSnapshotResult, error) {
		return snapshots.Load(ctx, LoadSnapshotRequest{Stream: stream, Type: snapshotType})
	})
	if err != nil || !result.Found {
		return Snapshot{}, false, err
	}
	current, err := s.StreamVersion(ctx, stream)
	if err != nil {
		return Snapshot{}, false, err
	}
	if current < result.Snapshot.Version {
		s.logger.WarnContext(ctx, "snapshot is ahead of its stream and not used", "stream", stream, "type", snapshotType, "snapshot", result.Snapshot.Version, "version", current)
		return Snapshot{}, false, nil
	}
	return result.Snapshot, true, nil
}

// SaveSnapshot stores a snapshot, unless the stored one has a higher version.
// It fails with ErrInvalid where the snapshot's version is zero or beyond the
// stream's last event. Its data is at most MaxEventBytes long.
func (s *Store) SaveSnapshot(ctx context.Context, snapshot Snapshot) error {
	return opError("save snapshot", snapshot.Stream, s.saveSnapshot(ctx, snapshot))
}

func (s *Store) saveSnapshot(ctx context.Context, snapshot Snapshot) error {
	snapshots, err := s.snapshots(ctx, snapshot.Stream, snapshot.Type)
	if err != nil {
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
	return snapshots.Save(ctx, SaveSnapshotRequest{Snapshot: snapshot})
}

// DeleteSnapshot removes a snapshot; one that does not exist is no error.
func (s *Store) DeleteSnapshot(ctx context.Context, stream, snapshotType string) error {
	snapshots, err := s.snapshots(ctx, stream, snapshotType)
	if err == nil {
		err = snapshots.Delete(ctx, DeleteSnapshotRequest{Stream: stream, Type: snapshotType})
	}
	return opError("delete snapshot", stream, err)
}

// snapshots checks a snapshot's key and returns the backend's snapshots.
func (s *Store) snapshots(ctx context.Context, stream, snapshotType string) (Snapshots, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if !s.caps.Snapshots.supported {
		return nil, s.unsupported("keeping snapshots", s.caps.Snapshots)
	}
	if err := s.checkStream(stream); err != nil {
		return nil, err
	}
	return s.records.Snapshots, s.checkName("snapshot type", snapshotType, s.limits.MaxTypeBytes)
}
