package target

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Load is [eventstore.Checkpoints]'.
func (t *Target[Tx]) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	stored, err := t.load(ctx, t.db, t.sql.load, req.Name)
	if err != nil {
		return eventstore.LoadCheckpointResult{}, t.failed(ctx, err)
	}
	return stored.Load(req.Name), nil
}

// Save is [eventstore.Checkpoints]'.
func (t *Target[Tx]) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	name := req.Checkpoint.Name
	err := t.change(ctx, name, func(p *adapter.Progress) (bool, error) { return p.Save(req) })
	if err == nil {
		t.signal(name)
	}
	return err
}

// Delete is [eventstore.Checkpoints]'.
func (t *Target[Tx]) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return t.change(ctx, req.Name, func(p *adapter.Progress) (bool, error) {
		changed := p.Found || p.Lease.Epoch > 0
		p.Delete()
		return changed, nil
	})
}

// List is [eventstore.Checkpoints]'.
func (t *Target[Tx]) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	err = t.db.Query(ctx, t.sql.list, []any{req.After, req.Limit}, func(scan func(...any) error) error {
		name, stored, err := scanRow(scan)
		result.Checkpoints = append(result.Checkpoints, stored.Load(name).Checkpoint)
		return err
	})
	return result, t.failed(ctx, err)
}

// SwapLease is [eventstore.Checkpoints]'.
func (t *Target[Tx]) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	if result, ok := t.swapLent(req); ok {
		return result, nil
	}
	stored, err := t.load(ctx, t.db, t.sql.load, req.Name)
	if err != nil || !stored.Lease.Same(req.Old) { // whoever only asks takes no lock
		return eventstore.SwapLeaseResult{Lease: stored.Lease}, t.failed(ctx, err)
	}
	err = t.change(ctx, req.Name, func(p *adapter.Progress) (bool, error) {
		result = p.SwapLease(req)
		return result.Swapped, nil
	})
	if err != nil {
		return eventstore.SwapLeaseResult{}, err
	}
	return result, nil
}

// change changes what is kept under a name, in one step, unless f says that it is to
// stay as it is.
func (t *Target[Tx]) change(ctx context.Context, name string, f func(p *adapter.Progress) (changed bool, refused error)) error {
	tx, end, err := t.transaction(ctx, true)
	if err != nil {
		return t.failed(ctx, err)
	}
	defer end()
	stored, err := t.locked(ctx, tx, name)
	if err != nil {
		return t.failed(ctx, err)
	}
	if changed, refused := f(&stored.Progress); !changed || refused != nil {
		return refused
	}
	if err = t.write(ctx, tx, name, stored.Progress); err == nil {
		err = tx.Commit(ctx)
	}
	return t.failed(ctx, err)
}
