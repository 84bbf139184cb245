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

// progress is what is kept under a subscription's name: its checkpoint, where one
// is found, and its lease. Their epochs are one.
type progress struct {
	checkpoint eventstore.Checkpoint
	found      bool
	lease      eventstore.Lease
}

// fence begins a new epoch that nobody owns, so that the owner cannot save. Where
// nobody ever took the lease there is no owner.
func (p *progress) fence(name string) {
	if p.lease.Epoch > 0 {
		p.lease = eventstore.Lease{Name: name, Epoch: p.lease.Epoch + 1}
	}
}

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	l := c.b.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	stored, ok := l.checkpoints[req.Name]
	if !ok {
		return eventstore.LoadCheckpointResult{Checkpoint: eventstore.Checkpoint{Name: req.Name}}, nil
	}
	return eventstore.LoadCheckpointResult{Checkpoint: stored.current(req.Name), Found: stored.found}, nil
}

// current is the checkpoint with the epoch in force.
func (p *progress) current(name string) eventstore.Checkpoint {
	checkpoint := p.checkpoint
	checkpoint.Name, checkpoint.Epoch = name, p.lease.Epoch
	return checkpoint
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	checkpoint := req.Checkpoint
	stored := l.progress(checkpoint.Name)
	switch {
	case req.Reset:
		stored.fence(checkpoint.Name)
	case checkpoint.Epoch < stored.lease.Epoch:
		return &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: stored.lease.Epoch}
	case stored.found && !stored.checkpoint.Place.Position.Before(checkpoint.Place.Position):
		return nil
	}
	stored.checkpoint, stored.found = checkpoint, true
	return nil
}

// progress returns what is kept under a name, to be changed.
func (l *Log) progress(name string) *progress {
	stored, ok := l.checkpoints[name]
	if !ok {
		stored = &progress{}
		l.checkpoints[name] = stored
	}
	return stored
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	l := c.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if stored, ok := l.checkpoints[req.Name]; ok {
		stored.fence(req.Name)
		stored.checkpoint, stored.found = eventstore.Checkpoint{}, false
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
		if stored.found && name > req.After && len(result.Checkpoints) < req.Limit {
			result.Checkpoints = append(result.Checkpoints, stored.current(name))
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
	stored := l.progress(req.Name)
	if !stored.lease.Same(req.Old) {
		return eventstore.SwapLeaseResult{Lease: stored.lease}, nil
	}
	stored.lease = req.New
	return eventstore.SwapLeaseResult{Lease: stored.lease, Swapped: true}, nil
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
