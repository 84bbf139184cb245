package memory

import (
	"bytes"
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checkpoints implements [eventstore.Backend].
func (b *Backend) Checkpoints() eventstore.Checkpoints { return checkpoints{b} }

// Snapshots implements [eventstore.Backend].
func (b *Backend) Snapshots() eventstore.Snapshots { return snapshots{b} }

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, name string) (eventstore.Checkpoint, bool, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.Checkpoint{}, false, err
	}
	l := c.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	checkpoint, ok := l.checkpoints[name]
	return checkpoint, ok, nil
}

func (c checkpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	stored, ok := l.checkpoints[checkpoint.Name]
	if !ok || stored.Position.Before(checkpoint.Position) {
		l.checkpoints[checkpoint.Name] = checkpoint
	}
	return nil
}

func (c checkpoints) Delete(ctx context.Context, name string) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.checkpoints, name)
	return nil
}

type snapshotKey struct{ stream, snapshotType string }

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, stream, snapshotType string) (eventstore.Snapshot, bool, error) {
	if err := s.b.ready(ctx); err != nil {
		return eventstore.Snapshot{}, false, err
	}
	l := s.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	snapshot, ok := l.snapshots[snapshotKey{stream, snapshotType}]
	snapshot.Data = bytes.Clone(snapshot.Data)
	return snapshot, ok, nil
}

func (s snapshots) Save(ctx context.Context, snapshot eventstore.Snapshot) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	l := s.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	key := snapshotKey{snapshot.Stream, snapshot.Type}
	if l.snapshots[key].Version <= snapshot.Version {
		l.snapshots[key] = snapshot
	}
	return nil
}

func (s snapshots) Delete(ctx context.Context, stream, snapshotType string) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	l := s.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.snapshots, snapshotKey{stream, snapshotType})
	return nil
}
