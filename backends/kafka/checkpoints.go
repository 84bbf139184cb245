package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// subscriptions keeps checkpoints and leases. Who takes a lease is decided by the
// store's log, like an append: an epoch is taken by the first record that asks for
// it. What an owner says while it has the lease, renewals and checkpoints, is in a
// compacted topic, which cannot decide between two writers by itself. So whoever
// writes there looks at the log afterwards: if the epoch is over, what was written
// under it does not count; and whoever takes an epoch looks at the topic afterwards.
// Of two who do so at once, one sees the other.
type subscriptions struct {
	table
	kept *fold.Subscriptions
	last fold.Kept // on the record that was folded last
}

func newSubscriptions(b *Backend, topic string) *subscriptions {
	c := &subscriptions{table: newTable(b, topic), kept: fold.NewSubscriptions(b.id)}
	c.restart = func() { c.kept = fold.NewSubscriptions(b.id) }
	c.repair = func(ctx context.Context) error {
		return c.kept.Repairs(func(key, value []byte) error { return c.put(ctx, key, value) })
	}
	c.take = func(record connection.Record) (err error) {
		c.last, err = c.kept.Fold(record.Key, record.Value)
		return err
	}
	return c
}

// lease is what the log says of a name, as far as it is folded.
func (c *subscriptions) lease(name string) fold.Lease {
	c.b.log.mu.RLock()
	defer c.b.log.mu.RUnlock()
	return c.b.log.state.Lease(name)
}

// current returns what is in force for a name: the topic as it was at a moment at
// which the log had accepted this lease and no later one.
func (c *subscriptions) current(ctx context.Context, name string) (fold.Progress, fold.Lease, error) {
	for {
		before := c.lease(name)
		if err := c.view(ctx, false); err != nil {
			return fold.Progress{}, before, err
		}
		if err := c.b.viewWithin(ctx); err != nil {
			return fold.Progress{}, before, err
		}
		if lease := c.lease(name); lease == before {
			return c.kept.Current(name, lease), lease, nil
		}
	}
}

// write puts what is kept under the epoch of a lease, and tells whether that epoch
// was in force still when it was there. Where the topic's last record is not what
// all of them come to, that is written once more.
func (c *subscriptions) write(ctx context.Context, name string, lease fold.Lease, p fold.Progress) (kept fold.Kept, inForce bool, err error) {
	if err := c.view(ctx, true); err != nil {
		return fold.Kept{}, false, err
	}
	key := fold.ProgressKey(name, lease.Epoch, uuid.Nil)
	if err := c.put(ctx, key, p.Encode()); err != nil {
		return fold.Kept{}, false, err
	}
	kept = c.last
	for repair := kept.Repair; repair != nil; repair = c.last.Repair {
		if err := c.put(ctx, key, repair); err != nil {
			return kept, false, err
		}
	}
	if err := c.b.viewWithin(ctx); err != nil {
		return kept, false, err
	}
	return kept, c.lease(name).Epoch == lease.Epoch, nil
}

// Load implements [eventstore.Checkpoints].
func (c *subscriptions) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (result eventstore.LoadCheckpointResult, err error) {
	err = c.use(ctx, func(ctx context.Context) error {
		current, _, err := c.current(ctx, req.Name)
		result = eventstore.LoadCheckpointResult{Checkpoint: current.Checkpoint, Found: current.Found}
		return err
	})
	return result, err
}

// List implements [eventstore.Checkpoints].
func (c *subscriptions) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	err = c.use(ctx, func(ctx context.Context) error {
		if err := c.view(ctx, false); err != nil {
			return err
		}
		if err := c.b.viewWithin(ctx); err != nil {
			return err
		}
		for _, name := range c.kept.Names() {
			if name <= req.After || len(result.Checkpoints) >= req.Limit {
				continue
			}
			if current := c.kept.Current(name, c.lease(name)); current.Found {
				result.Checkpoints = append(result.Checkpoints, current.Checkpoint)
			}
		}
		return nil
	})
	return result, err
}

// Save implements [eventstore.Checkpoints].
func (c *subscriptions) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.use(ctx, func(ctx context.Context) error {
		if req.Reset {
			return c.reset(ctx, req.Checkpoint.Name, &req.Checkpoint)
		}
		return c.save(ctx, req.Checkpoint)
	})
}

