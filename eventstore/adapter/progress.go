package adapter

import (
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Progress is what is kept under a subscription's name: its checkpoint, where one is
// found, and its lease. Their epochs are one. It is for a backend that reads it,
// changes it with the methods and writes it back as one atomic step; what they answer
// is what [eventstore.Checkpoints] asks for.
//
// The zero Progress is that of a name which nothing was kept under yet.
type Progress struct {
	// Checkpoint is what was saved last, where Found; its epoch is the lease's in force.
	Checkpoint eventstore.Checkpoint
	Found      bool
	// Lease is zero until it is first taken.
	Lease eventstore.Lease
}

// Load answers [eventstore.Checkpoints].Load for a name.
func (p *Progress) Load(name string) eventstore.LoadCheckpointResult {
	result := eventstore.LoadCheckpointResult{Found: p.Found}
	if p.Found {
		result.Checkpoint = p.Checkpoint
	}
	result.Checkpoint.Name, result.Checkpoint.Epoch = name, p.Lease.Epoch
	return result
}

// Save answers [eventstore.Checkpoints].Save. changed tells whether there is something
// to write.
func (p *Progress) Save(req eventstore.SaveCheckpointRequest) (changed bool, err error) {
	checkpoint := req.Checkpoint
	switch {
	case req.Reset:
		p.fence()
	case checkpoint.Epoch < p.Lease.Epoch:
		return false, &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: p.Lease.Epoch}
	case p.Checkpoint.Place.Position.Before(req.Stored.Position): // the zero place too
		return false, fmt.Errorf("%w: the checkpoint of %q lies before %s, where it was: the database has lost commits", eventstore.ErrLeaseLost, checkpoint.Name, req.Stored.Position)
	case p.Found && !p.Checkpoint.Place.Position.Before(checkpoint.Place.Position):
		return false, nil // it only moves forward
	}
	p.Checkpoint, p.Found = checkpoint, true
	return true, nil
}

// Delete answers [eventstore.Checkpoints].Delete.
func (p *Progress) Delete() {
	p.fence()
	p.Checkpoint, p.Found = eventstore.Checkpoint{}, false
}

// SwapLease answers [eventstore.Checkpoints].SwapLease. Where it did not swap there is
// nothing to write.
func (p *Progress) SwapLease(req eventstore.SwapLeaseRequest) eventstore.SwapLeaseResult {
	swapped := p.Lease.Same(req.Old)
	if swapped {
		p.Lease = req.New
	}
	return eventstore.SwapLeaseResult{Lease: p.Lease, Swapped: swapped}
}

// fence begins a new epoch that nobody owns, so that the owner cannot save. Where
// nobody ever took the lease there is no owner.
func (p *Progress) fence() {
	if p.Lease.Epoch > 0 {
		p.Lease = eventstore.Lease{Name: p.Lease.Name, Epoch: p.Lease.Epoch + 1}
	}
}
