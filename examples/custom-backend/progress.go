package linelog

import (
	"bytes"
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

type checkpoints struct{ *Backend }

// Checkpoints implements [eventstore.Backend].
func (b *Backend) Checkpoints() eventstore.Checkpoints { return checkpoints{b} }

func (c checkpoints) Load(ctx context.Context, name string) (checkpoint eventstore.Checkpoint, ok bool, err error) {
	err = c.read(ctx, func() { checkpoint, ok = c.checkpoints[name] })
	return checkpoint, ok, err
}

func (c checkpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	return c.write(ctx, func() (*line, error) {
		stored, ok := c.checkpoints[checkpoint.Name]
		if ok && !stored.Position.Before(checkpoint.Position) {
			return nil, nil // a checkpoint only moves forward
		}
		return &line{Checkpoint: &checkpoint}, nil
	})
}

func (c checkpoints) Delete(ctx context.Context, name string) error {
	return c.write(ctx, func() (*line, error) { return &line{CheckpointDeleted: name}, nil })
}

type snapshots struct{ *Backend }

// Snapshots implements [eventstore.Backend].
func (b *Backend) Snapshots() eventstore.Snapshots { return snapshots{b} }

func (s snapshots) Load(ctx context.Context, stream, snapshotType string) (snapshot eventstore.Snapshot, ok bool, err error) {
	err = s.read(ctx, func() {
		snapshot, ok = s.snapshots[snapshotKey{stream, snapshotType}]
		snapshot.Data = bytes.Clone(snapshot.Data)
	})
	return snapshot, ok, err
}

func (s snapshots) Save(ctx context.Context, snapshot eventstore.Snapshot) error {
	return s.write(ctx, func() (*line, error) {
		if s.snapshots[snapshotKey{snapshot.Stream, snapshot.Type}].Version > snapshot.Version {
			return nil, nil // the stored one knows more
		}
		return &line{Snapshot: &snapshot}, nil
	})
}

func (s snapshots) Delete(ctx context.Context, stream, snapshotType string) error {
	return s.write(ctx, func() (*line, error) {
		return &line{SnapshotDeleted: &eventstore.Snapshot{Stream: stream, Type: snapshotType}}, nil
	})
}