func (c *subscriptions) save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	for {
		current, lease, err := c.current(ctx, checkpoint.Name)
		switch {
		case err != nil:
			return err
		case checkpoint.Epoch < lease.Epoch:
			return &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: lease.Epoch}
		case current.Found && !current.Checkpoint.Place.Position.Before(checkpoint.Place.Position):
			return nil
		}
		current.Found, current.Checkpoint.Place, current.Checkpoint.Store = true, checkpoint.Place, checkpoint.Store
		_, inForce, err := c.write(ctx, checkpoint.Name, lease, current)
		if err != nil || inForce {
			return err // a reset that came first is as good as one that came after
		}
	}
}

// Delete implements [eventstore.Checkpoints].
func (c *subscriptions) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.use(ctx, func(ctx context.Context) error { return c.reset(ctx, req.Name, nil) })
}

// reset stores a checkpoint wherever the stored one is, or none. Where the lease was
// ever taken it begins a new epoch, and the checkpoint is written before the epoch is
// taken: with the epoch it comes into force, at once.
func (c *subscriptions) reset(ctx context.Context, name string, to *eventstore.Checkpoint) error {
	for {
		current, lease, err := c.current(ctx, name)
		if err != nil {
			return err
		}
		if to == nil && !current.Found && lease.Epoch == 0 {
			return nil
		}
		id := uuid.New()
		next := fold.Progress{Log: c.b.id, Generation: current.Generation + 1, Opener: id}
		if to != nil {
			next.Found, next.Checkpoint = true, *to
		}
		var done bool
		if lease.Epoch == 0 {
			done, err = c.resetInEpoch(ctx, name, lease, next)
		} else {
			done, err = c.resetByEpoch(ctx, name, lease, next)
		}
		if err != nil || done {
			return err
		}
	}
}

// resetInEpoch is for names whose lease was never taken.
func (c *subscriptions) resetInEpoch(ctx context.Context, name string, lease fold.Lease, next fold.Progress) (done bool, err error) {
	kept, inForce, err := c.write(ctx, name, lease, next)
	if err != nil || kept.Overtaken || !inForce {
		return false, err
	}
	c.clean(ctx, name, lease)
	return true, nil
}

func (c *subscriptions) resetByEpoch(ctx context.Context, name string, lease fold.Lease, next fold.Progress) (done bool, err error) {
	id, epoch := next.Opener, lease.Epoch+1
	next.Generation, next.Opener = 0, uuid.Nil
	if err := c.view(ctx, true); err != nil {
		return false, err
	}
	key := fold.ProgressKey(name, epoch, id)
	if err := c.put(ctx, key, next.Encode()); err != nil {
		return false, err
	}
	taken, err := c.takeEpoch(ctx, id, eventstore.Lease{Name: name, Epoch: epoch})
	if err != nil {
		return false, err
	}
	if !taken { // by another process, first
		err = c.put(ctx, key, nil)
	}
	return taken, err
}

// takeEpoch asks the log for an epoch, which the first one to ask gets.
func (c *subscriptions) takeEpoch(ctx context.Context, id uuid.UUID, lease eventstore.Lease) (taken bool, err error) {
	now := time.Now()
	outcome := c.b.writeOne(ctx, proposal{id: id, at: now, frame: fold.TakeLease(id, now, lease.Name, lease.Epoch, lease.Owner, lease.TTL)})
	if outcome.err != nil {
		// Whoever asks again finds out.
		return false, putError(outcome.err)
	}
	return outcome.verdict.Outcome == fold.Accepted, nil
}

