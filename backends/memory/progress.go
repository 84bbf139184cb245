package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	l := c.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	stored := l.checkpoints[req.Name]
	return stored.Load(req.Name), nil
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	stored := l.checkpoints[req.Checkpoint.Name]
	changed, err := stored.Save(req)
	if changed {
		l.checkpoints[req.Checkpoint.Name] = stored
	}
	return err
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if stored, ok := l.checkpoints[req.Name]; ok {
		stored.Delete()
		l.checkpoints[req.Name] = stored
	}
	return nil
}

func (c checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.ListCheckpointsResult{}, err
	}
	l := c.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	var result eventstore.ListCheckpointsResult
	for _, name := range slices.Sorted(maps.Keys(l.checkpoints)) {
		stored := l.checkpoints[name]
		if stored.Found && name > req.After && len(result.Checkpoints) < req.Limit {
			result.Checkpoints = append(result.Checkpoints, stored.Load(name).Checkpoint)
		}
	}
	return result, nil
}

func (c checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.SwapLeaseResult{}, err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	stored := l.checkpoints[req.Name]
	result := stored.SwapLease(req)
	if result.Swapped {
		l.checkpoints[req.Name] = stored
	}
	return result, nil
}

type snapshotKey struct{ stream, snapshotType string }

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	if err := s.b.ready(ctx); err != nil {
		return eventstore.LoadSnapshotResult{}, err
	}
	l := s.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	snapshot, ok := l.snapshots[snapshotKey{req.Stream, req.Type}]
	snapshot.Data = bytes.Clone(snapshot.Data)
	return eventstore.LoadSnapshotResult{Snapshot: snapshot, Found: ok}, nil
}

func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	l := s.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	key := snapshotKey{req.Snapshot.Stream, req.Snapshot.Type}
	if l.snapshots[key].Version <= req.Snapshot.Version {
		l.snapshots[key] = req.Snapshot
	}
	return nil
}

func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	l := s.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.snapshots, snapshotKey{req.Stream, req.Type})
	return nil
}
