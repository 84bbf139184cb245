package target

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// lent is a lease while an update works in a database of one writer. Nobody else can
// take the lease then, and it cannot be written: a renewal is granted in memory, and is
// stored with the update or after it. Were it not, a function that works for longer than
// the lease lasts would lose it each time.
type lent struct {
	stored eventstore.Lease // in the database
	said   eventstore.Lease // what this process was told; under the target's lock
}

func (t *Target[Tx]) lend(name string, stored eventstore.Lease) *lent {
	t.mu.Lock()
	defer t.mu.Unlock()
	lease := &lent{stored: stored, said: stored}
	t.lent[name] = lease
	return lease
}

func (t *Target[Tx]) said(lease *lent) eventstore.Lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lease.said
}

// swapLent swaps a lease that is lent; ok is false where it is not.
func (t *Target[Tx]) swapLent(req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lease := t.lent[req.Name]
	if lease == nil {
		return result, false
	}
	progress := adapter.Progress{Lease: lease.said}
	result = progress.SwapLease(req)
	lease.said = progress.Lease
	return result, true
}

// How long, and how often, it is tried to store a lease after its update.
const settlePatience, settlePause = time.Second, 10 * time.Millisecond

// settle stores what was said of a lease and ends its being lent. Where it cannot, or
// somebody else has taken the lease, its owner finds out at the next renewal.
func (t *Target[Tx]) settle(ctx context.Context, name string, lease *lent) {
	if lease == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	for !t.settled(name, lease) {
		said, mine := t.said(lease), false
		err := t.change(ctx, name, func(p *adapter.Progress) (bool, error) {
			if mine = p.Lease.Same(lease.stored); mine {
				p.Lease = said
			}
			return mine, nil
		})
		switch {
		case err == nil && mine:
			lease.stored = said
		case err == nil, sleep.For(ctx, settlePause) != nil:
			t.forget(name, lease)
			return
		}
	}
}

// settled ends a lease's being lent where all that was said of it is stored.
func (t *Target[Tx]) settled(name string, lease *lent) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !lease.said.Same(lease.stored) {
		return false
	}
	t.forgetLocked(name, lease)
	return true
}

func (t *Target[Tx]) forget(name string, lease *lent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(name, lease)
}

// forgetLocked leaves alone what another update has lent since.
func (t *Target[Tx]) forgetLocked(name string, lease *lent) {
	if t.lent[name] == lease {
		delete(t.lent, name)
	}
}
