package conformance

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// records keeps checkpoints and snapshots in memory for a backend that keeps none.
// Its handles share it. The suite has its own, and not a backend's, for what judges
// backends imports none of them.
type records struct {
	mu          sync.Mutex
	checkpoints map[string]eventstore.Checkpoint
	leases      map[string]eventstore.Lease
	snapshots   map[[2]string]eventstore.Snapshot // by stream and type
}

func newRecords() *records {
	return &records{checkpoints: make(map[string]eventstore.Checkpoint), leases: make(map[string]eventstore.Lease), snapshots: make(map[[2]string]eventstore.Snapshot)}
}

// during calls use, one at a time, unless the handle is closed or the caller left.
func (r *records) during(ctx context.Context, closed <-chan struct{}, use func() error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-closed:
		return eventstore.ErrClosed
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return use()
}

// fence begins a new epoch that nobody owns, where anybody ever took the lease.
func (r *records) fence(name string) {
	if epoch := r.leases[name].Epoch; epoch > 0 {
		r.leases[name] = eventstore.Lease{Name: name, Epoch: epoch + 1}
	}
}

// current is a checkpoint with the epoch in force.
func (r *records) current(name string) eventstore.Checkpoint {
	checkpoint := r.checkpoints[name]
	checkpoint.Name, checkpoint.Epoch = name, r.leases[name].Epoch
	return checkpoint
}

// checkpointRecords is one handle's view.
type checkpointRecords struct {
	*records
	closed <-chan struct{}
}

func (c checkpointRecords) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (result eventstore.LoadCheckpointResult, err error) {
	err = c.during(ctx, c.closed, func() error {
		result.Checkpoint = c.current(req.Name)
		_, result.Found = c.checkpoints[req.Name]
		return nil
	})
	return result, err
}

func (c checkpointRecords) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.during(ctx, c.closed, func() error {
		name := req.Checkpoint.Name
		stored, found := c.checkpoints[name]
		switch epoch := c.leases[name].Epoch; {
		case req.Reset:
			c.fence(name)
		case req.Checkpoint.Epoch < epoch:
			return &eventstore.LeaseLostError{Name: name, Epoch: req.Checkpoint.Epoch, Stored: epoch}
		case found && !stored.Place.Position.Before(req.Checkpoint.Place.Position):
			return nil
		}
		c.checkpoints[name] = req.Checkpoint
		return nil
	})
}

func (c checkpointRecords) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.during(ctx, c.closed, func() error {
		c.fence(req.Name)
		delete(c.checkpoints, req.Name)
		return nil
	})
}

func (c checkpointRecords) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	err = c.during(ctx, c.closed, func() error {
		for _, name := range slices.Sorted(maps.Keys(c.checkpoints)) {
			if name > req.After && len(result.Checkpoints) < req.Limit {
				result.Checkpoints = append(result.Checkpoints, c.current(name))
			}
		}
		return nil
	})
	return result, err
}

func (c checkpointRecords) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	err = c.during(ctx, c.closed, func() error {
		if result.Swapped = c.leases[req.Name].Same(req.Old); result.Swapped {
			c.leases[req.Name] = req.New
		}
		result.Lease = c.leases[req.Name]
		return nil
	})
	return result, err
}

// snapshotRecords is one handle's view.
type snapshotRecords struct {
	*records
	closed <-chan struct{}
}

func (s snapshotRecords) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (result eventstore.LoadSnapshotResult, err error) {
	err = s.during(ctx, s.closed, func() error {
		result.Snapshot, result.Found = s.snapshots[[2]string{req.Stream, req.Type}]
		result.Snapshot.Data = bytes.Clone(result.Snapshot.Data)
		return nil
	})
	return result, err
}

func (s snapshotRecords) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	return s.during(ctx, s.closed, func() error {
		if key := [2]string{req.Snapshot.Stream, req.Snapshot.Type}; s.snapshots[key].Version <= req.Snapshot.Version {
			req.Snapshot.Data = bytes.Clone(req.Snapshot.Data)
			s.snapshots[key] = req.Snapshot
		}
		return nil
	})
}

func (s snapshotRecords) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	return s.during(ctx, s.closed, func() error {
		delete(s.snapshots, [2]string{req.Stream, req.Type})
		return nil
	})
}