// SwapLease implements [eventstore.Checkpoints]. The new lease is of the same epoch,
// with more renewals, or of the next one; others are ErrInvalid.
func (c *subscriptions) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	var taken, finished bool
	var wait time.Duration
	err = c.use(ctx, func(ctx context.Context) error {
		current, lease, err := c.current(ctx, req.Name)
		if err != nil {
			return err
		}
		if result.Lease = current.AsLease(); !result.Lease.Same(req.Old) {
			if _, begun := c.kept.Last(req.Name, lease.Epoch); begun || !result.Lease.Same(req.New) {
				return nil
			}
			// An earlier call took the epoch, and failed before it was this owner's turn.
			taken, wait = true, c.lastOwner(req)
			return nil
		}
		switch {
		case req.New.Epoch == lease.Epoch+1:
			taken, wait, err = c.takeLease(ctx, req)
		case req.New.Epoch == lease.Epoch && req.New.Renewals > req.Old.Renewals:
			result.Swapped, err = c.renew(ctx, req, current, lease)
		default:
			return &eventstore.InvalidError{Field: "lease", Reason: fmt.Sprintf(
				"epoch %d with %d renewals cannot follow epoch %d with %d: renewals grow within an epoch, and the next epoch is one more", req.New.Epoch, req.New.Renewals, lease.Epoch, req.Old.Renewals)}
		}
		if err != nil || taken {
			return err
		}
		finished = true
		return c.swapped(ctx, req, &result)
	})
	if err != nil || finished || !taken {
		return result, err
	}
	if err := c.waitOut(ctx, wait); err != nil {
		return result, err
	}
	err = c.use(ctx, func(ctx context.Context) (err error) {
		if result.Swapped, err = c.beginEpoch(ctx, req); err != nil {
			return err
		}
		return c.swapped(ctx, req, &result)
	})
	return result, err
}

// swapped fills in the lease that is stored now.
func (c *subscriptions) swapped(ctx context.Context, req eventstore.SwapLeaseRequest, result *eventstore.SwapLeaseResult) error {
	if result.Lease = req.New; result.Swapped {
		return nil
	}
	current, _, err := c.current(ctx, req.Name)
	result.Lease = current.AsLease()
	return err
}

// waitOut waits until a lease is over. Others use the table meanwhile.
func (c *subscriptions) waitOut(ctx context.Context, wait time.Duration) error {
	within, cancel := c.b.within(ctx)
	defer cancel()
	if wait > 0 && sleep.For(within, wait) != nil {
		return c.b.readError(ctx, within.Err())
	}
	return nil
}

func (c *subscriptions) renew(ctx context.Context, req eventstore.SwapLeaseRequest, current fold.Progress, lease fold.Lease) (bool, error) {
	current.Renewals, current.Owner, current.TTL = req.New.Renewals, req.New.Owner, req.New.TTL
	kept, inForce, err := c.write(ctx, req.Name, lease, current)
	return kept.Renewed && inForce, err
}

// takeLease takes the next epoch for an owner, and says how long to wait before the
// last owner's events are nobody's.
func (c *subscriptions) takeLease(ctx context.Context, req eventstore.SwapLeaseRequest) (taken bool, wait time.Duration, err error) {
	taken, err = c.takeEpoch(ctx, uuid.New(), req.New)
	if err != nil || !taken {
		return false, 0, err
	}
	// The last owner may have renewed its lease just before, and think that it has it.
	// It cannot save or renew any more; what it handles it has until its lease is over.
	if err := c.view(ctx, true); err != nil {
		return false, 0, err
	}
	return true, c.lastOwner(req), nil
}

// lastOwner tells for how long the owner before may think that it has the lease.
func (c *subscriptions) lastOwner(req eventstore.SwapLeaseRequest) time.Duration {
	if last, ok := c.kept.Last(req.Name, req.Old.Epoch); ok && last.Renewals > req.Old.Renewals && last.Owner != "" {
		return last.TTL
	}
	return 0
}

// beginEpoch has the new owner's progress begin where the last one's ended.
func (c *subscriptions) beginEpoch(ctx context.Context, req eventstore.SwapLeaseRequest) (bool, error) {
	current, lease, err := c.current(ctx, req.Name)
	if err != nil || lease.Epoch != req.New.Epoch {
		return false, err
	}
	current.Renewals, current.Previous = req.New.Renewals, 0
	_, inForce, err := c.write(ctx, req.Name, lease, current)
	if err != nil || !inForce {
		return false, err
	}
	c.clean(ctx, req.Name, lease)
	return true, nil
}

// clean deletes what is void, so that the topic stays small. Where it cannot,
// somebody else will.
func (c *subscriptions) clean(ctx context.Context, name string, lease fold.Lease) {
	for _, key := range c.kept.Stale(name, lease) {
		if err := c.put(ctx, key, nil); err != nil {
			c.b.opts.Logger.WarnContext(ctx, "kafka: records of an earlier epoch were not deleted", "topic", c.topic, "subscription", name, "error", err)
			return
		}
	}
}
